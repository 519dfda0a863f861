"""What the chart page of an experiment shows first: a saved view of the MLflow UI, kept as a tag of the experiment.

The format is MLflow's own and internal: all that is known of it is here. Where a newer MLflow does not understand it
any more, the page shows its usual charts.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.tracking import keys

VIEW = "overview"
NAME = "Results"
TAG = f"mlflow.sharedViewState.{VIEW}"


@dataclass(frozen=True)
class Charts:
    """What is worth seeing of an experiment, in this order. Every run has these results and params."""

    results: tuple[str, ...]
    """Metrics shown as bars, and beside the params as parallel coordinates."""
    params: tuple[str, ...]
    images: tuple[str, ...]
    curves: tuple[str, ...]


CLASSIFICATION = Charts(
    results=(keys.TEST_ACCURACY, keys.TEST_LOSS, keys.TEST_ECE),
    params=("model", "seed"),
    images=(),
    curves=(keys.VAL_ACCURACY, keys.TRAIN_LOSS),
)
DENOISING = Charts(
    results=(keys.TEST_PSNR, keys.TEST_SSIM, keys.TEST_PSNR_GAIN),
    params=("model", "variance"),
    images=(keys.EXAMPLES,),
    curves=(keys.VAL_PSNR, keys.TRAIN_LOSS),
)


def saved_view(charts: Charts, sweep: str | None = None) -> str:
    """The tag's value: these charts of all trials, or of those of a sweep, by a name in the page's menu of views."""
    now = int(time.time() * 1000)
    query = f"tags.{keys.KIND} = '{keys.KIND_TRIAL}'"  # not the summaries, which have other figures
    if sweep:
        query += f" and tags.{keys.SWEEP} LIKE '%{sweep}%'"
    state = base64.b64encode(zlib.compress(json.dumps(state_of(charts, query)).encode())).decode()
    return json.dumps({"name": NAME, "createdAt": now, "updatedAt": now, "state": f"deflate;{state}"})


def state_of(charts: Charts, query: str) -> dict[str, object]:
    """The state of the page."""
    cards = {
        "1 results": [card("BAR", metricKey=metric) for metric in charts.results],
        "2 params and results": [
            card("PARALLEL", selectedParams=charts.params, selectedMetrics=charts.results, showAllRuns=True)
        ],
        "3 images": [card("IMAGE", imageKeys=[key], step=0, showRunParams=False) for key in charts.images],
        "4 curves": [card("LINE", metricKey=metric, selectedMetricKeys=[metric]) for metric in charts.curves],
    }
    return {
        "searchFilter": query,
        "orderByKey": columns("params", charts.params)[-1],
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [*columns("params", charts.params), *columns("metrics", charts.results)],
        "runsHiddenMode": "SHOWALL",  # else only the first ten
        "groupBy": None,
        "isAccordionReordered": True,  # else the sections that the page adds come first
        "compareRunSections": [section(name, len(cards[name])) for name in cards if cards[name]],
        "compareRunCharts": [
            {**chart, "uuid": f"{name} {number}", "metricSectionId": name}
            for name in cards
            for number, chart in enumerate(cards[name])
        ],
    }


def section(name: str, count: int) -> dict[str, object]:
    """A section as wide as its charts."""
    shown = {"display": True, "isReordered": True, "deleted": False, "isGenerated": False}
    return {"uuid": name, "name": name, "columns": count, "cardHeight": 400, **shown}


def card(kind: str, **settings: object) -> dict[str, object]:
    """One chart."""
    return {"type": kind, "deleted": False, "isGenerated": False, "runsCountToCompare": 100, **settings}


def columns(kind: str, names: Sequence[str]) -> list[str]:
    """Names of columns, as the page writes them."""
    return [f"{kind}.`{name}`" for name in names]
