"""The one training loop and what it needs. Knows nothing of MLflow: it tells an observer what happened."""
