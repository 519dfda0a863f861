"""Four homework questions as a pipeline: prepare → classify → sweep → report, every trial tracked in MLflow."""
