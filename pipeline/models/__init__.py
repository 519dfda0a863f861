"""Networks, by the names that experiments use. A network knows nothing of training.

Your own joins by one class in one file and its name here. A classifier is built with `channels`, `classes` and its
settings and turns standardised images into logits; a denoiser is built with `channels`, the `variance` of the noise
that it is for, and its settings, and turns noisy images into clean ones.
"""

from torch import nn

from pipeline.models.classical import LinearFilter, NoisyInput, NonLocalMeans, TotalVariation, Wavelet
from pipeline.models.classifiers import ConvNet, TutorialNet
from pipeline.models.denoisers import Autoencoder, DnCNN, TutorialAutoencoder, TutorialFixed
from pipeline.models.residual import ConditionalDenoiser, ResidualDenoiser

CLASSIFIERS: dict[str, type[nn.Module]] = {"cnn": ConvNet, "tutorial": TutorialNet}
DENOISERS: dict[str, type[nn.Module]] = {
    "autoencoder": Autoencoder,
    "residual": ResidualDenoiser,
    "conditional": ConditionalDenoiser,
    "dncnn": DnCNN,
    "tutorial": TutorialAutoencoder,
    "tutorial-fixed": TutorialFixed,
    "noisy": NoisyInput,
    "linear": LinearFilter,
    "nlm": NonLocalMeans,
    "wavelet": Wavelet,
    "tv": TotalVariation,
}
