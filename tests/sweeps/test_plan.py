"""Which trials a configuration means, and what makes one another."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from pipeline.config import Augmentation, Classify, Config, Data, DenoisingTraining, Run, Sweep, Training
from pipeline.data.store import ImageStore
from pipeline.errors import UserError
from pipeline.sweeps import trial as trial_module
from pipeline.sweeps.identity import CLASSIFICATION, DENOISING, Identity, code_of, identify, network_module
from pipeline.sweeps.locks import owner, trials_folder
from pipeline.sweeps.plan import Planned, Runs, classification_trials, denoising_trials, plan, sweep_key
from pipeline.sweeps.trial import Site, run_trial
from pipeline.tracking import keys
from pipeline.tracking.runs import recording
from pipeline.tracking.store import RunRecord, open_store
from pipeline.trials import variance_text

CONFIG = Config(sweep=Sweep(variances=(0.01, 0.1), seeds=(0, 1), models=("autoencoder",), baselines=("noisy",)))


def fingerprints(config: Config, images: ImageStore) -> dict[str, str]:
    return {trial.name: identify(trial, images).fingerprint for trial in denoising_trials(config, images)}


def test_a_sweep_is_every_variance_model_and_seed_with_one_baseline_a_variance(patches: ImageStore) -> None:
    assert [trial.name for trial in denoising_trials(CONFIG, patches)] == [
        "noisy · σ²=0.01 · seed 0",
        "autoencoder · σ²=0.01 · seed 0",
        "autoencoder · σ²=0.01 · seed 1",
        "noisy · σ²=0.1 · seed 0",
        "autoencoder · σ²=0.1 · seed 0",
        "autoencoder · σ²=0.1 · seed 1",
    ]


def test_all_that_decides_a_result_makes_another_trial(patches: ImageStore, digits: ImageStore) -> None:
    original = fingerprints(CONFIG, patches)["autoencoder · σ²=0.01 · seed 0"]
    changed = [
        (replace(CONFIG, sweep=replace(CONFIG.sweep, training=DenoisingTraining(epochs=4))), patches),
        (replace(CONFIG, sweep=replace(CONFIG.sweep, clip=True)), patches),
        (replace(CONFIG, sweep=replace(CONFIG.sweep, settings={"autoencoder": {"width": 8}})), patches),
        (replace(CONFIG, data=Data(validation=0.2)), patches),
        (CONFIG, digits),
    ]
    others = [fingerprints(config, images)["autoencoder · σ²=0.01 · seed 0"] for config, images in changed]
    assert len({original, *others}) == len(others) + 1


def test_a_whole_number_makes_the_same_trial_as_its_float(patches: ImageStore) -> None:
    def identity(epochs: float, share: float, widths: list[float]) -> str:
        training, settings = Training(epochs=epochs), {"dropout": share, "widths": widths}
        classify = Classify(label_smoothing=share, settings=settings, augmentation=Augmentation(shift=epochs))
        (trial,) = classification_trials(Config(classify=replace(classify, training=training)), patches)
        return identify(trial, patches).fingerprint

    assert identity(3, 0, [32, 64]) == identity(3.0, 0.0, [32.0, 64])
    assert identity(3, 0, [32, 64]) != identity(3.5, 0, [32, 64])


def test_what_only_decides_where_it_runs_does_not(patches: ImageStore) -> None:
    elsewhere = replace(CONFIG, run=replace(CONFIG.run, threads=1, tracking_uri="http://127.0.0.1:5000"))
    assert fingerprints(elsewhere, patches) == fingerprints(CONFIG, patches)


def test_a_baseline_does_not_depend_on_how_others_are_trained(patches: ImageStore) -> None:
    longer = replace(CONFIG, sweep=replace(CONFIG.sweep, training=DenoisingTraining(epochs=40)))
    name = "noisy · σ²=0.01 · seed 0"
    assert fingerprints(longer, patches)[name] == fingerprints(CONFIG, patches)[name]


def test_a_network_for_all_variances_is_trained_once_a_seed(patches: ImageStore) -> None:
    sweep = replace(CONFIG.sweep, models=("conditional", "autoencoder"), span=(0.01, 0.25))
    names = [trial.name for trial in denoising_trials(replace(CONFIG, sweep=sweep), patches)]
    assert names[-2:] == ["conditional · σ²=0.01–0.25 · seed 0", "conditional · σ²=0.01–0.25 · seed 1"]
    assert len(names) == 2 * (1 + 2) + 2
    more = replace(sweep, variances=(0.01, 0.1, 0.2))
    kept = (
        fingerprints(replace(CONFIG, sweep=sweep), patches).items()
        & fingerprints(replace(CONFIG, sweep=more), patches).items()
    )
    assert len(kept) == len(names), "another variance leaves it as it is"


def test_a_network_may_be_trained_in_its_own_way() -> None:
    sweep = Sweep(training_of={"residual": {"optimizer": "muon", "epochs": 7}})
    assert (sweep.training_for("residual").optimizer, sweep.training_for("residual").epochs) == ("muon", 7)
    assert sweep.training_for("autoencoder") == sweep.training
    timed = DenoisingTraining(seconds=300)
    longer = Sweep(training=timed, training_of={"conditional": {"seconds": 600}, "residual": {"steps": 9}})
    assert [longer.training_for(name).seconds for name in ("autoencoder", "conditional", "residual")] == [
        300,
        600,
        None,
    ]
    assert longer.training_for("residual").steps == 9, "a budget of its own, whatever the common one is counted in"
    with pytest.raises(UserError, match=r"training_of\.residual: there is no epoch; did you mean epochs\?"):
        Sweep(training_of={"residual": {"epoch": 7}})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"precision": "fp32"}, "precision: expected auto or float32 or bfloat16, found 'fp32'"),
        ({"loss": "l1"}, "loss: expected mse or log, found 'l1'"),
        ({"epochs": "three"}, "epochs: expected number, found 'three'"),
        ({"batch_size": 32.5}, "batch_size: expected whole number, found 32.5"),
        ({"compile": 1}, "compile: expected true or false, found 1"),
        ({"clip_norm": [1]}, r"clip_norm: expected number or null, found \[1\]"),
    ],
)
def test_a_networks_own_training_is_checked_like_that_of_all(setting: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=f"^sweep.training_of.residual.{message}$"):
        Sweep(training_of={"residual": setting})


def test_a_whole_number_is_the_same_setting_as_its_float() -> None:
    whole, exact = (Sweep(training_of={"residual": {"weight_decay": zero}}) for zero in (0, 0.0))
    assert repr(whole.training_for("residual")) == repr(exact.training_for("residual"))


def test_variances_are_written_exactly_and_as_mlflow_takes_them() -> None:
    assert [variance_text(v) for v in (0.01, 0.1000000001, 1e6, 1e21, 1e-9)] == [
        "0.01",
        "0.1000000001",
        "1000000",
        "1e21",
        "1e-09",
    ]


def test_a_trial_depends_on_its_own_network_and_not_on_others() -> None:
    assert network_module(DENOISING, "autoencoder") == "pipeline.models.denoisers"
    assert network_module(DENOISING, "noisy") == "pipeline.models.classical"
    assert network_module(DENOISING, "tutorial") == "pipeline.models.denoisers"
    assert network_module(CLASSIFICATION, "tutorial") == "pipeline.models.classifiers"
    assert "pipeline.models.residual" not in code_of(DENOISING, "autoencoder")
    assert {"pipeline.models", "pipeline.models.denoisers"} <= code_of(DENOISING, "not a bare name").keys()
    modules = code_of(DENOISING, "autoencoder")
    assert "pipeline.models.denoisers" in modules
    assert "pipeline.training.fit" in modules
    assert not {"pipeline.models", "pipeline.models.classifiers", "pipeline.models.classical"} & modules.keys()
    read_by = {name for name in code_of(CLASSIFICATION, "cnn") if name.startswith("pipeline.data.")}
    handed_out = {"pipeline.data.datasets", "pipeline.data.mnist_doubts", "pipeline.data.store"}
    assert read_by == handed_out, "how images were read is in their digest"


def test_a_sweeps_key_does_not_depend_on_the_order_of_its_variances(patches: ImageStore) -> None:
    def key(*variances: float) -> str:
        config = replace(CONFIG, sweep=replace(CONFIG.sweep, variances=variances))
        trials = denoising_trials(config, patches)
        return sweep_key([Planned(trial, identify(trial, patches), None, "") for trial in trials], variances)

    assert key(0.01, 0.1) == key(0.1, 0.01)
    assert key(0.01, 0.1) != key(0.01)
    assert sweep_key([], [0.01]) != sweep_key([], [0.1]), "networks for all variances are the same trials at any"


def test_a_plan_says_what_is_done_what_changed_and_how_long_the_rest_takes(patches: ImageStore, home: Path) -> None:
    """One trial as it is now, one made by older code, one that failed, one new."""
    run = Run(home=home)
    store = open_store(run)
    experiment = store.experiment("images-denoising", patches.manifest.digest, "")
    sweep = Sweep(variances=(0.01, 0.02, 0.03, 0.04), models=("autoencoder",))
    trials = [t for t in denoising_trials(Config(sweep=sweep), patches) if t.model == "autoencoder"]
    now, older, failed, _ = trials

    def record(identity: Identity, seconds: float) -> None:
        tags = {keys.IDENTITY: identity.text, keys.OWNER: owner(run)}
        with recording(store, experiment, "", keys.KIND_TRIAL, identity.fingerprint, tags) as recorder:
            recorder.metrics({keys.TOTAL_SECONDS: seconds})
            if seconds < 0:
                raise ValueError("a bug")

    record(identify(now, patches), 60)
    parts = json.loads(identify(older, patches).text)
    parts["code"]["pipeline.models.denoisers"] = "another"
    record(Identity(json.dumps(parts, sort_keys=True, separators=(",", ":"))), 60)
    with pytest.raises(ValueError, match="a bug"):
        record(identify(failed, patches), -1)

    planned = plan(trials, patches, store, experiment, run)
    assert [re.sub(r"run \w{8}", "run ID", one.what) for one in planned] == [
        "reuse (done, run ID)",
        "run (models.denoisers changed)",
        "run (run ID failed before: ValueError: a bug)",
        "run (new)",
    ]
    assert [one.seconds for one in planned[1:]] == [planned[1].seconds] * 3
    assert planned[1].seconds is not None
    again = plan(trials, patches, store, experiment, replace(run, force=True))
    assert again[0].what == "run (again, as asked)"
    assert again[0].superseded == {planned[0].run.run_id}


def test_the_same_trial_on_other_images_is_another(patches: ImageStore) -> None:
    trial = denoising_trials(Config(), patches)[0]
    other = Mock(manifest=replace(patches.manifest, digest="e" * 64))
    assert identify(trial, other).fingerprint != identify(trial, patches).fingerprint
    assert "pipeline.metrics.image" in code_of(DENOISING, "autoencoder")
    assert "pipeline.metrics.classification" in code_of(CLASSIFICATION, "cnn")


def test_what_began_in_another_home_is_not_gone_on_with_here() -> None:
    run = RunRecord("r", "n", {}, {}, {keys.FINGERPRINT: "f", keys.OWNER: "another"}, "KILLED", 0)
    assert Runs([run], "mine").unfinished == {}
    assert Runs([run], "another").unfinished == {"f": run}


def test_of_several_finished_runs_of_a_trial_the_newest_counts(patches: ImageStore, home: Path) -> None:
    run = Run(home=home)
    store = open_store(run)
    experiment = store.experiment("e", patches.manifest.digest, "")
    trial = denoising_trials(Config(), patches)[0]
    identity = identify(trial, patches)
    for _ in range(2):
        tags = {keys.IDENTITY: identity.text, keys.OWNER: owner(run)}
        with recording(store, experiment, "", keys.KIND_TRIAL, identity.fingerprint, tags) as recorder:
            time.sleep(0.01)  # runs are ordered by the millisecond they end in
    (planned,) = plan([trial], patches, store, experiment, run)
    assert planned.run is not None
    assert planned.run.run_id == recorder.run_id


def test_only_what_began_here_with_the_same_arithmetic_is_resumed(
    patches: ImageStore, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(home=home, device="cpu")
    store = open_store(run)
    experiment = store.experiment("e", patches.manifest.digest, "")
    (trial,) = denoising_trials(Config(sweep=Sweep(variances=(0.01,), models=("autoencoder",), baselines=())), patches)
    identity = identify(trial, patches)
    tags = {keys.PLACE: f"{owner(run)} cpu float8", keys.OWNER: owner(run), keys.IDENTITY: identity.text}
    with (
        pytest.raises(KeyboardInterrupt),
        recording(store, experiment, "r", keys.KIND_TRIAL, identity.fingerprint, tags),
    ):
        raise KeyboardInterrupt
    for precision in ("float32", "bfloat16"):
        stale = trials_folder(run) / identity.fingerprint / f"cpu-{precision}" / "checkpoint.pt"
        stale.parent.mkdir(parents=True)
        stale.touch()
    found = []

    def train(_trial, _images, _device, _observer, checkpoints, _steps):  # type: ignore[no-untyped-def]
        found.append(checkpoints.folder.exists())
        raise ValueError("enough")

    monkeypatch.setattr(trial_module, "train_denoiser", train)
    site = Site(patches.folder, patches.manifest.digest, experiment, owner(run), run, {})
    with pytest.raises(ValueError, match="enough"):
        run_trial(Planned(trial, identity, None, ""), site, patches, store, [])
    assert len(store.of_trial(experiment, identity.fingerprint)) == 2, "a run of its own"
    assert found == [False], "a checkpoint of a run that is gone is none"
