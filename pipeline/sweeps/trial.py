"""Run one trial: train, measure, and write everything about it into one run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.config import Run
from pipeline.data.source_code import module_file
from pipeline.data.store import ImageStore
from pipeline.errors import NonFiniteLossError
from pipeline.studies.experiments import measured
from pipeline.sweeps.identity import network_modules
from pipeline.sweeps.locks import locked, trials_folder
from pipeline.sweeps.plan import Planned
from pipeline.sweeps.record import params, record_classifier, record_denoiser, record_network, record_study
from pipeline.tracking import keys
from pipeline.tracking.runs import recording
from pipeline.tracking.store import RunRecord, TrackingStore, open_store
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.classification import train_classifier
from pipeline.training.denoising import train_denoiser
from pipeline.training.device import choose_device, choose_precision, device_name
from pipeline.training.observer import Observer, Observers
from pipeline.trials import ClassificationTrial, DenoisingTrial, StudyTrial, Trial, as_numbers


@dataclass(frozen=True)
class Site:
    """Where the trials of a sweep are run and recorded. Can be sent to another process."""

    images: Path
    """Folder of the store."""
    digest: str
    """Of the store."""
    experiment_id: str
    owner: str
    run: Run
    tags: Mapping[str, str]
    """What the runs tell of the command: workers elsewhere don't know it."""

    def opened(self) -> tuple[ImageStore, TrackingStore]:
        """The images and the tracking store, in the process that calls this."""
        images = ImageStore.open(self.images)
        if images.manifest.digest != self.digest:
            raise RuntimeError(f"{self.images} holds other images than those the sweep was planned on")
        return images, open_store(self.run, patient=True)


def run_trial(planned: Planned, site: Site, images: ImageStore, store: TrackingStore, watchers: list[Observer]) -> None:
    """Train and measure one trial in a run of its own: the one that was broken off, if there is one.

    Raises `LockedError` if another process is at this very trial. What another has finished meanwhile is left alone.
    """
    fingerprint = planned.identity.fingerprint
    folder = trials_folder(site.run) / fingerprint
    with locked(site.run, fingerprint):
        earlier = store.of_trial(site.experiment_id, fingerprint)
        done = {run.run_id for run in earlier if run.status == "FINISHED" and keys.COMPLETE in run.tags}
        if done - planned.superseded:
            return
        run_locked(planned, site, images, store, watchers, folder, earlier)
        shutil.rmtree(folder, ignore_errors=True)


def run_locked(
    planned: Planned,
    site: Site,
    images: ImageStore,
    store: TrackingStore,
    watchers: list[Observer],
    folder: Path,
    earlier: list[RunRecord],
) -> None:
    """As `run_trial`, by the one process that may; `earlier` are the runs of this trial that there are."""
    trial, identity = planned.trial, planned.identity
    device = choose_device(site.run)
    precision = precision_of(trial, device)
    # Only what began here, and with the same arithmetic, can go on to the same bits.
    place = f"{site.owner} {device.type} {precision}"
    unfinished = [one for one in earlier if one.status != "FINISHED" and one.tags.get(keys.PLACE) == place]
    resume = unfinished[-1].run_id if unfinished else None
    checkpoints = Checkpoints(folder / f"{device.type}-{precision}", site.run.checkpoint_seconds)
    if resume is None:
        checkpoints.clear()  # of a run that is gone
    # A budget in seconds is measured once: who repeats or resumes the trial does as many steps.
    steps = next((int(one.params["steps"]) for one in earlier if one.params.get("steps", "0") != "0"), None)
    tags = {
        **site.tags,
        keys.IDENTITY: identity.text,
        keys.DATA_DIGEST: images.manifest.digest,
        keys.DEVICE: device_name(device),
        keys.OWNER: site.owner,
        keys.PLACE: place,
    }
    recorded = recording(store, site.experiment_id, trial.name, keys.KIND_TRIAL, identity.fingerprint, tags, resume)
    with recorded as recorder, forgotten_if_hopeless(checkpoints):
        recorder.dataset(images)
        recorder.json(json.loads(identity.text), "config/trial.json")
        known = unfinished[-1].params if resume else {}
        recorder.params({name: value for name, value in as_numbers(params(trial)).items() if name not in known})
        for module in network_modules(identity.text):
            if module_file(module).exists():  # on another machine, Ray brings this package alone
                recorder.text(module_file(module).read_text(encoding="utf-8"), f"code/{module}.py")
        observer = Observers([*watchers, recorder])
        if isinstance(trial, ClassificationTrial):
            classified = train_classifier(trial, images, device, observer, checkpoints, steps)
            record_network(recorder, classified)
            record_classifier(recorder, classified, images)
        elif isinstance(trial, StudyTrial):
            record_study(recorder, measured(trial, images, device))
        else:
            assert isinstance(trial, DenoisingTrial)
            denoised = train_denoiser(trial, images, device, observer, checkpoints, steps)
            record_network(recorder, denoised)
            record_denoiser(recorder, denoised, trial, images)


def precision_of(trial: Trial, device: torch.device) -> str:
    """The arithmetic inside a trial's network; studies are all in float32."""
    if isinstance(trial, ClassificationTrial | DenoisingTrial):
        return str(choose_precision(trial.training, device)).removeprefix("torch.")
    return "float32"


@contextmanager
def forgotten_if_hopeless(checkpoints: Checkpoints) -> Iterator[None]:
    """Delete the checkpoint of a training that went wrong by itself: from there it would go wrong again."""
    try:
        yield
    except NonFiniteLossError:
        checkpoints.clear()
        raise
