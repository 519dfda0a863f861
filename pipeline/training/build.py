"""From a trial to the network and the images it is trained on."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from pipeline.checks import hint
from pipeline.data.store import ImageStore
from pipeline.errors import UserError
from pipeline.training.batches import Batches
from pipeline.training.randomness import seed_of, validation_split
from pipeline.trials import Trial

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
            network = models[trial.model](**arguments, **trial.settings)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"{trial.model} with settings {trial.settings}: {error}") from error
    return in_memory_format(network, torch.channels_last)


def require_settings(network: type[nn.Module], trial: Trial, arguments: Mapping[str, Any]) -> None:
    """Refuse a setting that a network has no parameter for, naming the nearest that it has."""
    parameters = inspect.signature(network).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    known = [name for name in parameters if name not in arguments]
    for name in trial.settings:
        if name not in known:
            raise UserError(f"{trial.model} has no setting {name}; {hint(name, known)}")


@torch.no_grad()
def require_takes(network: nn.Module, trial: Trial, shape: Sequence[int]) -> None:
    """Refuse a network that an image (channels, h, w) can't go through."""
    try:
        network.eval()(torch.zeros(1, *shape))
    except (TypeError, ValueError, RuntimeError) as error:
        _, height, width = shape
        raise UserError(
            f"{trial.model} with settings {trial.settings} does not take images of {width}×{height} pixels: {error}"
        ) from error


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


def split_batches(store: ImageStore, trial: Trial, device: torch.device) -> dict[str, Batches]:
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
