"""The one training loop."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pipeline.config import Training
from pipeline.errors import NonFiniteLossError
from pipeline.training.batches import Batch, Batches
from pipeline.training.build import order_gradients
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.device import arithmetic, clock, own_randomness, random_states, restore_random
from pipeline.training.observer import Observer
from pipeline.training.optimizers import Optimizers
from pipeline.training.randomness import generator, seed_of

Objective = Callable[[nn.Module, Batch, torch.Generator], torch.Tensor]
"""Scalar loss of a network on a batch; what is random about it comes from the generator."""

Validate = Callable[[nn.Module], Mapping[str, float]]
"""Figures of a network on validation images."""

SECONDS_BETWEEN_REPORTS = 0.2
SHARE_MEASURED = 0.01  # of a budget in seconds, to find how long a step takes
LEAST_MEASURED, MOST_MEASURED = 0.5, 5.0  # seconds


@dataclass(frozen=True)
class Setting:
    """What a training happens with, and what its result does not depend on except by rounding."""

    precision: torch.dtype
    observer: Observer
    checkpoints: Checkpoints | None = None
    """Where to go on from and to keep what is done."""
    steps: int | None = None
    """Number of steps that an earlier measurement of a budget in seconds gave."""


@dataclass
class Progress:
    """How far a training has come."""

    total: int
    """Steps in all."""
    step: int = 0
    epoch: int = 1
    step_of_epoch: int = 0
    loss_sum: float = 0.0
    """Over the steps of this epoch."""
    seconds: float = 0.0
    """Of training alone, over all processes that had a part in it."""


def fit(
    model: nn.Module,
    batches: Batches,
    objective: Objective,
    validate: Validate,
    training: Training,
    seed: int,
    setting: Setting,
) -> float:
    """Train a model in place; returns the seconds of training alone, from the first batch to the last update.

    Goes on from the checkpoint if there is one, to the same weights bit for bit as without the break, on the same
    device and as many threads. The observer hears `train/loss` and the figures of `validate` after each epoch. Raises
    `NonFiniteLossError` with the step and the learning rate.
    """
    return Fit(model, batches, objective, training, seed, setting).run(validate)


class Fit:
    """One training under way."""

    def __init__(
        self,
        model: nn.Module,
        batches: Batches,
        objective: Objective,
        training: Training,
        seed: int,
        setting: Setting,
    ) -> None:
        self.model, self.batches, self.objective = model, batches, objective
        self.training, self.seed, self.setting = training, seed, setting
        self.device = batches.device
        # A compiler chooses orders itself, and refuses hooks.
        self.handles = order_gradients(model) if self.device.type == "cpu" and not training.compile else []
        saved = setting.checkpoints.load() if setting.checkpoints else None
        total = saved["progress"]["total"] if saved else self.total_steps()
        self.progress = Progress(**saved["progress"]) if saved else Progress(total)
        self.optimizers = Optimizers(model, training, total)
        self.average = (
            AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(training.ema), use_buffers=True)
            if training.ema
            else None
        )
        self.forward = self.compiled(model)
        self.random_states: list[torch.Tensor] = []
        if saved:
            self.load(saved)

    def run(self, validate: Validate) -> float:
        """Train to the last step."""
        progress, observer = self.progress, self.setting.observer
        try:
            if progress.step < progress.total:
                self.warm_up()
            observer.fit_started(progress.total, progress.step, self.batches.size)
            try:
                self.train_epochs(validate)
            finally:
                observer.fit_finished()
        finally:
            for handle in self.handles:
                handle.remove()
        if not all(parameter.isfinite().all() for parameter in self.model.parameters()):
            raise NonFiniteLossError(f"the weights are not finite after step {progress.total}, the last")
        if self.average:
            self.model.load_state_dict(self.average.module.state_dict())
        self.model.eval()
        return progress.seconds

    def train_epochs(self, validate: Validate) -> None:
        """All epochs that are left, with a checkpoint after each."""
        progress = self.progress
        while progress.step < progress.total:
            mean_loss = self.train_epoch()
            figures = {"train/loss": mean_loss, **validate(self.evaluated)}
            self.setting.observer.epoch_finished(progress.epoch, figures)
            progress.epoch, progress.step_of_epoch, progress.loss_sum = progress.epoch + 1, 0, 0.0
            self.save()

    def train_epoch(self) -> float:
        """All steps of an epoch that are left; the mean loss of all its steps."""
        progress = self.progress
        self.model.train()
        noise = generator(self.device, self.seed, "objective", progress.epoch)
        # Dropout and the like draw from the global generator: seed it for this epoch and put it back after.
        with own_randomness(self.device):
            torch.manual_seed(seed_of(self.seed, "network", progress.epoch))
            if progress.step_of_epoch:
                self.restore_random(noise)
            loss = progress.loss_sum / max(1, progress.step_of_epoch)
            started = reported = time.perf_counter()
            for batch in self.batches.shuffled(self.seed, progress.epoch, progress.step_of_epoch):
                loss = self.train_step(batch, noise)
                progress.step += 1
                progress.step_of_epoch += 1
                progress.loss_sum += loss
                now = time.perf_counter()
                if now - reported > SECONDS_BETWEEN_REPORTS:
                    self.setting.observer.step_finished(progress.step, loss)
                    reported = now
                if progress.step == progress.total:
                    break
                if self.setting.checkpoints and self.setting.checkpoints.due:
                    progress.seconds += clock(self.device) - started
                    self.random_states = [noise.get_state(), *random_states(self.device)]
                    self.save()
                    started = time.perf_counter()
            progress.seconds += clock(self.device) - started
            self.setting.observer.step_finished(progress.step, loss)
        return progress.loss_sum / progress.step_of_epoch

    def train_step(self, batch: Batch, noise: torch.Generator) -> float:
        """One update; returns the loss."""
        with arithmetic(self.setting.precision, self.device):
            loss = self.objective(self.forward, batch, noise)
        value = loss.item()
        if not math.isfinite(value):
            step = self.progress.step + 1
            where = f"the loss is {value} at step {step} of {self.progress.total}"
            if step == 1:
                raise NonFiniteLossError(f"{where}, before anything was learnt: look at the network and the images")
            raise NonFiniteLossError(
                f"{where}, learning rate {self.optimizers.learning_rate:.3g}; "
                "try a smaller one, weight_decay or clip_norm"
            )
        loss.backward()
        self.optimizers.step()
        if self.average:
            self.average.update_parameters(self.model)
        return value

    def compiled(self, model: nn.Module) -> nn.Module:
        """What calls a model in training: itself, or a faster version with the same weights."""
        return torch.compile(model) if self.training.compile else model  # type: ignore[return-value]

    @property
    def evaluated(self) -> nn.Module:
        """The network that is validated and kept: the weights' average if there is one."""
        return self.average.module if self.average else self.model

    def total_steps(self) -> int:
        """The budget as a number of steps."""
        training = self.training
        if training.steps is not None:
            return training.steps
        if training.seconds is None:
            return max(1, round(training.epochs * self.batches.steps_per_epoch))
        return self.setting.steps or max(1, int(training.seconds / self.seconds_a_step(training.seconds)))

    def seconds_a_step(self, budget: float) -> float:
        """Measured on a copy of the network, which is thrown away."""
        trial = copy.copy(self)
        trial.model = copy.deepcopy(self.model).train()
        trial.forward = self.compiled(trial.model)
        trial.progress, trial.average = Progress(total=10**9), None
        trial.optimizers = Optimizers(trial.model, self.training, 10**6)
        noise = generator(self.device, "measurement")
        wanted = min(max(SHARE_MEASURED * budget, LEAST_MEASURED), MOST_MEASURED)
        steps, started = 0, time.perf_counter()
        with own_randomness(self.device):
            for batch in self.batches.endlessly(self.seed):
                trial.train_step(batch, noise)
                steps += 1
                trial.progress.step = steps  # for what is said of a loss that is not finite
                if steps == 3:  # the first ones also pay for what is made once
                    started = time.perf_counter()
                if steps > 5 and time.perf_counter() - started > wanted:
                    break
        return (time.perf_counter() - started) / (steps - 3)

    def warm_up(self) -> None:
        """Forward and back once, changing nothing: what is made once for a network is not counted as training."""
        before = copy.deepcopy(self.model.state_dict())
        self.model.train()
        with own_randomness(self.device):
            with arithmetic(self.setting.precision, self.device):
                loss = self.objective(
                    self.forward, next(self.batches.shuffled(self.seed, 1)), generator(self.device, "warm-up")
                )
            loss.backward()
        self.model.zero_grad()
        self.model.load_state_dict(before)

    def save(self) -> None:
        """Keep all that the rest of the training depends on."""
        if not self.setting.checkpoints:
            return
        self.setting.checkpoints.save(
            {
                "progress": vars(self.progress),
                "model": self.model.state_dict(),
                "optimizers": self.optimizers.state_dict(),
                "average": self.average.state_dict() if self.average else None,
                "random": self.random_states if self.progress.step_of_epoch else [],
            }
        )
        self.setting.observer.checkpoint_saved()

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from what was kept."""
        self.model.load_state_dict(saved["model"])
        self.optimizers.load_state_dict(saved["optimizers"])
        if self.average:
            self.average.load_state_dict(saved["average"])
        self.random_states = saved["random"]

    def restore_random(self, noise: torch.Generator) -> None:
        """Put generators where they were in the middle of an epoch."""
        own, *others = self.random_states
        noise.set_state(own.cpu())
        restore_random(others, self.device)
