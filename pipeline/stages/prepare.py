"""Files → stores: MNIST's CSV files and CIFAR-10, or the bundled images."""

from __future__ import annotations

from pipeline.config import Config
from pipeline.data import catalog


def run(config: Config) -> None:
    """Prepare both datasets, where they are missing or stale."""
    for role in catalog.ROLES:
        catalog.prepare(config.data, config.run, role)
