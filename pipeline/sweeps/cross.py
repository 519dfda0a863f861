"""Every trained denoiser at every variance of a sweep: what happens when the noise is not what it was trained for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipeline.config import Run
from pipeline.data.store import ImageStore
from pipeline.sweeps.plan import Planned
from pipeline.tracking import keys
from pipeline.tracking.store import TrackingStore
from pipeline.trials import DenoisingTrial


def missing(planned: Sequence[Planned], variances: Sequence[float]) -> dict[str, tuple[DenoisingTrial, list[float]]]:
    """By the id of its run: a trained trial, and the variances of the sweep at which it has not been measured yet."""
    found = {}
    for one in planned:
        if not isinstance(one.trial, DenoisingTrial) or one.run is None or not one.run.trained:
            continue
        others = variances if one.trial.span else [v for v in variances if v != one.trial.variance]
        left = [variance for variance in others if keys.cross("psnr", variance) not in one.run.metrics]
        if left:
            found[one.run.run_id] = one.trial, left
    return found


def measure(
    todo: Mapping[str, tuple[DenoisingTrial, list[float]]], images: ImageStore, store: TrackingStore, run: Run
) -> Iterator[float]:
    """Measure trained networks at other variances than their own; figures join their runs. Yields each variance."""
    from pipeline.tracking.runs import Recorder
    from pipeline.training.build import split_batches
    from pipeline.training.denoising import Denoiser, averages
    from pipeline.training.device import choose_device

    device = choose_device(run)
    a_trial, _ = next(iter(todo.values()))
    test = split_batches(images, a_trial, device)["test"]
    for run_id, (trial, variances) in todo.items():
        denoiser = Denoiser.build(trial, images, device)
        denoiser.model.load_state_dict(store.weights(run_id, keys.WEIGHTS))
        recorder = Recorder(store, run_id)
        for variance in variances:
            scores = denoiser.scores(test, variance)
            recorder.table(scores, keys.per_image(variance))
            recorder.metrics({keys.cross(name, variance): value for name, value in averages(scores).items()})
            yield variance
