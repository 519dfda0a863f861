"""What can be seen without a comparison of trainings: gradients at the start, scales, weight decay, and the cost."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline.config import BatchNormStudy
from pipeline.models.normalized import Classifier, set_training
from pipeline.studies.batch_norm_training import network, train
from pipeline.studies.measured import Digits, Measured, seeded
from pipeline.training.device import clock
from pipeline.training.randomness import generator

WIDE = 128  # units of the layers whose gradients are looked at: the theory is that of wide layers
LOOKED_AT = 128  # images
SCALE = 10.0
DECAY = 0.01
DECAY_RATE = 0.1
DECAY_STEPS = 150
ROUNDS = 30
BATCH = 128
TRAINED_RATE, TRAINED_STEPS = 0.1, 30  # before folding, so that there is something to fold


def measure(settings: BatchNormStudy, seed: int, digits: Digits, device: torch.device) -> Measured:
    """Tables `depth`, `scale`, `decay` and `cost`.

    - depth, a row a kind and number of layers: log_ratio, ln of the first layer's gradient norm by the last's, before
      training, of fully connected ReLU networks.
    - scale: what multiplying the weights before a normalization by 10 does to output and gradient.
    - decay, a row a way to train ("without" decay, "with" it, and without at a "growing rate" that should do the same):
      norm of the weights before normalizations at the end; the effective learning rate then, the rate by its square;
      apart, how far the logits are from those with decay, by the size of these.
    - cost, a row an arm: ms a training step and bytes kept for the backward pass by image; of batch normalization, once
      it is trained, also ms of an inference as it is and folded into the convolutions, and the greatest difference that
      makes.
    """
    depth = [
        {"kind": kind, "layers": layers, "log_ratio": gradient_ratio(kind, layers, seed, digits)}
        for kind in ("he", "batch", "batch with skips")
        for layers in settings.depths
    ]
    return Measured(
        {
            "depth": pd.DataFrame(depth),
            "scale": pd.DataFrame([scaled_weights(settings, seed, digits)]),
            "decay": pd.DataFrame(decays(settings, seed, digits)),
            "cost": pd.DataFrame(costs(settings, seed, digits)),
        }
    )


def gradient_ratio(kind: str, layers: int, seed: int, digits: Digits) -> float:
    """ln of the norm of the first inner layer's gradient by that of the last, at initialisation."""
    with torch.random.fork_rng():
        seeded(seed, "depth", kind, layers)
        first = nn.Linear(torch.Size(digits.shape).numel(), WIDE)
        inner = [nn.Linear(WIDE, WIDE, bias=False) for _ in range(layers)]
        head = nn.Linear(WIDE, 10)
        for layer in inner:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    norms = [nn.Identity() if kind == "he" else nn.BatchNorm1d(WIDE) for _ in range(layers)]
    for module in (first, *inner, head, *norms):
        module.to(digits.images.device)
    x = first(digits.images[:LOOKED_AT].flatten(1))
    for layer, norm in zip(inner, norms, strict=True):
        change = torch.relu(norm(layer(x)))
        x = x + change if kind.endswith("skips") else change
    loss = F.cross_entropy(head(x), digits.labels[:LOOKED_AT])
    ends = torch.autograd.grad(loss, [inner[0].weight, inner[-1].weight])
    return float(np.log(ends[0].norm().item() / ends[1].norm().item()))


def scaled_weights(settings: BatchNormStudy, seed: int, digits: Digits) -> dict[str, float]:
    """Relative change of the logits, and the gradient's norm by what it was, after scaling one layer's weights."""
    model = network("shallow", "batch", settings, seed, digits)
    set_training(model)
    images, labels = digits.images[:LOOKED_AT], digits.labels[:LOOKED_AT]
    weight = model.weights[-1]

    def look() -> tuple[torch.Tensor, float]:
        logits = model(images)
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels), [weight])
        return logits.detach(), gradient.norm().item()

    logits, gradient = look()
    with torch.no_grad():
        weight.mul_(SCALE)
    scaled_logits, scaled_gradient = look()
    return {
        "factor": SCALE,
        "output_change": ((scaled_logits - logits).norm() / logits.norm()).item(),
        "gradient_ratio": scaled_gradient / gradient,
    }


def decays(settings: BatchNormStudy, seed: int, digits: Digits) -> list[dict[str, object]]:
    """What weight decay before normalizations does, beside a training without it whose learning rate grows instead.

    Each step with decay λ at the rate η also shrinks the weights, by s = 1 − ηλ. Since their scale does not matter, and
    the gradient is divided by it, that is a training without decay at the rate η/s, η/s³, η/s⁵ … (van Laarhoven 2017).
    """
    shrinks = 1 - DECAY_RATE * DECAY
    ways = {
        "with": after_training(DECAY, 1.0, settings, seed, digits),
        "without": after_training(0.0, 1.0, settings, seed, digits),
        "growing rate": after_training(0.0, 1 / shrinks, settings, seed, digits),
    }
    reference = ways["with"][0]
    return [
        {
            "way": way,
            "norm": norm,
            "effective_rate": rate / norm**2,
            "apart": ((logits - reference).norm() / reference.norm()).item(),
        }
        for way, (logits, norm, rate) in ways.items()
    ]


def after_training(
    decay: float, growth: float, settings: BatchNormStudy, seed: int, digits: Digits
) -> tuple[torch.Tensor, float, float]:
    """Logits of some images, norm of the weights before normalizations, and the last learning rate of these.

    Their rate begins at `growth` times that of the others, and is multiplied by its square every step.
    """
    model = network("shallow", "batch", settings, seed, digits)
    set_training(model)
    weights = model.weights
    others = [p for p in model.parameters() if all(p is not weight for weight in weights)]
    groups: list[dict[str, object]] = [{"params": weights, "weight_decay": decay}, {"params": others}]
    optimizer = torch.optim.SGD(groups, DECAY_RATE)
    source = generator(digits.images.device, seed, "decay")
    rate = DECAY_RATE
    for step in range(DECAY_STEPS):
        rate = DECAY_RATE * growth ** (2 * step + 1)
        optimizer.param_groups[0]["lr"] = rate
        images, labels = digits.batch(BATCH, source)
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    norm = torch.cat([weight.detach().flatten() for weight in weights]).norm().item()
    with torch.no_grad():
        return model(digits.images[:LOOKED_AT]), norm, rate


def costs(settings: BatchNormStudy, seed: int, digits: Digits) -> list[dict[str, object]]:
    """Time and memory of a training step, arms taking turns so that a busy machine hits all alike."""
    images, labels = digits.images[:BATCH], digits.labels[:BATCH]
    models = {arm: network("deep", arm, settings, seed, digits).train() for arm in ("he", "batch", "group")}

    def step(model: Classifier) -> float:
        return timed(lambda: F.cross_entropy(model(images), labels).backward(), images.device)

    def inference(model: Classifier) -> float:
        return timed(lambda: model(images), images.device)

    times: dict[str, list[float]] = {arm: [] for arm in models}
    for _ in range(ROUNDS):
        for arm, model in models.items():
            times[arm].append(step(model))
    rows: list[dict[str, object]] = [
        {"arm": arm, "ms": 1000 * float(np.median(times[arm])), "bytes": kept_bytes(model, images) / BATCH}
        for arm, model in models.items()
    ]
    train(models["batch"], TRAINED_RATE, TRAINED_STEPS, TRAINED_STEPS, BATCH, seed, digits)
    plain = models["batch"].eval()
    folded = fold(plain)
    with torch.no_grad():
        difference = (folded(images) - plain(images)).abs().max().item()
        both = [(inference(plain), inference(folded)) for _ in range(ROUNDS)]
    as_it_is, after = (1000 * float(np.median(column)) for column in zip(*both, strict=True))
    rows[1] |= {"inference_ms": as_it_is, "folded_ms": after, "folded_difference": difference}
    return rows


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that something takes on a device."""
    started = clock(device)
    work()
    return clock(device) - started


def kept_bytes(model: Classifier, images: torch.Tensor) -> int:
    """Bytes that a forward pass keeps for the backward pass, weights aside."""
    own = {parameter.data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(images)
    return sum(kept.values())


def fold(model: Classifier) -> Classifier:
    """A copy for inference in which every batch normalization has become part of the convolution before it."""
    model = copy.deepcopy(model)
    for k, (layer, norm) in enumerate(zip(model.layers, model.norms, strict=True)):
        assert isinstance(layer, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        model.layers[k], model.norms[k] = fuse_conv_bn_eval(layer, norm), nn.Identity()
    return model
