"""What users write on the command line, in the words of the parser; and what the parser says, in those of users."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.checks import BUDGETS, hint
from pipeline.errors import UserError

TABLES = ("sweep.settings.", "sweep.training_of.")
"""What these begin is a table of settings: those of one network."""
PATHS = {
    "CONFIG": "--config",
    "SOURCE": "--data.source",
    "IMAGES": "--data.images.folder",
    "OUT": "--out",
    "CLEAN": "--clean",
}
"""Variables of make that are paths: an empty one would be the folder that the command is typed in."""
KINDS = {
    "NoneType": "null",
    "bool": "true/false value",
    "float": "number",
    "int": "whole number",
    "tuple": "list",
    "dict": "table {name: value}",
}
PERSIAN = str.maketrans("٫،", ".,")
"""The decimal and the list separator of a Persian keyboard, whose digits Python knows."""
PLAIN = r"[\w.+-]+"
"""Words that mean themselves in YAML."""
WITHOUT_VALUE = ("-h", "--help", "--print_config")


def rewritten(arguments: Sequence[str], short: Mapping[str, Sequence[str]], lists: Collection[str]) -> list[str]:
    """Arguments as the parser reads them.

    `short`: options by their last name, of the stages that have such; `lists`: options that take a list, for which
    words separated by spaces or commas will do, as make passes them.
    """
    for name, option in PATHS.items():
        if f"{option}=" in arguments:
            raise UserError(f"{name} is empty; give a path, or leave it out")
    words = ["--run.dry_run=true" if argument == "--dry-run" else argument for argument in arguments]
    words = [word.translate(PERSIAN) if word.startswith("--variance=") else word for word in words]
    return one_budget(config_first(with_lists(spelled_out(words, short), lists)))


def spelled_out(arguments: list[str], short: Mapping[str, Sequence[str]]) -> list[str]:
    """Write files and short options in dotted names, for the stages that `short` names with these options.

    `denoise a.png --out b` → `denoise --denoise.inputs ["a.png"] --denoise.out b`.
    """
    words: list[str] = []
    options: list[str] = []
    value_follows = False
    for argument in arguments:
        is_option = argument.startswith("--") or argument == "-h"
        (options if is_option or value_follows else words).append(argument)
        value_follows = is_option and "=" not in argument and argument not in WITHOUT_VALUE
    if not words or words[0] not in short:
        return arguments
    section = words.pop(0)
    if len(words) > 1 and not is_there(words[0]) and is_there(" ".join(words)):
        words = [" ".join(words)]  # a name with spaces, as make hands it on
    for place, option in enumerate(options):
        name, equals, value = option.partition("=")
        if name.startswith("--") and name[2:] in short[section]:
            options[place] = f"--{section}.{name[2:]}{equals}{value}"
    return [section, *([f"--{section}.inputs={json.dumps(words, ensure_ascii=False)}"] if words else []), *options]


def is_there(name: str) -> bool:
    """Whether there is a file of this name, which may be too long for one."""
    try:
        return Path(name).exists()
    except OSError:
        return False


def config_first(arguments: list[str]) -> list[str]:
    """Move `--config` to the front: the parser applies it where it stands, and the command line overrides the file."""
    front: list[str] = []
    rest: list[str] = []
    after = ""
    for argument in arguments:
        (front if argument.startswith("--config=") or "--config" in (argument, after) else rest).append(argument)
        after = argument
    return [*front, *rest]


def one_budget(arguments: list[str]) -> list[str]:
    """Let the last budget of training on the command line take the place of a file's, in whatever that is counted."""
    for section in ("classify", "sweep"):
        names = [f"--{section}.training.{budget}" for budget in BUDGETS]
        given = [option for argument in arguments if (option := argument.partition("=")[0]) in names]
        if given:
            arguments = [*arguments, *(f"{name}=null" for name in names[1:] if name != given[-1])]
    return arguments


def with_lists(arguments: list[str], lists: Collection[str]) -> list[str]:
    """Write the values of list options as the parser reads lists: "0.01 0.05" → "[0.01, 0.05]"."""
    result = []
    after: str | None = None
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if equals and option in lists:
            argument = f"{option}={as_list(value)}"
        elif after in lists:
            argument = as_list(argument)
        after = argument
        result.append(argument)
    return result


def as_list(words: str) -> str:
    """Words as a YAML list, unless they are one. "0.001:0.2:8" stands for eight numbers, each a like factor apart."""
    if words.strip().startswith("["):
        return words
    words = words.translate(PERSIAN)
    single = [number for word in words.replace(",", " ").split() for number in spaced(word.strip("'\""))]
    return f"[{', '.join(one if re.fullmatch(PLAIN, one) else json.dumps(one) for one in single)}]"


def spaced(word: str) -> list[str]:
    """The numbers that "least:greatest:count" stands for, to four digits; any other word as it is."""
    if word.count(":") != 2 or "/" in word:
        return [word]
    try:
        least, greatest, count = (kind(part) for kind, part in zip((float, float, int), word.split(":"), strict=True))
        if not (0 < least < greatest < math.inf and count >= 2):
            raise ValueError
    except ValueError:
        raise UserError(f"{word}: give least:greatest:count, such as 0.001:0.2:8, with 0 < least < greatest") from None
    return [f"{least * (greatest / least) ** (k / (count - 1)):.4g}" for k in range(count)]


def options_of(arguments: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Each option with its value, and each word that belongs to none with None."""
    place = 0
    while place < len(arguments):
        option, equals, value = arguments[place].partition("=")
        place += 1
        takes_value = option.startswith("--") and option not in WITHOUT_VALUE and not equals
        if takes_value and place < len(arguments) and not arguments[place].startswith("--"):
            yield option, arguments[place]
            place += 1
        else:
            yield option, value if equals else None


def value_of(text: str) -> Any:
    """What a word on the command line means: JSON, or YAML, which takes 1e-3 for a word."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{text}: no value; write a list without spaces, such as [16,32,64]") from error


def require_yaml(file: Path, known: Collection[str]) -> None:
    """Refuse an experiment file that can't be read as settings, and say where. What they mean, the parser checks.

    `known`: all settings by their dotted names.
    """
    if not file.is_file():
        return  # which the parser says well
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not a text file: {error}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{file}, line {line}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{file}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{file}: no settings in it; expected sections such as sweep: {{variances: [0.05]}}")
    require_tables(file, content, known)


def require_tables(file: Path, content: Mapping[str, Any], known: Collection[str], above: str = "") -> None:
    """Refuse one value where several settings belong: the parser would pass over it, or not say where it is."""
    for key, value in content.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            require_tables(file, value, known, f"{name}.")
        elif above in TABLES or any(setting.startswith(f"{name}.") for setting in known):
            found = "nothing" if value is None else value
            raise UserError(f"{file}: {name}: expected a table {{name: value}}, found {found}")


def explain(message: str, known: Iterable[str]) -> str:
    """A parser's message as one line in plain words, with the nearest name for one it does not know."""
    line = " ".join(message.split())
    line = re.sub(r'^Parser key "([^"]+)":', r"\1:", line)
    for kind, words in KINDS.items():
        line = line.replace(f"<class '{kind}'>", words)
    line = re.sub(
        r"Does not validate against any of the Union subtypes Subtypes: \[(.+)\] Errors: .* Given value: (.*)",
        lambda match: f"expected {match[1].replace(', ', ' or ')}, found {match[2]}",
        line,
    )
    line = re.sub(r"Unable to load config '(.*)' - Parser key .*", r"expected a table {name: value}, found \1", line)
    line = re.sub(r"typing\.Literal\[('\w+')\]", r"\1", line)
    line = re.sub(r"a typing\.Literal\[([^]]+)\]", r"one of \1", line)
    line = re.sub(
        r"Expected (.+)\. Got value: ?(.*)", lambda match: f"expected {match[1]}, found {match[2] or 'nothing'}", line
    )

    unknown = (
        re.search(r"unrecognized arguments: --([\w.]+)", line)
        or re.search(r"Option '([\w.]+)' is not accepted", line)
        or re.search(r"Group '([\w.]+)' does not accept option '([\w.]+)'", line)
    )
    if unknown:
        name = ".".join(unknown.groups())
        line = f"there is no option {name}; {hint(name, list(known), 'see --help')}"
    return line
