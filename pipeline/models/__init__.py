"""Networks, by the names that experiments use. A network knows nothing of training.

Your own joins by one class in one file and its name here. A classifier is built with `channels`, `classes` and its
settings and turns standardised images into logits; a denoiser is built with `channels` and its settings and turns
noisy images into clean ones.
"""

from torch import nn

from pipeline.models.classical import NoisyInput
from pipeline.models.classifiers import ConvNet, TutorialNet
from pipeline.models.denoisers import Autoencoder

CLASSIFIERS: dict[str, type[nn.Module]] = {"cnn": ConvNet, "tutorial": TutorialNet}
DENOISERS: dict[str, type[nn.Module]] = {"autoencoder": Autoencoder, "noisy": NoisyInput}
