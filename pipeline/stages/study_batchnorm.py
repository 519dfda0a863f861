"""Whether batch normalization speeds up learning."""

from __future__ import annotations

from pipeline.config import Config
from pipeline.stages.study import run_study


def run(config: Config) -> None:
    """The experiments of the study of batch normalization."""
    run_study("batch-norm", config)
