"""Why a generator ascends log D(G(z))."""

from __future__ import annotations

from pipeline.config import Config
from pipeline.stages.study import run_study


def run(config: Config) -> None:
    """The experiments of the study of the generator's loss."""
    run_study("gan", config)
