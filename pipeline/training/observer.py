"""What the training loop tells others: progress bars and tracking listen, the loop knows neither."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class Observer(Protocol):
    """Listens to one fit."""

    def fit_started(self, steps: int, done: int, batch_size: int) -> None:
        """Before the first step; `steps` is how many there are in all, `done` how many of them before this process."""

    def step_finished(self, step: int, loss: float) -> None:
        """Now and then, with the number of steps done and the last loss."""

    def epoch_finished(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """After an epoch, counted from 1."""

    def checkpoint_saved(self) -> None:
        """After what is done so far was kept."""

    def fit_finished(self) -> None:
        """After the last step, or when the fit breaks off."""


@dataclass(frozen=True)
class Observers:
    """Several observers as one."""

    members: Sequence[Observer]

    def fit_started(self, steps: int, done: int, batch_size: int) -> None:
        for member in self.members:
            member.fit_started(steps, done, batch_size)

    def step_finished(self, step: int, loss: float) -> None:
        for member in self.members:
            member.step_finished(step, loss)

    def epoch_finished(self, epoch: int, metrics: Mapping[str, float]) -> None:
        for member in self.members:
            member.epoch_finished(epoch, metrics)

    def checkpoint_saved(self) -> None:
        for member in self.members:
            member.checkpoint_saved()

    def fit_finished(self) -> None:
        for member in self.members:
            member.fit_finished()
