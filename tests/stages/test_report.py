"""What the report stage says besides the report."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.sweeps import identity


def test_figures_from_before_a_change_of_code_are_called_so(
    trained_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = shutil.copytree(trained_home, tmp_path / "home")
    report = ["report", "--data.choice=demo", "--report.run_missing=false", f"--run.home={home}"]
    assert main(report) == 0
    assert "figures from before" not in capsys.readouterr().out
    digest = identity.module_digest
    monkeypatch.setattr(
        identity, "module_digest", lambda file: "0" * 64 if file.name == "classifiers.py" else digest(file)
    )
    assert main(report) == 0
    (notice,) = (line for line in capsys.readouterr().out.splitlines() if "figures from before" in line)
    assert notice.startswith("report    cnn · seed 0 and others on Demo digits: ")
    assert notice.endswith(" before models.classifiers changed")
