"""Which trials a configuration means, and what makes one another."""

from __future__ import annotations

from dataclasses import replace

from pipeline.config import Config, Data, Sweep, Training, variance_text
from pipeline.data.store import ImageStore
from pipeline.sweeps.identity import code_of, identify, network_module
from pipeline.sweeps.plan import DENOISING, Planned, denoising_trials, sweep_key

CONFIG = Config(sweep=Sweep(variances=(0.01, 0.1), seeds=(0, 1)))


def fingerprints(config: Config, images: ImageStore) -> dict[str, str]:
    return {trial.name: identify(trial, images, DENOISING).fingerprint for trial in denoising_trials(config, images)}


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
        (replace(CONFIG, sweep=replace(CONFIG.sweep, training=Training(epochs=4))), patches),
        (replace(CONFIG, sweep=replace(CONFIG.sweep, clip=True)), patches),
        (replace(CONFIG, sweep=replace(CONFIG.sweep, settings={"autoencoder": {"width": 8}})), patches),
        (replace(CONFIG, data=Data(validation=0.2)), patches),
        (CONFIG, digits),
    ]
    others = [fingerprints(config, images)["autoencoder · σ²=0.01 · seed 0"] for config, images in changed]
    assert len({original, *others}) == len(others) + 1


def test_what_only_decides_where_it_runs_does_not(patches: ImageStore) -> None:
    elsewhere = replace(CONFIG, run=replace(CONFIG.run, threads=1, tracking_uri="http://127.0.0.1:5000"))
    assert fingerprints(elsewhere, patches) == fingerprints(CONFIG, patches)


def test_a_baseline_does_not_depend_on_how_others_are_trained(patches: ImageStore) -> None:
    longer = replace(CONFIG, sweep=replace(CONFIG.sweep, training=Training(epochs=40)))
    name = "noisy · σ²=0.01 · seed 0"
    assert fingerprints(longer, patches)[name] == fingerprints(CONFIG, patches)[name]


def test_variances_are_written_exactly_and_as_mlflow_takes_them() -> None:
    assert [variance_text(v) for v in (0.01, 0.1000000001, 1e6, 1e21, 1e-9)] == [
        "0.01",
        "0.1000000001",
        "1000000",
        "1e21",
        "1e-09",
    ]


def test_a_trial_depends_on_its_own_network_and_not_on_others() -> None:
    assert network_module("autoencoder") == "pipeline.models.denoisers"
    assert network_module("noisy") == "pipeline.models.classical"
    assert {"pipeline.models", "pipeline.models.denoisers"} <= code_of(DENOISING, "not a bare name").keys()
    modules = code_of(DENOISING, "autoencoder")
    assert "pipeline.models.denoisers" in modules
    assert "pipeline.training.fit" in modules
    assert not {"pipeline.models", "pipeline.models.classifiers", "pipeline.models.classical"} & modules.keys()


def test_a_sweeps_key_does_not_depend_on_the_order_of_its_variances(patches: ImageStore) -> None:
    def key(*variances: float) -> str:
        config = replace(CONFIG, sweep=replace(CONFIG.sweep, variances=variances))
        trials = denoising_trials(config, patches)
        return sweep_key([Planned(trial, identify(trial, patches, DENOISING), None) for trial in trials])

    assert key(0.01, 0.1) == key(0.1, 0.01)
    assert key(0.01, 0.1) != key(0.01)
