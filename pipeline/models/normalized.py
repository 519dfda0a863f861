"""Small classifiers that differ in nothing but how they are normalized and initialised, to compare just that."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from pipeline.models.classifiers import Standardize

ARMS = ("none", "he", "batch", "batch-none", "group", "frozen", "noisy")
"""none: PyTorch's own initialisation; he: He et al. 2015; batch: batch normalization; batch-none: the same with the
first weights of none; group: group normalization; frozen: batch normalization with the statistics of one batch, kept;
noisy: batch normalization followed by noise whose mean and scale change every step. All but none and batch-none have
the very same first weights."""
GROUPS = 4
SIDE = 5  # places of the convolutions in each direction, about
POOLED = 3
NOISE = 0.5


class Classifier(nn.Module):
    """Convolutions of one width on 6×6 places, or fully connected layers: (b, 1, side, side) → logits (b, 10).

    - `arm`: one of `ARMS`.
    - `kind`: "sigmoid" (Ioffe and Szegedy's MNIST network: `depth` layers of 100 sigmoid units), "plain" (`depth` 3×3
      convolutions with ReLU) or "residual" (the same with a skip over every two; without normalization the second of
      each two starts scaled to zero: SkipInit, De and Smith 2020).

    - `mean` and `std` of the images' pixels.

    Convolutions before a normalization have no bias. Before batch normalization it would have no effect; for group
    normalization, which takes several channels together, it is left out so that both have the same weights.
    """

    def __init__(self, kind: str, arm: str, side: int, depth: int, width: int, mean: float, std: float) -> None:
        super().__init__()
        self.standardize = Standardize([mean], [std])
        self.kind, self.arm = kind, arm
        bare = arm in ("none", "he")
        if kind == "sigmoid":
            sizes = [side**2, *[width] * depth]
            self.first: nn.Module = nn.Flatten()
            layers: list[nn.Module] = [nn.Linear(inputs, outputs) for inputs, outputs in pairwise(sizes)]
        else:
            self.first = nn.Conv2d(1, width, 5, stride=max(1, side // SIDE), padding=2)
            layers = [nn.Conv2d(width, width, 3, padding=1) for _ in range(depth)]
        if not bare:
            for layer in layers:  # drawn all the same, or the other weights would not be those of the other arms
                layer.register_parameter("bias", None)
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(normalization(arm, width, kind) for _ in layers)
        self.gains = nn.ParameterList(
            nn.Parameter(torch.tensor(0.0 if bare else 1.0)) for _ in layers[1::2] if kind == "residual"
        )
        self.pool = nn.AdaptiveAvgPool2d(POOLED)
        self.head = nn.Linear(width if kind == "sigmoid" else width * POOLED**2, 10)
        if arm not in ("none", "batch-none"):
            for layer in layers:
                assert isinstance(layer, nn.Linear | nn.Conv2d)
                if kind == "sigmoid":
                    nn.init.xavier_normal_(layer.weight, gain=4)  # 4: the sigmoid's slope at 0 is a quarter
                else:
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """What goes into every layer, and last into the head."""
        x = self.first(self.standardize(images))
        seen = []
        if self.kind != "residual":
            for layer, norm in zip(self.layers, self.norms, strict=True):
                seen.append(x)
                x = self.activation(norm(layer(x)))
        else:
            for block, gain in enumerate(self.gains):
                seen.append(x)
                inner = torch.relu(self.norms[2 * block](self.layers[2 * block](x)))
                seen.append(inner)
                x = torch.relu(x + gain * self.norms[2 * block + 1](self.layers[2 * block + 1](inner)))
        return [*seen, x if x.ndim == 2 else self.pool(x).flatten(1)]

    @property
    def weights(self) -> list[nn.Parameter]:
        """Of the layers that a normalization may follow."""
        weights = [layer.weight for layer in self.layers]
        return [weight for weight in weights if isinstance(weight, nn.Parameter)]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(images)[-1])
        return logits

    def activation(self, x: torch.Tensor) -> torch.Tensor:
        """Sigmoid or ReLU."""
        return torch.sigmoid(x) if self.kind == "sigmoid" else torch.relu(x)


def normalization(arm: str, width: int, kind: str) -> nn.Module:
    """What follows a layer."""
    if arm in ("none", "he"):
        return nn.Identity()
    if arm == "group":
        return nn.GroupNorm(GROUPS, width)
    batch: nn.Module = nn.BatchNorm1d(width) if kind == "sigmoid" else nn.BatchNorm2d(width)
    return nn.Sequential(batch, ShiftingNoise()) if arm == "noisy" else batch


class ShiftingNoise(nn.Module):
    """Noise whose mean and scale differ from unit to unit and are drawn anew for every batch (Santurkar et al. 2018).

    It makes what the next layer gets less stable than it would be without any normalization.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        unit = (1, x.shape[1], *[1] * (x.ndim - 2))
        shift = NOISE * (2 * torch.rand(unit, device=x.device) - 1)
        scale = 1 + NOISE * torch.rand(unit, device=x.device)
        return x * scale + shift + NOISE * torch.rand(unit, device=x.device) * torch.randn_like(x)


def freeze_statistics(model: Classifier, images: torch.Tensor) -> None:
    """Set batch normalization's running statistics to those of some images, for a network of the arm "frozen"."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the average over all that is shown: here, of these images
    model.train()
    with torch.no_grad():
        model(images)


def set_training(model: Classifier) -> None:
    """Training mode; frozen statistics stay as they are."""
    model.train()
    if model.arm == "frozen":
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.eval()
