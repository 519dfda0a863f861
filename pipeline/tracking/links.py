"""Links into the MLflow UI that land on charts: without the query it opens on an empty page for language models."""

from __future__ import annotations


def charts(server: str, experiment_id: str) -> str:
    """The chart view of an experiment's runs."""
    return f"{server}/#/experiments/{experiment_id}/runs?compareRunsMode=CHART&workflowType=machine_learning"
