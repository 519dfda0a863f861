"""The whole pipeline on the demo's data, as a user runs it, with the smallest trials there are."""

from __future__ import annotations

import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from PIL import Image
from skimage.data import astronaut

from pipeline.config import PROJECT_ROOT, Run
from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord, TrackingStore, open_store
from tests.conftest import TINY, TINY_STUDIES, Pipeline, run_pipeline
from tests.sweeps.sweeping import all_runs

DEMO = ("--data.choice=demo", *TINY, *TINY_STUDIES)
TWO = "--sweep.variances=0.01 0.1"


def trials(store: TrackingStore, experiment: str) -> dict[str, RunRecord]:
    (experiment_id,) = [key for key, name in store.experiments() if name == experiment]
    return {run.name: run for run in store.finished(experiment_id, keys.KIND_TRIAL)}


def artifacts(store: TrackingStore, run: RunRecord) -> set[str]:
    return {file.path for file in store.client.list_artifacts(run.run_id)}


def test_everything_is_run_once_tracked_and_reported(pipeline: Pipeline, home: Path) -> None:
    first = pipeline("all", *DEMO, TWO)
    assert first.returncode == 0, first.stderr
    report_file = home / "reports" / "output" / "demo" / "report.en.md"
    assert f"Read the report: {report_file.with_suffix('.html')}" in first.stdout
    assert "make ui" in first.stdout
    assert "report    denoising: the sweep that was asked for last, σ² 0.01, 0.1: autoencoder, seed 0\n" in first.stdout

    store = open_store(Run(home=home))
    (classifier,) = trials(store, "demo-digits-classifier").values()
    denoisers = trials(store, "demo-patches-denoising")
    assert set(denoisers) == {
        f"{model} · σ²={variance} · seed 0" for model in ("noisy", "autoencoder") for variance in (0.01, 0.1)
    }
    assert len({frozenset(run.params) for run in denoisers.values()}) == 1, "the same params in every trial"
    for run in (classifier, *denoisers.values()):
        assert {keys.IDENTITY, keys.DATA_DIGEST, keys.DEVICE, keys.COMMAND, "version.torch"} <= run.tags.keys()
        assert {keys.TRAIN_SECONDS, keys.TOTAL_SECONDS} <= run.metrics.keys()
        assert store.client.get_run(run.run_id).inputs.dataset_inputs
    assert {"confusion_matrix.png", "misclassified.png", "config"} <= artifacts(store, classifier)
    assert {"grid.png", "images", "config"} <= artifacts(store, denoisers["noisy · σ²=0.1 · seed 0"])
    # A foreign file among the images would hide all of them from the UI.
    images = [file.path for file in store.client.list_artifacts(classifier.run_id, "images")]
    images += [file.path for run in denoisers.values() for file in store.client.list_artifacts(run.run_id, "images")]
    assert images
    assert all(
        re.fullmatch(r"images/[\w~]+\+step\+0\+timestamp\+\d+\+[\w-]+(\+compressed)?\.(png|webp)", i) for i in images
    )

    report = report_file.read_text(encoding="utf-8")
    assert "This is the demo's data, not MNIST and CIFAR-10" in report
    for run in (classifier, *denoisers.values()):
        assert run.run_id in report
    assert f"{classifier.metrics[keys.TEST_ACCURACY] * 100:.2f} % (n = 1)" in report
    for run in denoisers.values():
        assert f"{run.metrics[keys.TEST_PSNR]:.2f} dB (n = 1)" in report
    for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", report):
        assert (report_file.parent / picture).read_bytes().startswith(b"\x89PNG"), picture
    assert len(re.findall(r"grid-autoencoder-0\.\d+\.png", report)) == 2

    second = pipeline("all", *DEMO, TWO)
    assert second.returncode == 0, second.stderr
    assert second.stdout.count(": reuse (done, run") == 5 + 2 * 4, "five trials, four experiments a study"
    assert "report    reuse" in second.stdout
    assert ": run" not in second.stdout
    assert report_file.read_text(encoding="utf-8") == report
    runs = [run for experiment, _ in store.experiments() for run in store.search(experiment, "")]
    asked_again = [run.tags[keys.KIND] for run in runs if any(key.startswith(keys.REQUESTED) for key in run.tags)]
    assert asked_again.count(keys.KIND_TRIAL) == 1 + 2 * 4, "a sweep is asked for as a whole"

    more = pipeline("sweep", *DEMO, "--sweep.variances=0.01 0.1 0.2")
    assert more.returncode == 0, more.stderr
    assert more.stdout.count(": reuse (done, run") == 4
    assert "autoencoder · σ²=0.2 · seed 0: run" in more.stdout

    for language in ("en", "fa"):
        text = report_file.with_name(f"report.{language}.md").read_text(encoding="utf-8")
        for question in ("gan", "batch-norm"):
            answer = (PROJECT_ROOT / "reports" / "answers" / f"{question}.{language}.md").read_text(encoding="utf-8")
            assert answer in text
        assert text.count("figures/bn_") == 4
        assert text.count("figures/gan_") == 5

    again = pipeline("report", *DEMO)
    assert again.returncode == 0, again.stderr
    assert report_file.read_text(encoding="utf-8").count("| 0.2 | ") == 3, "both models, and their comparison"


def test_a_dry_run_of_all_tells_what_each_stage_would_do(pipeline: Pipeline, home: Path) -> None:
    done = pipeline("all", *DEMO, TWO, "--dry-run")
    assert done.returncode == 0, done.stderr
    told = {line.split()[0] for line in done.stdout.splitlines() if ": run (new)" in line or "written then" in line}
    assert told == {"classify", "sweep", "study-gan", "study-batchnorm", "report"}
    assert not (home / "reports").exists()


def test_no_report_of_nothing_takes_the_place_of_one(pipeline: Pipeline, home: Path) -> None:
    done = pipeline("report", "--data.choice=demo", "--report.run_missing=false")
    assert done.returncode == 2
    message = "error: nothing to report yet: there are no finished runs on these data; make all makes them\n"
    assert done.stderr == message
    assert not (home / "reports").exists()


def test_no_number_of_the_report_is_typed_by_hand(pipeline: Pipeline, home: Path) -> None:
    assert pipeline("sweep", *DEMO, "--sweep.variances=0.05").returncode == 0
    report_file = home / "reports" / "output" / "demo" / "report.en.md"
    existing = ("report", "--data.choice=demo", "--report.run_missing=false")
    assert pipeline(*existing).returncode == 0
    before = report_file.read_text(encoding="utf-8")
    assert "Not run yet: `make classify DATA=demo`" in before, "a section without runs says how to get them"

    run = trials(open_store(Run(home=home)), "demo-patches-denoising")["autoencoder · σ²=0.05 · seed 0"]
    with sqlite3.connect(home / "mlflow.db") as database:
        for table in ("metrics", "latest_metrics"):
            database.execute(
                f"UPDATE {table} SET value = 12.34 WHERE run_uuid = ? AND key = ?", (run.run_id, keys.TEST_PSNR)
            )
    assert pipeline(*existing).returncode == 0
    assert "| 0.05 | autoencoder | 12.34 dB (n = 1) |" in report_file.read_text(encoding="utf-8")


def test_a_loss_that_explodes_fails_the_run_and_the_command(pipeline: Pipeline, home: Path) -> None:
    done = pipeline("sweep", *DEMO, "--sweep.variances=0.05", "--sweep.training.learning_rate=1e30")
    assert done.returncode == 1
    assert re.search(r"failed: 1 of 2 trials\n .*the loss is (nan|inf) at step \d+ of \d+, learning rate", done.stderr)
    assert "Traceback" not in done.stderr
    store = open_store(Run(home=home))
    ((experiment_id, _),) = store.experiments()
    failed = store.client.search_runs([experiment_id], "attributes.status = 'FAILED'")
    assert [run.info.run_name for run in failed] == ["autoencoder · σ²=0.05 · seed 0"]
    assert "learning rate" in failed[0].data.tags[keys.FAILURE]
    assert failed[0].data.params["lr"] == "1e+30", "what failed can be seen"


def test_a_report_on_another_source_is_on_that_source(pipeline: Pipeline, home: Path, tmp_path: Path) -> None:
    """Two folders with digits only: what was run on the first must not be reported for the second."""
    for name, rows in (("one", 360), ("two", 300)):
        (tmp_path / name).mkdir()
        for split in ("train", "test"):
            lines = (home / ".cache" / "downloads" / "demo-digits" / f"mnist_{split}.csv").read_text().splitlines()
            chosen = lines if split == "train" else lines[:rows]
            (tmp_path / name / f"mnist_{split}.csv").write_text("\n".join(chosen))
        done = pipeline("report", *TINY, f"--data.source={tmp_path / name}")
        assert done.returncode == 0, done.stderr
        report = (home / "reports" / "output" / "report.en.md").read_text(encoding="utf-8")
        assert f"{rows} test images of MNIST" in report
        assert 'Not run yet: `make sweep VARS="0.01 0.05 0.1"`' in report
    # Read again, the same digits are the same data: what was run on them counts, whatever a run would be like today.
    (tmp_path / "two" / "mnist_test.csv").touch()
    again = pipeline("report", *TINY, "--classify.seeds=7", f"--data.source={tmp_path / 'two'}")
    assert again.returncode == 0, again.stderr
    assert "prepare" in again.stdout
    assert "classify" not in again.stdout


def test_clipped_noise_has_an_experiment_of_its_own(pipeline: Pipeline, home: Path) -> None:
    for clip in ("false", "true"):
        done = pipeline("sweep", *DEMO, "--sweep.variances=0.1", "--sweep.models=noisy", f"--sweep.clip={clip}")
        assert done.returncode == 0, done.stderr
    store = open_store(Run(home=home))
    (free,) = trials(store, "demo-patches-denoising").values()
    (clipped,) = trials(store, "demo-patches-denoising-clipped").values()
    # Figures are of the output clipped to [0, 1], and the noise is the same: the untouched input scores the same.
    assert clipped.metrics[keys.TEST_PSNR] == free.metrics[keys.TEST_PSNR]
    assert free.params["clip"] == "False"
    assert clipped.params["clip"] == "True"
    assert free.tags[keys.FINGERPRINT] != clipped.tags[keys.FINGERPRINT]


@pytest.mark.slow
def test_networks_are_measured_at_every_variance_of_the_sweep_and_only_once(pipeline: Pipeline, home: Path) -> None:
    small = ("--sweep.models=autoencoder conditional", "--sweep.settings.conditional.widths=[4, 4, 4]")
    sweep = ("sweep", *DEMO, *small, "--sweep.training.steps=4")
    first = pipeline(*sweep, "--sweep.variances=0.01 0.1")
    assert first.returncode == 0, first.stderr
    # Two autoencoders at the other's variance, and one network for all at both.
    assert "other variances than their own: 4 to measure" in first.stdout
    second = pipeline(*sweep, "--sweep.variances=0.01 0.1")
    assert "to measure" not in second.stdout
    third = pipeline(*sweep, "--sweep.variances=0.01 0.1 0.2")
    assert third.returncode == 0, third.stderr
    # The three that were there at the new variance, and the new one at two.
    assert "other variances than their own: 5 to measure" in third.stdout

    store = open_store(Run(home=home))
    found = trials(store, "demo-patches-denoising")
    assert {name for name in found["autoencoder · σ²=0.01 · seed 0"].metrics if name.startswith("test_at/psnr ")} == {
        "test_at/psnr 0.1",
        "test_at/psnr 0.2",
    }
    assert "test_at/psnr_blind 0.2" in found["conditional · σ²=0.0025–0.25 · seed 0"].metrics
    report = pipeline("report", *DEMO, "--report.run_missing=false")
    assert report.returncode == 0, report.stderr
    text = (home / "reports" / "output" / "demo" / "report.en.md").read_text(encoding="utf-8")
    assert "| 0.2 | conditional (blind) |" in text


@pytest.mark.slow
def test_own_images_may_be_of_any_size_that_ssims_window_fits_into(
    pipeline: Pipeline, home: Path, tmp_path: Path
) -> None:
    photograph = Image.fromarray(astronaut())
    for side, folder in ((10, tmp_path / "small"), (67, tmp_path / "odd")):
        folder.mkdir()
        for n in range(12):
            photograph.crop((4 * n, 3 * n, 4 * n + side, 3 * n + side + 2)).save(folder / f"{n}.png")
    refused = pipeline("sweep", *TINY, f"--data.images.folder={tmp_path / 'small'}")
    assert refused.returncode == 2
    assert "images of 10×12 pixels, and SSIM's window takes 11" in refused.stderr
    networks = ("--sweep.models=autoencoder residual", "--sweep.settings.residual.widths=[8,8,8]")
    quick = ("--sweep.variances=0.05", "--sweep.training.batch_size=4", "--sweep.baselines=noisy linear")
    done = pipeline("sweep", *TINY, *networks, *quick, f"--data.images.folder={tmp_path / 'odd'}")
    assert done.returncode == 0, done.stderr
    names = {run.name.split()[0] for run in all_runs(home)}
    assert names > {"autoencoder", "linear", "noisy", "residual"}, "and the summary"


def test_seeds_are_averaged_with_their_interval(pipeline: Pipeline, home: Path) -> None:
    seeds = ("--sweep.seeds=0 1 2", "--classify.seeds=0 1 2")
    for stage in ("classify", "sweep", "report"):
        done = pipeline(stage, *DEMO, "--sweep.variances=0.05", *seeds, "--report.run_missing=false")
        assert done.returncode == 0, done.stderr
    report = (home / "reports" / "output" / "demo" / "report.en.md").read_text(encoding="utf-8")
    assert re.search(r"\| 0\.05 \| autoencoder \| [\d.]+ ± [\d.]+ dB \(n = 3\) \|", report)
    assert re.search(r"\| cnn \| .* ± [\d.]+ % \(n = 3\) \|", report)


def test_an_interrupted_sweep_ends_its_run_as_killed_and_goes_on_from_there(pipeline: Pipeline, home: Path) -> None:
    sweep = ("sweep", *DEMO, TWO, "--sweep.training.epochs=8")
    first = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *sweep, f"--run.home={home}"],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert first.stdout is not None
    for line in first.stdout:
        if "σ²=0.1 · seed 0: epoch 2 " in line:
            first.send_signal(signal.SIGINT)
            break
    _, complaint = first.communicate(timeout=60)
    assert first.returncode == 130, complaint
    assert complaint == "interrupted; the same command goes on from the last checkpoint\n"
    store = open_store(Run(home=home))
    ((experiment_id, _),) = store.experiments()
    statuses = {run.info.run_name: run.info.status for run in store.client.search_runs([experiment_id])}
    assert statuses["autoencoder · σ²=0.01 · seed 0"] == "FINISHED"
    assert statuses["autoencoder · σ²=0.1 · seed 0"] == "KILLED"

    second = pipeline(*sweep)
    assert second.returncode == 0, second.stderr
    assert second.stdout.count(": reuse (done, run") == 3


@pytest.mark.slow
def test_a_killed_trial_goes_on_in_its_own_run_to_the_same_result(
    pipeline: Pipeline, prepared_home: Path, home: Path, tmp_path: Path
) -> None:
    """SIGKILL in the middle of a training: the same command ends with the very figures of one left in peace."""
    classify = ("classify", "--data.choice=demo", "--classify.settings.widths=[4, 8]", "--classify.training.epochs=8")
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(prepared_home, undisturbed)
    assert run_pipeline(*classify, f"--run.home={undisturbed}").returncode == 0

    for epoch in (1, 4):
        killed = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *classify, f"--run.home={home}", "--run.checkpoint_seconds=0.05"],
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert killed.stdout is not None
        for line in killed.stdout:
            if f"epoch {epoch} " in line:
                killed.kill()
                break
        killed.communicate(timeout=60)
        assert killed.returncode == -signal.SIGKILL

    second = pipeline(*classify)
    assert second.returncode == 0, second.stderr
    assert "cnn · seed 0: resume" in second.stdout
    assert "of them done before" in second.stdout

    stores = {place: open_store(Run(home=place)) for place in (home, undisturbed)}
    results = {}
    for place, store in stores.items():
        mlflow.set_tracking_uri(store.uri)
        ((experiment_id, _),) = store.experiments()
        (run,) = store.client.search_runs([experiment_id])
        assert run.info.status == "FINISHED"
        curve = store.history(run.info.run_id, "val/loss")
        assert [step for step, _ in curve] == list(range(1, 9)), "every epoch once"
        final = {key: value for key, value in run.data.metrics.items() if not key.startswith("time/")}
        results[place] = final, curve
    assert results[home] == results[undisturbed]
    assert not list((home / ".cache" / "trials").glob("*/")), "a checkpoint is kept no longer than it is needed"


@pytest.mark.slow
def test_without_a_network_and_without_a_choice_it_says_that_it_is_the_demo(pipeline: Pipeline) -> None:
    # A proxy at a port where nobody listens: no address outside can be reached, whatever this machine's network.
    nowhere = "http://127.0.0.1:9"
    proxies = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), nowhere) | {"NO_PROXY": ""}
    done = pipeline("sweep", *TINY, "--sweep.variances=0.05", **proxies)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == lines[-1]
    assert lines[0].startswith("This runs on the demo's data")
    assert "SOURCE=" in lines[0]

    full = pipeline("sweep", "--data.choice=full", **proxies)
    assert full.returncode == 2
    assert full.stderr.startswith("error: CIFAR-10: not prepared and not to be downloaded")
