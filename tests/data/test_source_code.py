"""What counts as a change of code."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.source_code import imported_modules, module_digest

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
