"""Names of tags and metrics that are read back from the tracking store.

Training, a room below, names the metrics that it measures; those here must be the same.
"""

from pipeline.trials import variance_text

# Tags of a run.
KIND = "kind"
KIND_TRIAL = "trial"
KIND_SUMMARY = "summary"
KIND_PUT_AWAY = "put away"
"""Of what another has taken the place of, where it can't be deleted."""
FINGERPRINT = "fingerprint"
IDENTITY = "trial.identity"
"""JSON of what the fingerprint is made of."""
COMPLETE = "trial.complete"
"""Written last: a run is done only if it is FINISHED and has this."""
FAILURE = "trial.failure"
NOT_EXPORTED = "model.not_exported"
"""Why there is no model of a network that was trained all the same."""
SWEEP = "sweep"
"""Keys of the sweeps a run belongs to, separated by spaces."""
REQUESTED = "sweep.requested"
"""When a sweep was last asked for, on its summary run; of other trials, when they were last asked for and reused. The
beginning of the name: `requested_by` says by whom."""
USER = "mlflow.user"
DATA_DIGEST = "data.digest"
DEVICE = "device"
OWNER = "trial.owner"
"""Which home the run belongs to: several may share a store."""
SPENT = "trial.seconds"
"""Seconds that the processes at a trial have spent on it so far, for the one that goes on."""
PLACE = "trial.place"
"""Which home began the trial, on what device and with which arithmetic."""
COMMIT = "mlflow.source.git.commit"
GIT_DIRTY = "git.dirty"
NOTE = "mlflow.note.content"
"""Description of a run or an experiment, markdown."""
COMMAND = "command"
VERSIONS = "version."

VARIANCES = "sweep.variances"
"""Those that a sweep was asked for, on its summary run, separated by spaces."""

# Tags of a version in the model registry.
KIND_CLASSIFIER = "classifier"
KIND_DENOISER = "denoiser"
NETWORK = "network"
SEED = "seed"
DATASET = "dataset"
CLIP = "clip"
LEAST_VARIANCE = "least_variance"
GREATEST_VARIANCE = "greatest_variance"
HELD_OUT = "validation.share"
"""Share of the training images that the figure was measured on."""
FIGURE = "validation"
"""What versions are compared by, and `FIGURE_NAME` the metric it is."""
FIGURE_NAME = "validation.metric"
GAIN = "validation.gain"
"""Of a denoiser: by how many dB it is better than the noisy image, on the same images."""
REASON = "champion.reason"
"""Why a version became champion."""

# Artifacts.
TEST_LOGITS = "test_logits.npy"
WEIGHTS = "weights.pt"
EXAMPLES = "examples/grid"
"""Key of the grid of clean, noisy and denoised images, one slot in every run."""
COMPARISONS = "comparisons.csv"
BY_CLASS = "psnr_by_class.csv"
CURVES = "learning_curves.csv"


def requested_by(owner: str) -> str:
    """The tag of one of the homes that may share a store."""
    return f"{REQUESTED}.{owner}"


def per_image(variance: float) -> str:
    """The figures of each test image at a variance."""
    return f"per_image_{variance_text(variance)}.csv"


# Tags of an experiment.
PROJECT_ROOT = "project_root"

# Metrics. Curves are logged at steps from 1; what is measured once, at step 0, where the UI draws bars.
TRAIN_LOSS = "train/loss"
TRAIN_SECONDS = "time/train_s"
TOTAL_SECONDS = "time/total_s"
TEST_ACCURACY = "test/accuracy"
TEST_LOSS = "test/loss"
TEST_ECE = "test/ece"
TEST_MISSES_IN_DOUBT = "test/misses_in_doubt"
"""Of the digits misclassified, those whose label people doubt; only on MNIST's own test images."""
ENSEMBLE_ACCURACY = "summary/ensemble_accuracy"
VAL_ACCURACY = "val/accuracy"
TEST_PSNR = "test/psnr"
TEST_SSIM = "test/ssim"
TEST_PSNR_GAIN = "test/psnr_gain"
VAL_PSNR_GAIN = "val/psnr_gain"
VAL_PSNR = "val/psnr"
VAL_PSNR_BLIND = "val/psnr_blind"
PSNR_CEILING = "test/psnr_ceiling"
EFFECTIVE_VARIANCE = "test/effective_variance"


def cross(figure: str, variance: float) -> str:
    """A figure of a network on test images whose noise it was not trained for. In the UI it comes after `test/`."""
    return f"test_at/{figure} {variance_text(variance)}"
