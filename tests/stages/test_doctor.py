"""The doctor says how things are, what is wrong and what to do, quickly, and changes nothing."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.config import Run
from pipeline.sweeps.locks import locked, owner
from pipeline.tracking import keys
from pipeline.tracking.store import open_store

Printed = pytest.CaptureFixture[str]


def doctor(home: Path, *arguments: str) -> int:
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow sets it to the store that this process has opened
    return main(["doctor", f"--run.home={home}", *arguments])


def left_open(home: Path) -> str:
    """A run of this home that nobody is at; its experiment."""
    store = open_store(Run(home=home))
    experiment = store.experiment("images-denoising", "d" * 64, "what it holds")
    tags = {keys.OWNER: owner(Run(home=home)), keys.FINGERPRINT: "f" * 64, keys.KIND: keys.KIND_TRIAL}
    store.client.create_run(experiment, run_name="residual · seed 0", tags=tags)
    (home / "mlruns").mkdir(exist_ok=True)
    return experiment


def test_all_is_well_in_a_fresh_home(home: Path, capsys: Printed) -> None:
    assert doctor(home) == 0
    out = capsys.readouterr().out
    for line in ("✓ python      3.", "✓ packages    torch 2.", "✓ device      ", "✓ precision   ", "✓ disk   "):
        assert line in out
    assert f"✓ tracking    sqlite:///{home}/mlflow.db: 0 runs in 0 experiments" in out
    assert "Demo digits: 1,797 images prepared" in out
    assert out.endswith("All is well.\n")


def test_a_home_that_is_not_there_is_not_made(tmp_path: Path, capsys: Printed) -> None:
    assert doctor(tmp_path / "new") == 0
    assert "not there yet; make demo, make classify or make sweep makes it" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()


def test_a_run_that_was_left_open_is_named_and_one_under_way_is_not(home: Path, capsys: Printed) -> None:
    experiment = left_open(home)
    assert doctor(home) == 1
    out, err = capsys.readouterr()
    assert "→ left open by a command that died: residual · seed 0; the next make classify or make sweep closes" in out
    assert err == "1 thing is wrong; see → above\n"
    assert [run.status for run in open_store(Run(home=home)).search(experiment, "")] == ["RUNNING"]
    with locked(Run(home=home), "f" * 64):
        assert doctor(home) == 0
    assert "1 runs in 1 experiments, 1 running" in capsys.readouterr().out


def test_a_moved_folder_and_lost_artifacts_are_faults(home: Path, tmp_path: Path, capsys: Printed) -> None:
    left_open(home)
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    assert doctor(copy) == 1
    assert f"→ this folder was {home} before" in capsys.readouterr().out
    assert not (copy / "mlflow.db.before-move").exists()
    (home / "mlruns").rename(tmp_path / "elsewhere")
    assert doctor(home) == 1
    assert f"→ {home / 'mlruns'} is gone" in capsys.readouterr().out


def test_what_cannot_be_read_is_a_fault_and_the_rest_is_examined(home: Path, capsys: Printed) -> None:
    for file in home.glob("mlflow.db-*"):
        file.unlink()
    (home / "mlflow.db").write_bytes(b"not a database" * 1000)
    assert doctor(home, "--run.device=mps") == 1
    out, err = capsys.readouterr()
    assert "→ the tracking store can't be written to; was it moved, deleted or made read-only?" in out
    assert "→ run.device: mps is not available here" in out
    assert "✓ disk" in out
    assert err == "2 things are wrong; see → above\n"


def test_a_home_that_cannot_be_made_is_a_fault(tmp_path: Path, capsys: Printed) -> None:
    (tmp_path / "file").touch()
    assert doctor(tmp_path / "file" / "home") == 1
    out, err = capsys.readouterr()
    assert f"→ {tmp_path / 'file'} is not a folder; choose another folder: ARGS='--run.home=folder'" in out
    assert err == "1 thing is wrong; see → above\n"


def test_a_server_that_does_not_answer_is_not_waited_for(home: Path, capsys: Printed) -> None:
    started = time.monotonic()
    assert doctor(home, "--run.tracking_uri=http://someone:secret@127.0.0.1:9") == 1
    assert time.monotonic() - started < 60
    out = capsys.readouterr().out
    assert "→ no MLflow server answers at http://someone:***@127.0.0.1:9 (ConnectionError); start it" in out
    assert "secret" not in out
