"""Links into the MLflow UI that land on charts: without the query it opens on an empty page for language models."""

from __future__ import annotations

from pipeline.tracking.views import VIEW


def charts(server: str, experiment_id: str, prepared: bool) -> str:
    """The chart view of an experiment's runs, with the charts prepared for it if there are such."""
    view = f"&viewStateShareKey={VIEW}" if prepared else ""
    return f"{server}/#/experiments/{experiment_id}/runs?compareRunsMode=CHART&workflowType=machine_learning{view}"


def run(experiment_id: str, run_id: str) -> str:
    """The page of a run, from within the UI."""
    return f"#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"
