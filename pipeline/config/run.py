"""Where results are kept and on what they are computed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.config.checks import require_positive
from pipeline.errors import UserError

PROJECT_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where results are kept and what computes them: never part of a trial's identity."""

    home: Path = PROJECT_ROOT
    """Folder of the caches, of the tracking store and of the report."""

    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """auto: the first there is of cuda, mps, cpu."""

    jobs: int | Literal["auto"] | None = None
    """Trials at a time, each in a process of its own; auto: one a core (a small network gains little from a second).
    Not given: one, and auto for the studies, whose networks are smallest."""

    threads: int = 0
    """Threads of a trial on the CPU; 0: the physical cores, divided among the trials that run at a time."""

    engine: Literal["local", "ray"] = "local"
    """local: this machine's processes; ray: tasks on a Ray cluster, or on this machine if no address is given."""

    ray_address: str | None = None
    """Of a running cluster, such as auto or ray://head:10001; default: Ray's own RAY_ADDRESS."""

    gpus_per_trial: float = 1
    """With Ray, on nodes that have GPUs: a fraction lets trials share one."""

    force: bool = False
    """Run finished trials anew. Broken off and given again, it begins with the first of them."""

    dry_run: bool = False
    """Say which trials would be run, and why, and run none. Data are prepared if they are not."""

    checkpoint_seconds: float = 60
    """Time between checkpoints of a trial; there is also one after each epoch."""

    tracking_uri: str | None = None
    """MLflow tracking store; default: MLFLOW_TRACKING_URI, else mlflow.db in `home`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", self.home.expanduser())
        require_positive("run.checkpoint_seconds", [self.checkpoint_seconds])
        if isinstance(self.jobs, int) and self.jobs < 1:
            raise UserError(f"run.jobs is {self.jobs}; give a number of trials at a time, or JOBS=auto")
        if not self.gpus_per_trial >= 0:
            raise UserError(f"run.gpus_per_trial is {self.gpus_per_trial}; give 1, or a fraction such as 0.5")
        if self.threads < 0:
            raise UserError(f"run.threads is {self.threads}; give 0 for torch's default, or a number of threads")

    @property
    def cache(self) -> Path:
        """Prepared data and downloads; all of it can be made again."""
        return self.home / ".cache"

    @property
    def output(self) -> Path:
        """Where the report step writes."""
        return self.home / "reports" / "output"
