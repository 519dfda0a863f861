"""What counts as a change of code."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from pipeline.data import source_code
from pipeline.data.source_code import imported_from, imported_modules, module_digest
from pipeline.errors import UserError
from pipeline.sweeps import identity

ORIGINAL = '"""Doc."""\n\ndef f(x):\n    """Doc."""\n    return x + 1  # comment\n'


def digest(folder: Path, name: str, text: str) -> str:
    file = folder / f"{name}.py"
    file.write_text(text)
    return module_digest(file)


def test_comments_layout_and_docstrings_do_not_count_but_meaning_does(tmp_path: Path) -> None:
    original = digest(tmp_path, "a", ORIGINAL)
    assert digest(tmp_path, "b", "def f(x):\n\n    return (x +\n            1)\n") == original
    assert digest(tmp_path, "c", ORIGINAL.replace("+ 1", "+ 2")) != original
    assert digest(tmp_path, "e", ORIGINAL + "\n@f\ndef g():\n    return f(2)\n") != digest(
        tmp_path, "f", ORIGINAL + "\n\ndef g():\n    return f(2)\n"
    )
    assert digest(tmp_path, "d", ORIGINAL.replace("f(x)", "g(x)")) != original


def test_a_trial_depends_on_what_it_imports_and_not_on_the_report() -> None:
    rooms = ("pipeline.data", "pipeline.models", "pipeline.training", "pipeline.metrics")
    found = imported_modules(["pipeline.training.denoising"], rooms)
    assert {"pipeline.training.fit", "pipeline.training.noise", "pipeline.models.denoisers"} <= set(found)
    assert not any(name.startswith(("pipeline.reporting", "pipeline.tracking")) for name in found)


@pytest.mark.parametrize(
    ("module", "line", "expected"),
    [
        ("pipeline.models", "from .mine import Mine", "pipeline.models.mine"),
        ("pipeline.models.mine", "from .parts import block", "pipeline.models.parts"),
        ("pipeline.models.mine", "from . import parts", "pipeline.models"),
        ("pipeline.models.mine", "from ..metrics.image import psnr", "pipeline.metrics.image"),
        ("pipeline.models.mine", "from pipeline.errors import UserError", "pipeline.errors"),
    ],
)
def test_imports_that_begin_with_dots_lead_to_their_modules(module: str, line: str, expected: str) -> None:
    (node,) = ast.parse(line).body
    assert isinstance(node, ast.ImportFrom)
    assert imported_from(node, module) == expected


def test_a_network_imported_with_dots_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = tmp_path / "__init__.py"
    table.write_text("from .mine import Mine\nDENOISERS: dict[str, type] = {'mine': Mine}\n", encoding="utf-8")
    real = identity.module_file
    for module in (identity, source_code):
        monkeypatch.setattr(module, "module_file", lambda name: table if name == identity.NETWORKS else real(name))
    assert identity.network_module(identity.DENOISING, "mine") == "pipeline.models.mine"


def test_networks_are_known_to_have_changed() -> None:
    name = "pipeline.models.residual"
    now = module_digest(identity.module_file(name))[:16]
    code = {name: now, "pipeline.models.gone": "0" * 16, "pipeline.training.fit": "0" * 16}
    assert identity.networks_changed(json.dumps({"code": code})) == ["pipeline.models.gone"]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of models beside which other modules may lie."""
    models = tmp_path / "pipeline" / "models"
    models.mkdir(parents=True)
    (models / "__init__.py").write_text(
        "from pipeline.models.theirs import Theirs\nfrom pipeline.models import other\n", encoding="utf-8"
    )
    (models / "theirs.py").write_text("class Theirs: ...\n", encoding="utf-8")
    monkeypatch.setattr(source_code, "PACKAGE", tmp_path / "pipeline")
    monkeypatch.setattr(source_code, "names_imported", source_code.names_imported.__wrapped__)
    return tmp_path


def test_what_a_network_imports_from_the_table_or_from_beside_the_package_is_followed(package: Path) -> None:
    (package / "mylib").mkdir()
    (package / "mylib" / "helper.py").write_text("import numpy\nACT = 1\n", encoding="utf-8")
    mine = package / "pipeline" / "models" / "mine.py"
    (package / "pipeline_blocks.py").write_text("", encoding="utf-8")
    mine.write_text(
        "from pipeline.models import Theirs, other\nfrom mylib.helper import ACT\nimport pipeline_blocks\n",
        encoding="utf-8",
    )
    (package / "pipeline" / "models" / "other.py").write_text("", encoding="utf-8")
    found = source_code.imported_modules(["pipeline.models.mine"], ["pipeline.models"], leave_out="pipeline.models")
    own = ["pipeline.models.mine", "pipeline.models.other", "pipeline.models.theirs"]
    assert found == ["mylib.helper", *own, "pipeline_blocks"]
    code = dict.fromkeys(found, "0" * 16) | {"pipeline.training.fit": "0" * 16, "pipeline.data.catalog": "0" * 16}
    assert identity.networks_changed(json.dumps({"code": code})) == found


def test_the_packages_around_a_module_are_run_too_and_count(package: Path) -> None:
    (package / "helpers" / "inner").mkdir(parents=True)
    (package / "helpers" / "__init__.py").write_text("from helpers.inner import blocks\nblocks.WIDTH = 16\n", "utf-8")
    (package / "helpers" / "inner" / "__init__.py").write_text('"""Nothing but words."""\n', encoding="utf-8")
    (package / "helpers" / "inner" / "blocks.py").write_text("WIDTH = 8\n", encoding="utf-8")
    mine = package / "pipeline" / "models" / "mine.py"
    for line in ("import helpers.inner.blocks\n", "from helpers.inner import blocks\n"):
        mine.write_text(line, encoding="utf-8")
        found = source_code.imported_modules(["pipeline.models.mine"], ["pipeline.models"])
        assert {"helpers", "helpers.inner.blocks"} <= set(found)


def test_a_module_that_is_no_python_is_named_with_its_line(package: Path) -> None:
    mine = package / "pipeline" / "models" / "mine.py"
    mine.write_text("class Mine:\n    def forward(self\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"mine\.py, line 2: '\(' was never closed"):
        source_code.imported_modules(["pipeline.models.mine"], ["pipeline.models"])
