"""From a trial to the network and the images it is trained on."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from pipeline.config.checks import hint
from pipeline.data.store import ImageStore
from pipeline.errors import UserError
from pipeline.training.batches import Batches
from pipeline.training.randomness import seed_of, validation_split
from pipeline.trials import ClassificationTrial, DenoisingTrial, Trial

EVALUATED_AT_ONCE = 100 * 32 * 32  # pixels: small enough for a CPU's caches, and for memory where images are large
POOLINGS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d)


def build(models: Mapping[str, type[nn.Module]], trial: Trial, **arguments: Any) -> nn.Module:
    """A network of a trial with weights decided by its seed.

    Raises `UserError` for settings that the network does not take.
    """
    require_settings(models[trial.model], trial, arguments)
    # Layers draw their first weights from the CPU's global generator: seed it for them and put it back after.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_of(trial.seed, "weights"))
        try:
            return in_memory_format(models[trial.model](**arguments, **trial.settings), torch.channels_last)
        except Exception as error:  # of a network of the user's own it may be any
            raise UserError(f"{described(trial)}: {what_failed(error, models[trial.model])}") from error


def described(trial: Trial) -> str:
    """ "mine", or "mine with settings {'width': 8}"."""
    return f"{trial.model} with settings {trial.settings}" if trial.settings else trial.model


def what_failed(error: Exception, network: type[nn.Module]) -> str:
    """An error with the line of the network's file that led to it; what the network says itself, as it says it."""
    text = str(error)
    if text and isinstance(error, ValueError | UserError):
        return text
    file = inspect.getfile(network)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f" ({Path(file).name}, line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}{': ' * bool(text)}{text}{where}"


def require_settings(network: type[nn.Module], trial: Trial, arguments: Mapping[str, Any]) -> None:
    """Refuse a setting that a network has no parameter for, naming the nearest that it has."""
    parameters = inspect.signature(network).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    known = [name for name in parameters if name not in arguments]
    for name in trial.settings:
        if name not in known:
            others = "; --classify.settings {} leaves out a file's" if isinstance(trial, ClassificationTrial) else ""
            raise UserError(f"{trial.model} has no setting {name}; {hint(name, known)}{others}")


def require_takes(network: nn.Module, trial: Trial, shape: Sequence[int], gives: Sequence[int]) -> None:
    """Refuse a network that an image (channels, h, w) can't go through, or of which it makes another shape.

    And one that nothing can be learnt with: what it gives does not depend on its weights.
    """
    _, height, width = shape
    try:
        found = network.eval()(torch.zeros(1, *shape))
    except Exception as error:  # of a network of the user's own it may be any
        raise UserError(
            f"{described(trial)} does not take images of {width}×{height} pixels: {what_failed(error, type(network))}"
        ) from error
    made = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
    if made != (1, *gives):
        raise UserError(f"{described(trial)} makes {made} of an image {(1, *shape)}; expected {(1, *gives)}")
    if not found.requires_grad:
        raise UserError(f"{described(trial)} can't be trained: what it gives does not depend on its weights")


def in_memory_format(model: nn.Module, memory_format: torch.memory_format) -> nn.Module:
    """A model with its weights in another order in memory. Convolutions on the CPU are faster in `channels_last`."""
    return model.to(memory_format=memory_format)  # type: ignore[call-overload, no-any-return] # not in torch's stubs


def order_gradients(model: nn.Module) -> list[RemovableHandle]:
    """Have poolings get gradients in the order in memory of what they gave; returns what undoes it.

    Behind a flattening these arrive in another order, in which PyTorch 2.13 goes back through a pooling so slowly on a
    CPU that a step of a small network takes a tenth longer (benchmarks/step.py). The values are the same.
    """

    def order(module: nn.Module, inputs: object, output: object) -> None:
        if (
            isinstance(output, torch.Tensor)
            and output.requires_grad
            and output.is_contiguous(memory_format=torch.channels_last)
        ):
            output.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))

    return [module.register_forward_hook(order) for module in model.modules() if isinstance(module, POOLINGS)]


def split_batches(store: ImageStore, trial: DenoisingTrial, device: torch.device) -> dict[str, Batches]:
    """Batches of the parts "train", "validation" and "test" of a store, on a device."""
    images, labels = torch.from_numpy(store.images), torch.from_numpy(store.labels).long()
    learnt, held_out = validation_split(store.split("train"), trial.validation)
    at_once = evaluated_at_once(*store.manifest.shape[2:])
    train = Batches(images, labels, learnt, trial.training.batch_size, device)
    return {
        "train": train,
        "validation": train.others(held_out, at_once),
        "test": train.others(torch.tensor(store.split("test")), at_once),
    }


def evaluated_at_once(height: int, width: int) -> int:
    """How many images of a size are evaluated in one batch."""
    return max(1, EVALUATED_AT_ONCE // (height * width))


def count_parameters(model: nn.Module) -> int:
    """Numbers that training changes."""
    return sum(parameter.numel() for parameter in model.parameters())
