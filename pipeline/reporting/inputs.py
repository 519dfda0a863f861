"""What a report is made from, and whether one was made from just that. Nothing heavy is imported to find out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import PROJECT_ROOT
from pipeline.data.source_code import code_digest, imported_modules, module_file
from pipeline.data.store import Manifest
from pipeline.reporting.selection import by_setting
from pipeline.tracking.store import RunRecord

TEMPLATES = Path(__file__).parent / "templates"
ROOMS = (
    "pipeline.data.catalog",
    "pipeline.metrics",
    "pipeline.reporting",
    "pipeline.studies",
    "pipeline.tracking.keys",
    "pipeline.trials",
)
"""Where the code is that decides what is said and drawn of runs."""
FIGURES = "figures"
ANSWERS = PROJECT_ROOT / "reports" / "answers"
LANGUAGES = {"en": "Four questions: report", "fa": "چهار پرسش: گزارش"}
"""Language → title of the page."""


@dataclass(frozen=True)
class Part:
    """The runs behind one question, and the data they were computed on."""

    data: Manifest
    runs: Sequence[RunRecord]
    summaries: Sequence[RunRecord] = ()
    """Runs that say something of several of these."""
    clip: bool = False
    home: str = ""
    """Whose own runs come first; "" where there are none."""


def inputs_digest(parts: Sequence[Part | None], demo: bool) -> str:
    """Digest of all that a report is made from: the same inputs, the same report."""
    data = [part.data for part in parts if part]
    runs = [
        (run.run_id, sorted(run.metrics.items()))
        for part in parts
        if part
        for run in (*in_order(part.runs, part.home), *part.summaries)
    ]
    files = [*sorted(TEMPLATES.glob("*.j2")), *sorted(ANSWERS.iterdir())]
    texts = [file.read_text(encoding="utf-8") for file in files]
    everything = (demo, data, runs, texts, drawn_by("pipeline.reporting.report"))
    return hashlib.sha256(repr(everything).encode()).hexdigest()[:16]


def drawn_by(module: str) -> str:
    """Digest of a module that says or draws something of runs, and of all that it imports and decides it."""
    return code_digest(map(module_file, imported_modules([module], ROOMS)))


def in_order(runs: Sequence[RunRecord], home: str) -> list[RunRecord]:
    """As a report shows them: what was asked for last comes first; the experiments of a study have a fixed order."""
    settings = sorted(by_setting(runs, home), key=lambda setting: setting[0].params.get("experiment", ""))
    return [run for setting in settings for run in setting]


def report_files(folder: Path) -> list[Path]:
    """Every file of a report, the English markdown first."""
    return [folder / f"report.{language}.{form}" for form in ("md", "html") for language in LANGUAGES]


def is_current(files: Sequence[Path], inputs: str) -> bool:
    """Whether a report, given by its files, was made from these inputs. Markdown says so in its first line."""
    if not all(file.exists() for file in files) or not (files[0].parent / FIGURES).is_dir():
        return False
    with files[0].open(encoding="utf-8") as file:
        return f"inputs: {inputs} " in file.readline()
