"""The only room that knows MLflow: where runs are kept, what their keys are called, how they are read back."""
