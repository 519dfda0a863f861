"""What counts as a change of code."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from pipeline.data.source_code import imported_from, imported_modules, module_digest
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
    monkeypatch.setattr(identity, "module_file", lambda name: table if name == identity.NETWORKS else real(name))
    assert identity.network_module(identity.DENOISING, "mine") == "pipeline.models.mine"


def test_networks_are_known_to_have_changed() -> None:
    name = "pipeline.models.residual"
    now = module_digest(identity.module_file(name))[:16]
    code = {name: now, "pipeline.models.gone": "0" * 16, "pipeline.training.fit": "0" * 16}
    assert identity.networks_changed(json.dumps({"code": code})) == ["pipeline.models.gone"]
