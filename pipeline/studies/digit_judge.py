"""Our own trained digit classifier as a judge of generated digits. Its scores are not the Inception score or FID."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from pipeline.models.classifiers import ConvNet
from pipeline.studies.measured import Digits, seeded
from pipeline.training.randomness import generator

BATCH = 64
PEAK_RATE = 0.01
COVERED = 0.01  # share of the samples from which a class counts as there
CHUNK = 1000


@dataclass(frozen=True)
class Judge:
    """A classifier, and what it sees in real images that it was not trained on."""

    network: ConvNet
    accuracy: float
    """On the test images."""
    held_out: torch.Tensor
    """(n, features) of held-out images: what samples are compared with on the way, to choose a rate and a moment."""
    test: torch.Tensor
    """(n, features) of test images: what samples are compared with at the end."""

    @classmethod
    def trained(cls, digits: Digits, steps: int, device: torch.device) -> Judge:
        """The same one for every seed of a study, so that its scores can be compared."""
        with torch.random.fork_rng():
            seeded(0, "judge")
            network = ConvNet(channels=1, widths=(16, 32), unshuffle=2).to(device)
        source = generator(device, "judge")
        optimizer = torch.optim.AdamW(network.parameters(), PEAK_RATE, betas=(0.9, 0.95))
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, steps, cycle_momentum=False)
        for _ in range(steps):
            images, labels = digits.batch(BATCH, source)
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels, label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step()
        network.eval()
        test = features_of(network, digits.test)
        with torch.no_grad():
            right = (network.head(test).argmax(1) == digits.test_labels).float().mean().item()
        return cls(network, right, features_of(network, digits.held_out), test)

    def scores(self, images: torch.Tensor, real: torch.Tensor) -> dict[str, float]:
        """Figures of generated images; `real` are the features of the images that they are compared with.

        score: exp of the mean divergence of an image's class probabilities from those of all (the form of Salimans et
        al. 2016, from 1 to the number of classes); covered: classes with at least 1 % of the images; class_divergence:
        KL of the shares of classes from even shares, in nats; distance: squared Fréchet distance of features to those
        of as many real images (the form of Heusel et al. 2017).
        """
        features = features_of(self.network, images)
        with torch.no_grad():
            probabilities = self.network.head(features).cpu().double().softmax(1)
        mean = probabilities.mean(0)
        divergence = (probabilities * (probabilities / mean).clamp(min=1e-30).log()).sum(1).mean()
        shares = torch.bincount(probabilities.argmax(1), minlength=len(mean)).double() / len(images)
        even = (shares * (shares * len(mean)).clamp(min=1e-30).log()).sum()
        count = min(len(features), len(real))
        return {
            "score": divergence.exp().item(),
            "covered": int((shares >= COVERED).sum()),
            "class_divergence": even.item(),
            "distance": frechet(features[:count], real[:count]),
        }


@torch.no_grad()
def features_of(network: ConvNet, images: torch.Tensor) -> torch.Tensor:
    """What the classifier's last layer gets: (n, features)."""
    modules: nn.Module = network.features
    return torch.cat([modules(part) for part in images.split(CHUNK)])


def frechet(one: torch.Tensor, other: torch.Tensor) -> float:
    """Squared Fréchet distance of the normal distributions fitted to two sets of features, each (n, features).

    `|μ₁ − μ₂|² + tr(C₁ + C₂ − 2(C₁C₂)^½)`: Dowson and Landau 1982, equation 6. Both sets should be of one size, as it
    is biased by it.
    """
    first, second = (features.cpu().double().numpy() for features in (one, other))
    covariances = [np.cov(features, rowvar=False) for features in (first, second)]
    roots = np.linalg.eigvals(covariances[0] @ covariances[1])
    overlap = np.sqrt(np.clip(roots.real, 0, None)).sum()
    shift = np.square(first.mean(0) - second.mean(0)).sum()
    return float(shift + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * overlap)
