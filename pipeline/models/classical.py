"""Denoisers without gradient descent: what a trained network has to beat. The same call as the networks'."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from pipeline.models.fitted import Fitted

RIDGE = 1e-4  # of the mean power of a pixel
UNFOLDED_AT_ONCE = 100 * 32 * 32  # pixels, each with the window around it


class NoisyInput(nn.Module):
    """Hands back the noisy image as it is: the floor of every comparison."""

    def __init__(self, channels: int = 3, variance: float = 0.05) -> None:
        super().__init__()

    def forward(self, noisy: torch.Tensor) -> torch.Tensor:
        return noisy


class LinearFilter(Fitted):
    """The linear filter with the least squared error on the training images: 9×9 pixels of all channels, and a shift.

    The Wiener filter of these images in other words: as much as can be had without anything nonlinear.
    """

    part = "train"
    images = 1000
    weight: torch.Tensor
    shift: torch.Tensor

    def __init__(self, channels: int = 3, variance: float = 0.05, size: int = 9) -> None:
        super().__init__()
        if size % 2 == 0:
            raise ValueError(f"size is {size}; give an odd number, so that a window has a middle")
        self.size = size
        self.register_buffer("weight", torch.zeros(channels, channels, size, size))
        self.register_buffer("shift", torch.zeros(channels))

    def forward(self, noisy: torch.Tensor) -> torch.Tensor:
        return F.conv2d(self.padded(noisy), self.weight, self.shift)

    def padded(self, noisy: torch.Tensor) -> torch.Tensor:
        """Mirrored at the sides, so that the output is as large as the input."""
        return F.pad(noisy, (self.size // 2,) * 4, mode="reflect")

    def fit(self, noisy: torch.Tensor, clean: torch.Tensor) -> dict[str, float]:
        """Solve the normal equations, with a little ridge on all but the shift.

        Summed up in float32 within a strip of images and in float64 over all; the latter on the CPU, for an Apple GPU
        has no float64.
        """
        channels = clean.shape[1]
        length = channels * self.size**2 + 1
        power = torch.zeros(length, length, dtype=torch.float64)
        target = torch.zeros(length, channels, dtype=torch.float64)
        for around, middle in strips(self.padded(noisy), clean):
            windows = F.unfold(around, self.size).transpose(1, 2).flatten(0, 1)
            windows = torch.cat([windows, torch.ones_like(windows[:, :1])], dim=1)
            power += (windows.T @ windows).cpu().double()
            target += (windows.T @ middle.flatten(2).transpose(1, 2).flatten(0, 1)).cpu().double()
        ridge = RIDGE * power.diagonal()[:-1].mean() * torch.ones(length, dtype=torch.float64)
        ridge[-1] = 0
        solution = torch.linalg.solve(power + ridge.diag(), target).T.float()
        self.weight.copy_(solution[:, :-1].view_as(self.weight))
        self.shift.copy_(solution[:, -1])
        return {}


def strips(padded: torch.Tensor, clean: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Rows of several images or, where they are large, some rows of one, with what of the padded ones is around."""
    h, w = clean.shape[2:]
    margins = padded.shape[2] - h
    images = max(1, UNFOLDED_AT_ONCE // (h * w))
    rows = max(1, UNFOLDED_AT_ONCE // (images * w))
    for some_padded, some_clean in zip(padded.split(images), clean.split(images), strict=True):
        for top in range(0, h, rows):
            yield some_padded[:, :, top : top + rows + margins], some_clean[:, :, top : top + rows]


class Tuned(Fitted):
    """A method of scikit-image for one image, whose strength, relative to σ, is tuned on validation images."""

    part = "validation"
    images = 64
    strengths: ClassVar[tuple[float, ...]]

    def __init__(self, channels: int = 3, variance: float = 0.05) -> None:
        super().__init__()
        self.channels, self.std, self.strength = channels, variance**0.5, 1.0

    def forward(self, noisy: torch.Tensor) -> torch.Tensor:
        images = noisy.permute(0, 2, 3, 1).cpu().numpy()
        denoised = np.stack([self.denoise_one(image, self.strength * self.std) for image in images])
        denoised = denoised.reshape(images.shape)  # some methods drop a single channel
        return torch.from_numpy(denoised.astype(np.float32)).permute(0, 3, 1, 2).to(noisy.device)

    @abstractmethod
    def denoise_one(self, image: NDArray[np.float32], strength: float) -> NDArray[np.floating[Any]]:
        """One image (h, w, c)."""

    def fit(self, noisy: torch.Tensor, clean: torch.Tensor) -> dict[str, float]:
        """Take the strength with the highest mean PSNR."""

        def quality(strength: float) -> float:
            self.strength = strength
            error: torch.Tensor = (self(noisy).clamp(0, 1) - clean).square().mean(dim=(1, 2, 3))
            return float(-error.log().mean())

        self.strength = max(self.strengths, key=quality)
        return {"tuned_strength": self.strength}


class NonLocalMeans(Tuned):
    """Buades, Coll and Morel 2005: averages pixels with alike surroundings, 3×3 patches within a distance of 5."""

    strengths = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3)

    def denoise_one(self, image: NDArray[np.float32], strength: float) -> NDArray[np.floating[Any]]:
        from skimage.restoration import denoise_nl_means

        call: Callable[..., NDArray[np.floating[Any]]] = denoise_nl_means
        return call(image, 3, 5, h=strength, sigma=self.std, fast_mode=False, channel_axis=-1)


class Wavelet(Tuned):
    """Shrinks wavelet coefficients with a threshold for each subband, BayesShrink (Chang, Yu and Vetterli 2000)."""

    strengths = (0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4)

    def denoise_one(self, image: NDArray[np.float32], strength: float) -> NDArray[np.floating[Any]]:
        from skimage.restoration import denoise_wavelet

        call: Callable[..., NDArray[np.floating[Any]]] = denoise_wavelet
        return call(
            image,
            sigma=strength,
            wavelet="sym4",
            wavelet_levels=2,
            method="BayesShrink",
            convert2ycbcr=self.channels == 3,
            channel_axis=-1,
        )


class TotalVariation(Tuned):
    """Least total variation near the noisy image (Chambolle 2004)."""

    strengths = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5)

    def denoise_one(self, image: NDArray[np.float32], strength: float) -> NDArray[np.floating[Any]]:
        from skimage.restoration import denoise_tv_chambolle

        call: Callable[..., NDArray[np.floating[Any]]] = denoise_tv_chambolle
        return call(image, weight=strength, channel_axis=-1)
