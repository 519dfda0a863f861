"""Every stage in order; each does only what is not done."""

from __future__ import annotations

from dataclasses import replace

from pipeline.config import Config
from pipeline.console import say
from pipeline.errors import TrialsFailedError
from pipeline.stages import classify, report, study_batchnorm, study_gan, sweep


def run(config: Config) -> None:
    """classify, sweep, both studies, report; each prepares its own data."""
    for stage in (classify, sweep):
        stage.require_names(config)
    failures = []
    for stage in (classify, sweep, study_gan, study_batchnorm):
        try:
            stage.run(config)
        except TrialsFailedError as error:
            failures.append(str(error))
    # What has failed just now is not tried again for the report.
    report.run(replace(config, report=replace(config.report, run_missing=False)))
    if config.run.dry_run:
        return
    say(f"Read the report: {report.report_folder(config) / 'report.en.html'}")
    say("Compare the runs in the MLflow UI: make ui")
    if failures:
        raise TrialsFailedError("\n".join(failures))
