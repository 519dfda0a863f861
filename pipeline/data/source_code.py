"""The meaning of source files, as a digest: what makes prepared data and finished trials stale."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from pipeline.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]


def parsed(file: Path) -> ast.Module:
    """The syntax tree of a module. Raises `UserError` for one that can't be read, with the line."""
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise UserError(f"{file}, line {error.lineno}: {error.msg}") from error


@cache
def module_digest(file: Path) -> str:
    """sha256 of a module's syntax tree without docstrings: comments and layout do not count."""
    tree = parsed(file)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not is_bare_string(statement)]
    return hashlib.sha256(repr(written_out(tree)).encode()).hexdigest()


def written_out(value: object) -> object:
    """A syntax tree as nested tuples, the same under every Python: what a node lacks is left out.

    From one version to the next `ast.dump` gains fields, and `ast.unparse` changes quotes inside f-strings.
    """
    if isinstance(value, list):
        return [written_out(one) for one in value]
    if not isinstance(value, ast.AST):
        return value
    fields = [(name, written_out(field)) for name, field in ast.iter_fields(value) if field is not None and field != []]
    return type(value).__name__, fields


def is_bare_string(statement: ast.stmt) -> bool:
    """Docstrings, and the strings that document fields: a statement that is nothing but a string."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def module_file(module: str) -> Path:
    """The file of a module of this package, or of one beside it, without importing it."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def code_digest(files: Iterable[Path]) -> str:
    """One digest of several modules."""
    return hashlib.sha256("".join(module_digest(file) for file in files).encode()).hexdigest()


def imported_modules(modules: Iterable[str], rooms: Iterable[str], leave_out: str = "") -> list[str]:
    """Modules and all that they import, directly or not, sorted.

    Of this package from the given rooms (`pipeline.data`, …) alone, and whatever lies beside the package. Of the module
    that is left out, what is imported from it by name is followed to where that comes from. Imports inside functions
    count: whatever a trial may run is found. Nothing is imported to find out.
    """
    rooms = tuple(rooms)
    origins = origins_in(leave_out) if leave_out else {}
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        name = origins.get(name, name)
        followed = name.startswith(rooms) or not is_ours(name)
        if name in found or name == leave_out or not followed or not module_file(name).exists():
            continue
        found.add(name)
        waiting += names_imported(name)
    return sorted(found)


def is_ours(module: str) -> bool:
    """Whether a module is of this package, and not beside it."""
    return module.partition(".")[0] == PACKAGE.name


def origins_in(package: str) -> dict[str, str]:
    """Full name of what can be imported from a package by name → the module that it comes from there."""
    names = {f"{package}.{name}": module for module, name in imports_of(package) if module != package}
    return {name: module for name, module in names.items() if not module_file(name).exists()}


def imports_of(module: str) -> list[tuple[str, str]]:
    """(module, name here) of all that a module imports by name."""
    nodes = [node for node in ast.walk(parsed(module_file(module))) if isinstance(node, ast.ImportFrom)]
    return [(imported_from(node, module), alias.asname or alias.name) for node in nodes for alias in node.names]


@cache
def names_imported(module: str) -> list[str]:
    """Names of modules that a module imports, of the packages around them, and of what it imports from them."""
    names: list[str] = []
    for node in ast.walk(parsed(module_file(module))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = imported_from(node, module)
            names += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
    return names + [package for name in names for package in packages_around(name)]


def packages_around(name: str) -> list[str]:
    """`a.b.c` → `a.b` and `a`, those that do anything: importing a module runs them first."""
    parts = name.split(".")
    packages = [".".join(parts[:end]) for end in range(1, len(parts))]
    return [package for package in packages if does_anything(module_file(package))]


def does_anything(file: Path) -> bool:
    """Whether a module is there and holds more than a docstring."""
    return file.exists() and any(not isinstance(node, ast.Expr) for node in parsed(file).body)


def imported_from(node: ast.ImportFrom, module: str) -> str:
    """The full name of what stands between `from` and `import` in a module, where it begins with dots as well."""
    if not node.level:
        return node.module or ""
    is_package = module_file(module).name == "__init__.py"
    parts = module.split(".")
    package = parts[: len(parts) - node.level + is_package]
    return ".".join([*package, *([node.module] if node.module else [])])
