"""The command line: fast to answer, one clear line for what is wrong, exit code 2."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.__main__ import STAGES, configure, main, needs_home
from pipeline.arguments import as_list
from pipeline.config import PROJECT_ROOT, Run, Sweep
from pipeline.errors import UserError
from tests.conftest import as_user, run_pipeline


def test_help_lists_the_stages_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from pipeline.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print('heavy:', sorted({'torch', 'mlflow', 'pandas', 'matplotlib', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    stages = "prepare classify sweep study-gan study-batchnorm report all compare ui server doctor denoise digits"
    for stage in stages.split():
        assert f"  {stage} " in done.stdout
    assert "heavy: []" in done.stdout


def test_what_the_outputs_encoding_lacks_is_a_question_mark() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from pipeline.__main__ import main; from pipeline.console import say\n"
            "main(['prepare', '--nonsense=1']); say('σ² = 0.1')",
        ],
        cwd=PROJECT_ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "?? = 0.1\n"


def test_garbage_is_looked_for_only_after_what_a_trial_imports_is_there() -> None:
    code = (
        "import gc\n"
        "from pipeline.startup import collect_less\n"
        "collect_less()\n"
        "looks = []\n"
        "gc.callbacks.append(lambda phase, info: looks.append(phase))\n"
        "import mlflow.store.tracking.sqlalchemy_store, pipeline.data.datasets, torch.export._trace\n"
        "import matplotlib.figure\n"
        "print(looks)\n"
        "more = [[] for _ in range(1_600_000)]\n"
        "print(looks[:2], gc.get_threshold()[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "['start', 'stop'] 100000"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "--sweep.variances=0.1 abc"], "sweep.variances: expected a number, found abc"),
        (["sweep", "--sweep.variances=-1"], "sweep.variances: -1 is not a positive number"),
        (["sweep", "--sweep.variances", "0.1, .nan"], "nan is not a positive number"),
        (["sweep", "--sweep.variances="], "sweep.variances is empty; give at least one"),
        (["sweep", "--sweep.variances=0.1 0.1"], "0.1 is given more than once"),
        (["sweep", "--sweep.variances=0.1 2"], "sweep.variances: 2 is above 1; pixels run from 0 to 1, so a standard"),
        (["sweep", "--sweep.span=[0.1, 25]"], "sweep.span: 25 is above 1"),
        (["sweep", "--sweep.training_of.noisy.steps=5"], "noisy is not trained and has no settings"),
        (["denoise", "--variance=2"], "variance: 2 is above 1; pixels run from 0 to 1, so a standard deviation"),
        (["sweep", "--sweep.settings.autoencoder=3"], "sweep.settings: expected a table {name: value}, found 3"),
        (["sweep", "--classify=3"], "classify: expected a table {name: value}, found 3"),
        (["sweep", "--sweep.variances=1e-20"], "noise of variance 1e-20 vanishes in float32"),
        (["sweep", "--sweep.seeds=-1"], "sweep.seeds: -1 is below 0"),
        (["sweep", "--sweep.training.epochs=0"], "training.epochs: 0 is not a positive number"),
        (["sweep", "--sweep.training.epoch=3"], "no option sweep.training.epoch; did you mean sweep.training.epochs?"),
        (["sweep", "--data.choice=ful"], "data.choice: expected one of 'auto', 'full', 'demo', found ful"),
        (["sweep", "--sweep.training.weight_decay=-1"], "training.weight_decay is -1; give 0 or more"),
        (["sweep", "--run.threads=-1"], "run.threads is -1"),
        (["study-gan", "--gan.draws=2"], "gan.draws is 2; give 100 or more, or tails can't be measured"),
        (["study-gan", "--gan.head_start=9"], "gan.head_start is 9; give 10 or more"),
        (["study-gan", "--gan.samples=1"], "gan.samples is 1; give 2 or more"),
        (["study-batchnorm", "--batch_norm.steps=20"], "batch_norm.steps is 20; give 22 or more"),
        (["study-batchnorm", "--batch_norm.width=10"], "batch_norm.width is 10; give a multiple of 4"),
        (["study-batchnorm", "--batch_norm.batch_size=1"], "batch_norm.batch_size is 1; give 2 or more"),
        (["ui", "--ui.port="], "ui.port: expected a whole number, found nothing"),
        (["study-batchnorm", "--batch_norm.depth=1"], "batch_norm.depth is 1; give 2 or more"),
        (["sweep", "--data.images.folder="], "IMAGES is empty; give a path, or leave it out"),
        (["all", "--data.source="], "SOURCE is empty; give a path, or leave it out"),
        (["denoise", "a.png", "--out="], "OUT is empty; give a path, or leave it out"),
        (["sweep", "--sweep.clip=maybe"], "sweep.clip: expected a true/false value, found maybe"),
        (["sweep", "--run.jobs=zero"], "expected whole number or 'auto' or null, found zero"),
        (["study-batchnorm", "--batch_norm.depths=[5]"], "batch_norm.depths: give two or more, such as [5, 10]"),
        (["study-batchnorm", "--batch_norm.depths=[5, 5]"], "batch_norm.depths: 5 is given more than once"),
        (["ui", "--ui.port=99999"], "ui.port is 99999; give a port from 1 to 65535"),
        (["sweeep"], "invalid choice: 'sweeep'"),
        (["sweep", "--config=nowhere.yaml"], "File does not exist"),
        (["classify", "--data.source=nowhere"], "SOURCE=nowhere: no such folder"),
        (["classify", "--data.choice=demo", "--data.source=."], "DATA=demo uses the bundled images"),
        (["classify", "--data.choice=demo", "--data.validation=1"], "data.validation is 1.0"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, f"--run.home={home}"]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1
    assert "Traceback" not in printed.err + printed.out


@pytest.mark.parametrize("stage", [name for name in STAGES if name != "doctor"])
def test_a_home_that_cannot_be_made_is_one_line(stage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main([stage, f"--run.home={tmp_path / 'file' / 'home'}"]) == 2
    complaint = f"error: {tmp_path / 'file'} is not a folder; choose another folder: ARGS='--run.home=folder'\n"
    assert capsys.readouterr() == ("", complaint)


@pytest.mark.parametrize("place", ["", ".cache", "mlruns"])
def test_a_home_that_may_not_be_written_to_is_one_line(place: str, home: Path) -> None:
    folder = home / place
    folder.mkdir(exist_ok=True)
    folder.chmod(0o555)
    command = as_user(sys.executable, "-m", "pipeline", "compare", f"--run.home={home}")
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True)
    folder.chmod(0o755)
    complaint = f"error: {folder} can't be written to; choose another folder: ARGS='--run.home=folder'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", complaint)


def test_a_home_that_may_not_be_written_to_will_do_where_the_store_is_a_server() -> None:
    server = Run(tracking_uri="http://head:5000")
    assert [name for name in STAGES if not needs_home(name, server)] == ["compare", "ui", "denoise", "digits", "doctor"]
    assert [name for name in STAGES if not needs_home(name, Run())] == ["doctor"]


def test_an_unknown_key_in_a_file_names_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("sweep:\n  trainin:\n    epochs: 3\n")
    assert main(["sweep", f"--config={file}"]) == 2
    assert "there is no option sweep.trainin.epochs; did you mean sweep.training.epochs?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sweep: [0.1", "mine.yaml, line 1: "),
        ("sweep:\n  seeds: [0]\n models: 3\n", "mine.yaml, line 3: "),
        ("", "mine.yaml: no settings in it"),
        ("just words", "mine.yaml: no settings in it"),
        ("classify: 3", "mine.yaml: classify: expected a table {name: value}, found 3"),
        ("run: [1, 2]", "mine.yaml: run: expected a table {name: value}, found [1, 2]"),
        ("sweep:", "mine.yaml: sweep: expected a table {name: value}, found nothing"),
        ("sweep: {training: 3}", "mine.yaml: sweep.training: expected a table {name: value}, found 3"),
        ("sweep: {settings: {autoencoder: 3}}", "sweep.settings.autoencoder: expected a table {name: value}, found 3"),
        ("sweep: {training_of: {dncnn: fast}}", "sweep.training_of.dncnn: expected a table {name: value}, found fast"),
    ],
)
def test_a_file_that_holds_no_settings_is_named_with_the_place(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    for arguments in ([f"--config={file}"], ["--config", str(file)]):
        assert main(["sweep", *arguments]) == 2
        complaint = capsys.readouterr().err
        assert message in complaint
        assert len(complaint.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["classify", "--classify.model=cn"], "no network called 'cn'; did you mean cnn?"),
        (["sweep", "--sweep.models=autoencoder unet"], "no network called 'unet'"),
        (["sweep", "--sweep.baselines=noisy liner"], "no network called 'liner'; did you mean linear?"),
        (["sweep", "--sweep.training_of.dncn.epochs=1"], "no network called 'dncn'; did you mean dncnn?"),
        (["all", "--sweep.models=autoencoder unet"], "no network called 'unet'"),
        (["report", "--sweep.models=residul"], "no network called 'residul'; did you mean residual?"),
        (["sweep", "--sweep.settings.autoencoder.wdth=8"], "autoencoder has no setting wdth; did you mean width?"),
        (["classify", "--classify.settings.widths=[-1]"], "cnn with settings {'widths': [-1]}"),
        (["classify", "--classify.settings={widths: [4, 4, 4], unpadded: 3}"], "does not take images of 28×28 pixels"),
        (
            ["classify", "--classify.model=tutorial", "--classify.settings.widths=[4]"],
            "--classify.settings {} leaves out",
        ),
        (["sweep", "--sweep.settings.autoencodr.width=8"], "no network called 'autoencodr'; did you mean autoencoder?"),
        (["sweep", "--sweep.settings.residual.widths", "[16,", "32]"], "[16,: no value; write a list without spaces"),
    ],
)
def test_an_unknown_network_is_refused_before_anything_runs(
    arguments: list[str], message: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--data.choice=demo", f"--run.home={home}"]) == 2
    assert message in capsys.readouterr().err
    assert not list(home.glob("mlruns/*/*")), "no run was started"


def test_print_config_shows_what_would_be_used(home: Path) -> None:
    done = run_pipeline(
        "sweep", "--data.choice=demo", "--sweep.variances=0.2 0.3", f"--run.home={home}", "--print_config"
    )
    assert done.returncode == 0
    assert "variances:\n  - 0.2\n  - 0.3\n" in done.stdout
    assert "batch_size: 16" in done.stdout, "from experiments/demo.yaml"


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (["--sweep.training.epochs=3"], (3, None, None)),
        (["--sweep.training.seconds=9"], (0.5, None, 9)),
        (["--sweep.training.seconds", "9", "--sweep.training.steps", "7"], (0.5, 7, None)),
        ([], (0.5, 20, None)),
    ],
)
def test_a_budget_on_the_command_line_takes_the_place_of_the_files(
    budget: list[str], expected: tuple[float, int | None, float | None], tmp_path: Path, home: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("sweep: {training: {epochs: 0.5, steps: 20}}\n")
    _, config, _ = configure(["sweep", f"--config={file}", *budget, "--data.choice=demo", f"--run.home={home}"])
    training = config.sweep.training
    assert (training.epochs, training.steps, training.seconds) == expected


def test_every_list_may_be_words(home: Path) -> None:
    lists = ["--batch_norm.rates=0.01 1", "--batch_norm.depths", "5, 10", "--gan.seeds=3 4", "--sweep.models=a b"]
    _, config, _ = configure(["study-gan", *lists, "--data.choice=demo", f"--run.home={home}"])
    assert (config.batch_norm.rates, config.batch_norm.depths) == ((0.01, 1.0), (5, 10))
    assert (config.gan.seeds, config.sweep.models) == ((3, 4), ("a", "b"))


def sweep_with(file: Path, text: str, home: Path, *options: str) -> Sweep:
    """What an experiment file of this text and options on the command line amount to."""
    file.write_text(text)
    _, config, _ = configure(["sweep", *options, f"--config={file}", "--data.choice=demo", f"--run.home={home}"])
    return config.sweep


def test_settings_of_a_network_join_those_of_the_file(tmp_path: Path, home: Path) -> None:
    text = (
        "sweep:\n"
        "  settings: {residual: {widths: [4, 8], heads: 2}, autoencoder: {width: 9}}\n"
        "  training_of: {dncnn: {learning_rate: 0.1, loss: mse}}\n"
    )
    options = ["--sweep.settings.residual.widths=[16]", "--sweep.settings.residual.blocks", "[1]"]
    options += ["--sweep.training_of.dncnn.learning_rate", "1e-3", "--sweep.training_of.dncnn.optimizer=muon"]
    sweep = sweep_with(tmp_path / "mine.yaml", text, home, *options)
    assert sweep.settings == {"residual": {"widths": [16], "heads": 2, "blocks": [1]}, "autoencoder": {"width": 9}}
    assert sweep.training_of == {"dncnn": {"learning_rate": 0.001, "loss": "mse", "optimizer": "muon"}}


def test_what_is_said_for_all_networks_takes_the_place_of_the_files_for_one(tmp_path: Path, home: Path) -> None:
    file = tmp_path / "mine.yaml"
    text = (
        "sweep: {training: {seconds: 300}, training_of: {dncnn: {learning_rate: 0.2}, "
        "residual: {learning_rate: 0.1, loss: mse, seconds: 600}}}\n"
    )
    common = ("--sweep.training.epochs=3", "--sweep.training.learning_rate", "0.5")
    sweep = sweep_with(file, text, home, *common)
    for network in ("residual", "dncnn"):
        training = sweep.training_for(network)
        assert (training.learning_rate, training.epochs, training.seconds) == (0.5, 3, None)
    assert sweep.training_for("residual").loss == "mse"
    sweep = sweep_with(file, text, home, *common, "--sweep.training_of.dncnn.learning_rate=0.7")
    assert [sweep.training_for(name).learning_rate for name in ("residual", "dncnn")] == [0.5, 0.7]
    sweep = sweep_with(file, text, home, "--sweep.training_of.residual.epochs=1")
    own = sweep.training_for("residual")
    assert (own.epochs, own.seconds, own.learning_rate) == (1, None, 0.1), "one budget takes the place of another"


def test_a_home_may_be_given_as_make_passes_it_on() -> None:
    assert Run(home=Path("~/runs")).home == Path.home() / "runs"


def test_a_range_of_variances_is_evenly_spaced_in_its_logarithm() -> None:
    assert as_list("0.001:0.1:3 0.5") == "[0.001, 0.01, 0.1, 0.5]"
    assert len(as_list("0.001:0.2:8").split(",")) == 8
    assert as_list("head http://a:5000 *") == '[head, "http://a:5000", "*"]'
    assert [float(one) for one in as_list("۰٫۰۵، ۰٫۱")[1:-1].split(",")] == [0.05, 0.1], "as a Persian keyboard types"
    for wrong in ("0.2:0.001:3", "0.1:0.2:1", "0:1:3", "a:b:c"):
        with pytest.raises(UserError, match="give least:greatest:count"):
            as_list(wrong)


@pytest.mark.parametrize("file", sorted(PROJECT_ROOT.glob("experiments/*.yaml")), ids=lambda file: file.stem)
def test_every_experiment_that_comes_with_the_project_is_valid(file: Path) -> None:
    done = run_pipeline("sweep", f"--config={file}", "--print_config")
    assert done.returncode == 0, done.stderr
    assert all(line in done.stdout for line in ("classify:", "sweep:"))


@pytest.mark.parametrize("place", ["first", "last"])
def test_the_command_line_overrides_a_saved_configuration_wherever_it_is_named(
    place: str, home: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "mine.yaml"
    saved.write_text(run_pipeline("sweep", "--data.choice=demo", "--print_config").stdout)
    file, others = f"--config={saved}", ["classify", "--data.choice=demo", "--classify.seeds=7", f"--run.home={home}"]
    done = run_pipeline(*([file, *others] if place == "first" else [*others, file]), "--print_config")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("stage: classify\n")
    assert "seeds:\n  - 7\n" in done.stdout
    assert f"home: {home}\n" in done.stdout


@pytest.mark.parametrize("arguments", [["sweep", "--config=experiments/demo.yaml"], ["ui"]])
def test_print_config_only_prints(arguments: list[str], home: Path) -> None:
    done = run_pipeline(*arguments, "--data.choice=demo", f"--run.home={home}", "--print_config")
    assert done.returncode == 0
    assert done.stdout.startswith(f"stage: {arguments[0]}\n")
    assert "Denoising" not in done.stdout
    assert not (home / "mlruns").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="this system has no such signal")
def test_a_reader_that_goes_away_interrupts() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "doctor"],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=120) == 128 + signal.SIGPIPE
    assert process.stderr is not None
    assert process.stderr.read() == b"stopped, for nobody reads on; the same command goes on from where it was\n"
