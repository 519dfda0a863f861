"""Every stage in order; each does only what is not done."""

from __future__ import annotations

from pipeline.config import Config
from pipeline.console import say
from pipeline.stages import classify, report, sweep


def run(config: Config) -> None:
    """classify, sweep, report; each of the first two prepares its own data."""
    classify.run(config)
    sweep.run(config)
    report.run(config)
    say(f"Read the report: {report.report_file(config)}")
    say("Compare the runs in the MLflow UI: make ui")
