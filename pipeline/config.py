"""All that decides a result, and apart from it all that does not.

A `Config` is read from a YAML file in `experiments/` and overridden by dotted names on the command line. From it the
stages make trials (`pipeline.trials`): one trained model each, holding exactly what decides its numbers. `Run` holds
the rest: where results are kept and on what they are computed. Nothing here imports anything heavy, so that `--help`
is instant.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

from pipeline.checks import (
    BUDGETS,
    expanded,
    hint,
    of_type,
    require_distinct,
    require_positive,
    require_seeds,
    require_some,
    require_variances,
)
from pipeline.errors import UserError
from pipeline.study_config import BatchNormStudy, GanStudy
from pipeline.use_config import Denoise, Digits, Report, Server, Ui

# Its standard deviation is a hundred times the rounding of float32 just below 1.
LEAST_VARIANCE = 1e-10
PROJECT_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Csv:
    """What a CSV of digits doesn't tell by itself."""

    label_column: str = "auto"
    """first, last, none (unlabelled), or the column's name; auto: found by the header or by what the columns hold."""

    image_size: int = 28
    """Height and width of the images in pixels."""

    def __post_init__(self) -> None:
        if not 2 <= self.image_size <= 1024:
            raise UserError(f"data.csv.image_size is {self.image_size}; give the side of the images, such as 28")


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """A folder of images of your own, to denoise instead of CIFAR-10."""

    folder: Path | None = None
    """Images, or a folder of them a class; or all of that under train/ and test/."""

    size: int | None = None
    """Height and width in pixels to bring every image to; not given: left as they are, which must be all alike."""

    fit: Literal["crop", "resize"] = "crop"
    """How: crop takes the middle, resize shrinks or enlarges the shorter side first."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", expanded(self.folder))
        if self.size is not None and not 4 <= self.size <= 4096:
            raise UserError(f"data.images.size is {self.size}; give a side in pixels, such as 32")


@dataclass(frozen=True, kw_only=True)
class Data:
    """Which images to use."""

    choice: Literal["auto", "full", "demo"] = "auto"
    """full: MNIST and CIFAR-10; demo: images inside the dependencies; auto: full if it can be had, else demo."""

    source: Path | None = None
    """Folder with mnist_train.csv, mnist_test.csv and CIFAR-10; nothing is downloaded and nothing is written there."""

    denoise: Literal["cifar10", "mnist"] = "cifar10"
    """Which of the two the denoisers are trained on."""

    csv: Csv = Csv()

    images: ImageFolder = ImageFolder()

    validation: float = 0.1
    """Share of the training images held out for validation, strictly between 0 and 1."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", expanded(self.source))
        if self.images.folder and self.denoise != "cifar10":
            raise UserError(f"IMAGES and DATASET={self.denoise} both say what to denoise; leave one of the two out")
        if not 0 < self.validation < 1:
            raise UserError(f"data.validation is {self.validation}; give a share between 0 and 1, such as 0.1")


@dataclass(frozen=True, kw_only=True)
class Training:
    """How one network is trained."""

    epochs: float = 3
    """Passes over the training images; 0.5 is half a pass."""

    steps: int | None = None
    """Steps of the optimizer, instead of epochs."""

    seconds: float | None = None
    """Seconds of training, instead of epochs: they become a number of steps once, by a measurement at the start."""

    batch_size: int = 128
    """Images a step."""

    optimizer: Literal["adamw", "sgd", "muon"] = "adamw"
    """muon: Muon for the weights of the inner layers and AdamW for the rest."""

    learning_rate: float = 0.003
    """Peak of the one-cycle schedule."""

    muon_learning_rate: float = 0.02
    """The same for what Muon trains."""

    beta2: float = 0.999
    """AdamW's decay of squared gradients; less for short trainings."""

    weight_decay: float = 0.01
    """Decoupled with AdamW and Muon."""

    warmup: float = 0.3
    """Share of the steps in which the learning rate rises."""

    anneal: Literal["cosine", "linear"] = "cosine"
    """How it falls after."""

    clip_norm: float | None = None
    """Limit of the gradient's norm."""

    ema: float | None = None
    """Decay a step of an exponential moving average of the weights, which is what is evaluated and kept."""

    compile: bool = False
    """Compile the network with torch.compile, before the time of training begins. Needs a C++ compiler."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic inside the network; auto: bfloat16 where the hardware has it natively, else float32."""

    def __post_init__(self) -> None:
        require_positive("training.epochs", [self.epochs])
        require_positive("training.batch_size", [self.batch_size])
        require_positive("training.learning_rate", [self.learning_rate])
        require_positive("training.muon_learning_rate", [self.muon_learning_rate])
        for name, given in {"steps": self.steps, "seconds": self.seconds, "clip_norm": self.clip_norm}.items():
            if given is not None:
                require_positive(f"training.{name}", [given])
        if self.steps is not None and self.seconds is not None:
            raise UserError("training.steps and training.seconds are two budgets; give one of them")
        for name, share in {"warmup": self.warmup, "beta2": self.beta2, "ema": self.ema}.items():
            if share is not None and not 0 < share < 1:
                raise UserError(f"training.{name} is {share:g}; give a number between 0 and 1")
        if not 0 <= self.weight_decay < math.inf:
            raise UserError(f"training.weight_decay is {self.weight_decay:g}; give 0 or more")


@dataclass(frozen=True, kw_only=True)
class DenoisingTraining(Training):
    """How one denoiser is trained."""

    loss: Literal["mse", "log"] = "mse"
    """mse: the squared error; log: its logarithm, image by image, which is what PSNR measures."""


TRAINING_TYPES = get_type_hints(DenoisingTraining)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of training images, each drawn evenly from minus to plus its limit; 0: none."""

    rotation: float = 0
    """Degrees."""

    scale: float = 0
    """Share of the size, drawn for height and width apart."""

    shift: float = 0
    """Pixels, drawn for both directions apart."""

    shear: float = 0
    """Pixels of sideways shift a pixel of height."""

    perspective: float = 0
    """Share of the size that is gained or lost from the middle to an edge, drawn for both directions apart."""

    contrast: float = 0
    """Share by which all pixels of an image become brighter, beyond 1 too, or darker."""

    def __post_init__(self) -> None:
        for name, limit in asdict(self).items():
            if not 0 <= limit < math.inf:
                raise UserError(f"augmentation.{name} is {limit:g}; give 0 or more")
        # From there on an image would be turned over, seen from behind, or negative.
        for name, most in {"scale": 1, "perspective": 0.5, "contrast": 1}.items():
            limit = getattr(self, name)
            if limit >= most:
                raise UserError(f"augmentation.{name} is {limit:g}; give a share below {most}, such as 0.1")


@dataclass(frozen=True, kw_only=True)
class Classify:
    """A digit classifier, trained once a seed."""

    model: str = "cnn"
    """Name of a network in pipeline.models.CLASSIFIERS."""

    settings: dict[str, Any] = field(default_factory=dict)
    """The network's own keyword arguments."""

    seeds: tuple[int, ...] = (0,)
    """One trial a seed."""

    label_smoothing: float = 0.05
    """Share of the target spread evenly over all classes."""

    augmentation: Augmentation = Augmentation()

    training: Training = Training()

    def __post_init__(self) -> None:
        require_seeds("classify.seeds", self.seeds)
        if not 0 <= self.label_smoothing < 1:
            raise UserError(f"classify.label_smoothing is {self.label_smoothing}; give a share from 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Denoisers, trained once a model, variance and seed."""

    models: tuple[str, ...] = ("autoencoder", "residual")
    """Names of networks in pipeline.models.DENOISERS."""

    baselines: tuple[str, ...] = ("noisy", "linear", "nlm", "wavelet", "tv")
    """What they are compared with, once a variance: any of these that need no training."""

    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Keyword arguments of the networks, by the network's name."""

    variances: tuple[float, ...] = (0.01, 0.05, 0.1)
    """Variances of the zero-mean Gaussian noise, pixels running from 0 to 1."""

    clip: bool = False
    """Clip noisy images to [0, 1], as a camera would. Then the noise is no longer Gaussian and looks weaker."""

    span: tuple[float, float] = (0.0025, 0.25)
    """Least and greatest variance that `conditional` networks, which serve any, are trained over."""

    seeds: tuple[int, ...] = (0,)
    """One trial a seed."""

    training: DenoisingTraining = DenoisingTraining(learning_rate=0.002)

    training_of: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Where the training of a network differs from `training`, by the network's name."""

    def __post_init__(self) -> None:
        require_some("sweep.variances", self.variances, 'VARS="0.01 0.05 0.1"')
        require_variances("sweep.variances", self.variances)
        require_distinct("sweep.variances", self.variances)
        if min(self.variances) < LEAST_VARIANCE:
            raise UserError(f"sweep.variances: noise of variance {min(self.variances):g} vanishes in float32 pixels")
        require_some("sweep.models", self.models, "MODEL=autoencoder")
        require_distinct("sweep.models", self.models)
        require_distinct("sweep.baselines", self.baselines)
        require_seeds("sweep.seeds", self.seeds)
        require_variances("sweep.span", self.span)
        if self.span[0] >= self.span[1]:
            raise UserError(f"sweep.span is {self.span[0]:g} to {self.span[1]:g}; give the smaller variance first")
        for model in self.training_of:
            self.training_for(model)

    def training_for(self, model: str) -> DenoisingTraining:
        """How a network is trained. Raises `UserError` for a setting that there is not, or that can't be so."""
        table = f"sweep.training_of.{model}"
        changes: dict[str, Any] = {}
        for name, value in self.training_of.get(model, {}).items():
            if name not in TRAINING_TYPES:
                raise UserError(f"{table}: there is no {name}; {hint(name, TRAINING_TYPES)}")
            changes[name] = of_type(f"{table}.{name}", value, TRAINING_TYPES[name])
        # A budget of the network's own takes the place of the common one, whatever that is counted in.
        budget = {"steps": None, "seconds": None} if changes.keys() & set(BUDGETS) else {}
        return replace(self.training, **budget | changes)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where results are kept and what computes them: never part of a trial's identity."""

    home: Path = PROJECT_ROOT
    """Folder of the caches, of the tracking store and of the report."""

    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """auto: the first there is of cuda, mps, cpu."""

    jobs: int | Literal["auto"] | None = None
    """Trials at a time, each in a process of its own; auto: one a core (a small network gains little from a second).
    Not given: one, and auto for the studies, whose networks are smallest."""

    threads: int = 0
    """Threads of a trial on the CPU; 0: the physical cores, divided among the trials that run at a time."""

    engine: Literal["local", "ray"] = "local"
    """local: this machine's processes; ray: tasks on a Ray cluster, or on this machine if no address is given."""

    ray_address: str | None = None
    """Of a running cluster, such as auto or ray://head:10001; default: Ray's own RAY_ADDRESS."""

    gpus_per_trial: float = 1
    """With Ray, on nodes that have GPUs: a fraction lets trials share one."""

    force: bool = False
    """Run finished trials anew. Broken off and given again, it begins with the first of them."""

    dry_run: bool = False
    """Say which trials would be run, and why, and run none. Data are prepared if they are not."""

    checkpoint_seconds: float = 60
    """Time between checkpoints of a trial; there is also one after each epoch."""

    tracking_uri: str | None = None
    """MLflow tracking store; default: MLFLOW_TRACKING_URI, else mlflow.db in `home`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", self.home.expanduser())
        require_positive("run.checkpoint_seconds", [self.checkpoint_seconds])
        if isinstance(self.jobs, int) and self.jobs < 1:
            raise UserError(f"run.jobs is {self.jobs}; give a number of trials at a time, or JOBS=auto")
        if not self.gpus_per_trial >= 0:
            raise UserError(f"run.gpus_per_trial is {self.gpus_per_trial}; give 1, or a fraction such as 0.5")
        if self.threads < 0:
            raise UserError(f"run.threads is {self.threads}; give 0 for torch's default, or a number of threads")

    @property
    def cache(self) -> Path:
        """Prepared data and downloads; all of it can be made again."""
        return self.home / ".cache"

    @property
    def output(self) -> Path:
        """Where the report step writes."""
        return self.home / "reports" / "output"


@dataclass(frozen=True, kw_only=True)
class Config:
    """One experiment file: the settings of every stage."""

    data: Data = Data()
    classify: Classify = Classify()
    sweep: Sweep = Sweep()
    gan: GanStudy = GanStudy()
    batch_norm: BatchNormStudy = BatchNormStudy()
    report: Report = Report()
    ui: Ui = Ui()
    denoise: Denoise = Denoise()
    digits: Digits = Digits()
    server: Server = Server()
    run: Run = Run()
