"""Every trained denoiser at every variance of a sweep: what happens when the noise is not what it was trained for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pipeline.config import DenoisingTrial, Run, variance_text
from pipeline.data.store import ImageStore
from pipeline.sweeps.plan import Planned
from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord, TrackingStore


def missing(planned: Sequence[Planned], variances: Iterable[float]) -> list[tuple[DenoisingTrial, RunRecord, float]]:
    """The trials, their runs and the variances at which they have not been measured yet."""
    return [
        (one.trial, one.run, variance)
        for one in planned
        if isinstance(one.trial, DenoisingTrial) and one.run is not None and one.run.params["steps"] != "0"
        for variance in variances
        if (one.trial.span or variance != one.trial.variance) and keys.cross("psnr", variance) not in one.run.metrics
    ]


def measure(
    todo: Sequence[tuple[DenoisingTrial, RunRecord, float]], images: ImageStore, store: TrackingStore, run: Run
) -> Iterator[str]:
    """Measure trained networks at other variances than their own; the figures join their runs. Yields what is done."""
    from pipeline.tracking.runs import Recorder
    from pipeline.training.build import split_batches
    from pipeline.training.denoising import Denoiser, averages
    from pipeline.training.device import choose_device

    device = choose_device(run)
    denoisers: dict[str, Denoiser] = {}
    for trial, finished, variance in todo:
        if finished.run_id not in denoisers:
            denoisers = {finished.run_id: Denoiser.build(trial, images, device)}
            state = store.weights(finished.run_id, keys.WEIGHTS)
            denoisers[finished.run_id].model.load_state_dict(state)
        scores = denoisers[finished.run_id].scores(split_batches(images, trial, device)["test"], variance)
        recorder = Recorder(store, finished.run_id)
        recorder.text(scores.to_csv(index=False), keys.per_image(variance))
        means = averages(scores, "").items()
        recorder.metrics({keys.cross(name.removeprefix("/"), variance): value for name, value in means})
        yield f"{finished.name} at {variance_text(variance)}"
