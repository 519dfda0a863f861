"""The loop's budgets, optimizers and averages; broken off anywhere, it ends with the same bits."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pipeline.config import PROJECT_ROOT, Training
from pipeline.errors import NonFiniteLossError, UserError
from pipeline.training.batches import Batch, Batches
from pipeline.training.build import order_gradients
from pipeline.training.checkpoint import FILE, Checkpoints
from pipeline.training.classification import predict
from pipeline.training.denoising import Denoiser
from pipeline.training.fit import Setting, fit
from pipeline.training.muon import Muon
from pipeline.training.optimizers import Optimizers, inner_weights

CPU = torch.device("cpu")


class Silent:
    """An observer that only counts."""

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.saved = 0

    def fit_started(self, steps: int, done: int, batch_size: int) -> None:
        self.total, self.done = steps, done

    def step_finished(self, step: int, loss: float) -> None:
        """Nothing to count."""

    def epoch_finished(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self.epochs.append(epoch)

    def checkpoint_saved(self) -> None:
        self.saved += 1

    def fit_finished(self) -> None:
        """Nothing to end."""


def network(seed: int = 0) -> nn.Module:
    """Small, with all that has a state: batch normalization, dropout, several convolutions."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(8 * 16, 3),
    ).to(memory_format=torch.channels_last)


def some_batches(count: int = 70, size: int = 10) -> Batches:
    source = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8, generator=source)
    labels = (images.float().mean(dim=(1, 2, 3)) / 4).long() % 3
    return Batches(images, labels, torch.arange(count), size, CPU)


def noisy_loss(model: nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(batch.images.shape, generator=generator)
    return nn.functional.cross_entropy(model(batch.images + 0.1 * noise), batch.labels)


def trained(
    training: Training,
    checkpoints: Checkpoints | None = None,
    objective=noisy_loss,
    observer: Silent | None = None,
    steps: int | None = None,
) -> tuple[nn.Module, Silent]:
    model, observer = network(), observer or Silent()
    fit(
        model,
        some_batches(),
        objective,
        lambda _: {},
        training,
        0,
        Setting(torch.float32, observer, checkpoints, steps),
    )
    return model, observer


def same_bits(a: nn.Module, b: nn.Module) -> bool:
    """Parameters and running statistics alike."""
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


class BrokenError(Exception):
    """What ends a training in these tests."""


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "muon"])
@pytest.mark.parametrize("calls", [1, 2, 5, 8, 9, 13, 20])
def test_a_training_broken_off_anywhere_ends_with_the_same_bits(tmp_path: Path, optimizer: str, calls: int) -> None:
    """Seven steps an epoch: in the middle of an epoch, at its end, right after it; breaking off twice."""
    training = Training(epochs=3, batch_size=10, optimizer=optimizer, ema=0.9, clip_norm=1.0, learning_rate=0.01)  # type: ignore[arg-type]
    undisturbed, _ = trained(training)

    seen: list[int] = []

    def breaks(model: nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        seen.append(1)
        if len(seen) in (calls, calls + 4):
            raise BrokenError
        return noisy_loss(model, batch, generator)

    checkpoints = Checkpoints(tmp_path / "trial", every_seconds=1e-9)  # after every step
    for _ in range(2):
        with pytest.raises(BrokenError):
            trained(training, checkpoints, breaks)
    resumed, observer = trained(training, checkpoints, breaks)
    assert same_bits(resumed, undisturbed)
    assert observer.total == 21
    assert observer.done > 0 or calls < 5
    assert observer.epochs[-1] == 3


def test_a_training_broken_off_while_it_is_validated_ends_with_the_same_bits(tmp_path: Path) -> None:
    training = Training(epochs=2, batch_size=10)
    undisturbed, _ = trained(training)
    checkpoints = Checkpoints(tmp_path, every_seconds=1e-9)

    def breaks(_: nn.Module) -> Mapping[str, float]:
        raise BrokenError

    with pytest.raises(BrokenError):
        fit(network(), some_batches(), noisy_loss, breaks, training, 0, Setting(torch.float32, Silent(), checkpoints))
    resumed, observer = trained(training, checkpoints)
    assert (observer.done, observer.epochs) == (7, [1, 2]), "the epoch that was not validated is validated now"
    assert same_bits(resumed, undisturbed)


def test_an_observer_hears_of_every_checkpoint(tmp_path: Path) -> None:
    checkpoints = Mock(wraps=Checkpoints(tmp_path, every_seconds=60), due=False)
    _, observer = trained(Training(epochs=3, batch_size=10), checkpoints)
    assert observer.saved == checkpoints.save.call_count >= 3


def test_a_checkpoint_that_was_being_written_does_not_replace_the_last(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, every_seconds=60)
    checkpoints.save({"progress": {"total": 1}})
    (tmp_path / f"{FILE}.building").write_bytes(b"half of a checkp")
    loaded = checkpoints.load()
    assert loaded == {"progress": {"total": 1}}
    (tmp_path / FILE).write_bytes(b"junk")
    assert checkpoints.load() is None, "what can't be read is as good as none"
    checkpoints.clear()
    assert checkpoints.load() is None


def test_a_checkpoint_that_there_is_no_room_to_read_is_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, every_seconds=60)
    checkpoints.save({"progress": {"total": 1}})
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            checkpoints.load()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert checkpoints.load() == {"progress": {"total": 1}}


def test_a_checkpoint_too_large_for_the_memory_is_kept(tmp_path: Path) -> None:
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "import torch\n"
        "from pipeline.training.checkpoint import Checkpoints\n"
        "checkpoints = Checkpoints(Path(sys.argv[1]), every_seconds=60)\n"
        "checkpoints.save({'model': torch.zeros(2**26)})\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, -1))\n"
        "try:\n"
        "    checkpoints.load()\n"
        "except (RuntimeError, MemoryError) as error:\n"
        "    print('no room')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "no room\n", done.stderr
    assert (tmp_path / FILE).exists()


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, every_seconds=60)
    training = Training(epochs=1, batch_size=10)
    first, _ = trained(training, checkpoints)

    def never(*_: object) -> torch.Tensor:
        raise AssertionError("there is nothing left to train")

    again, observer = trained(training, checkpoints, never)
    assert same_bits(first, again)
    assert observer.done == observer.total == 7


@pytest.mark.parametrize(
    ("training", "steps"),
    [
        (Training(epochs=2, batch_size=10), 14),
        (Training(epochs=0.5, batch_size=10), 4),
        (Training(epochs=0.01, batch_size=10), 1),
        (Training(steps=9, batch_size=10), 9),
        (Training(steps=5, batch_size=10, warmup=0.2), 5),
        (Training(steps=2, batch_size=10, warmup=0.5), 2),
    ],
)
def test_a_budget_is_a_number_of_steps(training: Training, steps: int) -> None:
    calls: list[int] = []

    def counted(model: nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        calls.append(1)
        return noisy_loss(model, batch, generator)

    _, observer = trained(training, objective=counted)
    assert observer.total == steps
    assert len(calls) == steps + 1, "and one to warm up"


def test_a_budget_in_seconds_is_measured_once(tmp_path: Path) -> None:
    training = Training(seconds=0.5, batch_size=10)
    model, observer = trained(training)
    assert observer.total > 1
    repeated, again = trained(training, steps=observer.total)
    assert again.total == observer.total
    assert same_bits(model, repeated), "the measurement leaves no trace"

    checkpoints = Checkpoints(tmp_path, every_seconds=1e-9)
    calls: list[int] = []

    def breaks(model: nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 9:
            raise BrokenError
        return noisy_loss(model, batch, generator)

    first = Silent()
    with pytest.raises(BrokenError):
        trained(training, checkpoints, breaks, first, steps=30)
    _, resumed = trained(training, checkpoints)
    assert resumed.total == first.total == 30


@pytest.mark.slow
def test_what_is_compiled_is_measured_compiled_and_learns_the_same() -> None:
    called: list[str] = []

    def objective(model: nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        called.append(type(model).__name__)
        return noisy_loss(model, batch, generator)

    def without_dropout(training: Training) -> nn.Module:
        model = nn.Sequential(*(layer for layer in network() if not isinstance(layer, nn.Dropout)))
        fit(model, some_batches(), objective, lambda _: {}, training, 0, Setting(torch.float32, Silent()))
        return model

    quick = without_dropout(Training(seconds=0.5, compile=True))
    assert set(called) == {"OptimizedModule"}, "the measurement too"
    assert all(parameter.isfinite().all() for parameter in quick.parameters())
    plain, compiled = (without_dropout(Training(steps=20, compile=faster)) for faster in (False, True))
    for one, other in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_two_budgets_and_shares_beyond_one_are_refused() -> None:
    with pytest.raises(UserError, match="two budgets; give one"):
        Training(steps=5, seconds=5)
    with pytest.raises(UserError, match=r"training\.ema is 1; give a number between 0 and 1"):
        Training(ema=1)
    with pytest.raises(UserError, match=r"training\.seconds: -1 is not a positive number"):
        Training(seconds=-1)


def test_the_average_is_kept_and_evaluated() -> None:
    """With batches of one image value the average can be followed by hand."""
    weights: list[torch.Tensor] = []

    def watched(model: nn.Module, batch: Batch, _: torch.Generator) -> torch.Tensor:
        weights.append(model.weight.detach().clone())  # type: ignore[union-attr]
        return model(batch.images.flatten(1)).square().mean()

    model = nn.Linear(64, 1)
    evaluated: list[torch.Tensor] = []
    training = Training(epochs=1, batch_size=10, ema=0.75, learning_rate=0.1)
    fit(
        model,
        some_batches(),
        watched,
        lambda kept: evaluated.append(kept.weight.detach().clone()) or {},  # type: ignore[union-attr]
        training,
        0,
        Setting(torch.float32, Silent()),
    )
    after = weights[2:]  # after the first step and so on; the warm-up and the start are not averaged
    average = after[0]
    for weight in after[1:]:
        average = 0.75 * average + 0.25 * weight
    # The weights after the last step were not seen by the objective: solve for them and check that it is one step more.
    last = (model.weight.detach() - 0.75 * average) / 0.25
    assert torch.equal(evaluated[0], model.weight)
    assert (last - after[-1]).abs().max() < 0.1
    assert not torch.allclose(model.weight, last)


def test_muon_trains_the_inner_weights_in_place() -> None:
    for memory_format in (torch.contiguous_format, torch.channels_last):
        model = network().to(memory_format=memory_format)
        inner = inner_weights(model)
        assert [tuple(weight.shape) for weight in inner] == [(8, 6, 3, 3)]
        optimizers = Optimizers(model, Training(optimizer="muon", weight_decay=0.0, muon_learning_rate=0.1), 10)
        before = inner[0].detach().clone()
        noisy_loss(model, next(some_batches().in_order()), torch.Generator()).backward()
        gradient = inner[0].grad.clone()  # type: ignore[union-attr]
        optimizers.step()
        update = (before - inner[0].detach()).flatten(1)
        singular = torch.linalg.svdvals(update)
        assert singular.max() / singular.min() < 3, "an orthogonal matrix, as nearly as three iterations make it"
        assert (update * gradient.flatten(1)).sum() > 0, "down the gradient"
        assert inner[0].grad is None


@pytest.mark.parametrize("shape", [(8, 6, 3, 3), (32, 4, 2, 2)], ids=["wide", "tall"])
def test_muon_does_what_torchs_does_on_single_matrices(shape: tuple[int, ...]) -> None:
    """Two weights of one shape, channels_last, three steps; torch's runs in bfloat16, hence the tolerance."""
    random = torch.Generator().manual_seed(0)
    starts = [torch.randn(shape, generator=random) for _ in range(2)]
    ours = [nn.Parameter(start.clone(memory_format=torch.channels_last)) for start in starts]
    theirs = [nn.Parameter(start.flatten(1).clone()) for start in starts]
    muon = Muon(ours, lr=0.1, weight_decay=0.01)
    expected = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.01, momentum=0.95, ns_steps=3)
    for _ in range(3):
        for weight, matrix in zip(ours, theirs, strict=True):
            gradient = torch.randn(shape, generator=random)
            weight.grad, matrix.grad = gradient, gradient.flatten(1)  # a gradient in another order than its weight
        muon.step()
        expected.step()
    for weight, matrix, start in zip(ours, theirs, starts, strict=True):
        change = (matrix - start.flatten(1)).norm()
        assert (weight.flatten(1) - matrix).norm() < 0.02 * change


def pooled(pooling: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), pooling, nn.Flatten(), nn.Linear(6 * 9, 3)).to(
        memory_format=torch.channels_last
    )


@pytest.mark.parametrize(
    "pooling", [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveMaxPool2d(3), nn.AdaptiveAvgPool2d(3)]
)
def test_poolings_get_gradients_in_the_order_of_what_they_gave(pooling: nn.Module) -> None:
    channels_apart, gradients = [], []
    for ordered in (False, True):
        model = pooled(pooling)
        handles = order_gradients(model) if ordered else []
        handles.append(pooling.register_forward_hook(Watch(channels_apart)))  # last: it sees what goes on
        model(some_batches().select(torch.arange(4)).images).sum().backward()
        gradients.append([p.grad for p in model.parameters()])
        for handle in handles:
            handle.remove()
    assert channels_apart == [9, 1], "how far apart in memory"
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


class Watch:
    """A hook that notes how far apart two channels of an output's gradient are in memory."""

    def __init__(self, noted: list[int]) -> None:
        self.noted = noted

    def __call__(self, module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        output.register_hook(lambda gradient: self.noted.append(gradient.stride(1)))


def test_a_training_leaves_no_hooks_behind() -> None:
    model = pooled(nn.MaxPool2d(2))
    fit(model, some_batches(), noisy_loss, lambda _: {}, Training(steps=2), 0, Setting(torch.float32, Silent()))
    assert not any(module._forward_hooks for module in model.modules())


def test_the_optimizers_learn() -> None:
    for optimizer in ("adamw", "sgd", "muon"):
        losses: list[float] = []

        def watched(
            model: nn.Module, batch: Batch, generator: torch.Generator, seen: list[float] = losses
        ) -> torch.Tensor:
            loss = noisy_loss(model, batch, generator)
            seen.append(loss.item())
            return loss

        trained(Training(epochs=30, batch_size=10, optimizer=optimizer, learning_rate=0.02), objective=watched)  # type: ignore[arg-type]
        assert sum(losses[-7:]) < 0.6 * sum(losses[1:8]), optimizer


class Modes(nn.Module):
    """Notes in which mode it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)
        self.seen: list[bool] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(self.training)
        return self.layer(images.flatten(1))


def test_every_epoch_is_trained_in_training_mode_whatever_validation_leaves() -> None:
    model = Modes()
    fit(
        model,
        some_batches(),
        lambda net, batch, _: F.cross_entropy(net(batch.images), batch.labels),
        lambda net: net.eval() and {},
        Training(epochs=3, batch_size=10),
        0,
        Setting(torch.float32, Silent()),
    )
    assert model.seen == [True] * 22
    assert not model.training


def test_networks_are_measured_in_evaluation_mode() -> None:
    model = Modes().train()
    predict(model, some_batches(), torch.float32)
    assert set(model.seen) == {False}
    blurring = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5)).train()
    Denoiser(blurring, False, False, "d", torch.float32).denoise(torch.rand(2, 1, 8, 8), 0.1)
    assert not blurring.training


def test_the_average_is_also_of_the_running_statistics() -> None:
    means: list[torch.Tensor] = []

    def watched(net: nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        loss = noisy_loss(net, batch, generator)
        means.append(net[1].running_mean.clone())  # type: ignore[index]
        return loss

    model, _ = trained(Training(steps=4, batch_size=10, ema=0.5), objective=watched)
    average = means[1]  # the first is the warm-up's
    for mean in means[2:]:
        average = 0.5 * average + 0.5 * mean
    torch.testing.assert_close(model[1].running_mean, average)


def test_the_loss_of_an_epoch_is_the_mean_of_its_steps() -> None:
    losses: list[float] = []

    def watched(model: nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        loss = noisy_loss(model, batch, generator)
        losses.append(loss.item())
        return loss

    class Listening(Silent):
        def epoch_finished(self, epoch: int, metrics) -> None:  # type: ignore[no-untyped-def, override]
            told.append(metrics["train/loss"])

    told: list[float] = []
    trained(Training(epochs=2, batch_size=10), objective=watched, observer=Listening())
    assert told == pytest.approx([sum(losses[1:8]) / 7, sum(losses[8:]) / 7])


def test_noise_and_dropout_are_drawn_anew_every_epoch() -> None:
    noise, dropped = [], []

    def watched(model: nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        noise.append(torch.randn(3, generator=generator))
        dropped.append(torch.rand(3))
        return noisy_loss(model, batch, generator)

    trained(Training(epochs=3, batch_size=10), objective=watched)
    for drawn in (noise, dropped):
        assert len({tuple(one.tolist()) for one in drawn[1:]}) == 21


def test_weights_that_end_not_finite_are_no_result() -> None:
    def overflows(model: nn.Module, batch: Batch, _: torch.Generator) -> torch.Tensor:
        return model(batch.images.flatten(1)).sum() * 1e38

    with pytest.raises(NonFiniteLossError, match="the weights are not finite after step 1, the last"):
        fit(
            nn.Linear(64, 3),
            some_batches(),
            overflows,
            lambda _: {},
            Training(steps=1, batch_size=10, optimizer="sgd", learning_rate=1e9),
            0,
            Setting(torch.float32, Silent()),
        )
