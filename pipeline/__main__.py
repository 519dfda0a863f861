"""The command line: `python -m pipeline STAGE [options]`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.arguments import TABLES, explain, options_of, require_yaml, rewritten, value_of
from pipeline.config import PROJECT_ROOT, Config, Run
from pipeline.config.checks import BUDGETS, unwritable
from pipeline.console import complain, say, show_log
from pipeline.data import catalog
from pipeline.errors import FaultsFoundError, TrialsFailedError, UserError
from pipeline.interruption import exit_code, interrupted, notice_interrupts, what_happened
from pipeline.startup import collect_less, write_anyhow

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline."""

    title: str
    needs: tuple[catalog.Role, ...] = ()
    """The data it works on."""
    needs_every: bool = True
    """Whether it needs all of them, or makes do with what there is."""
    writes: Literal["home", "store", "nothing"] = "home"
    """Into the home folder; into the tracking store at most, which may be a server elsewhere; or nothing that lasts."""
    short: tuple[str, ...] = ()
    """Options of its own that may be given by their last name: it takes files as well, after its name."""


STAGES = {
    "prepare": Stage("read MNIST from CSV and CIFAR-10, once", catalog.ROLES),
    "classify": Stage("train and measure a digit classifier", ("digits",)),
    "sweep": Stage("train and measure a denoiser for each noise variance", ("colour",)),
    "study-gan": Stage("measure why a generator ascends log D(G(z))", ("digits",)),
    "study-batchnorm": Stage("measure whether batch normalization speeds up learning", ("digits",)),
    "report": Stage("write reports/output/ from the tracked runs", catalog.ROLES, needs_every=False),
    "all": Stage("prepare, classify, sweep, the studies and report, each unless done", catalog.ROLES),
    "compare": Stage("print the figures of classifiers and of sweeps side by side", writes="store"),
    "ui": Stage("compare runs in the MLflow UI", writes="store"),
    "denoise": Stage(
        "images with a trained model: IMAGE… --out FOLDER [--variance V] [--model NAME] [--clean IMAGE]",
        writes="store",
        short=("out", "variance", "model", "clean"),
    ),
    "digits": Stage(
        "name digits with a trained model: CSV|IMAGE… [--out CSV] [--model NAME]",
        writes="store",
        short=("out", "model"),
    ),
    "server": Stage("an MLflow server that several people or machines send runs to"),
    "doctor": Stage("what is installed and stored here, and what is wrong with it", writes="nothing"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage; returns the exit code.

    0 done, 1 a trial failed or the doctor found a fault, 2 usage or input, 130 or 143 interrupted.
    """
    collect_less()
    write_anyhow()
    show_log()
    notice_interrupts()
    try:
        stage, config, notice = configure(list(sys.argv[1:] if arguments is None else arguments))
        if needs_home(stage, config.run) and (fault := unwritable(config.run.home)):
            raise UserError(fault)
        if notice:
            say(notice)
        import_module(f"pipeline.stages.{stage.replace('-', '_')}").run(config)
        if notice:
            say(notice)
    except UserError as error:
        complain(f"error: {error}")
        return 2
    except (TrialsFailedError, FaultsFoundError) as error:
        complain(str(error))
        return 1
    except (KeyboardInterrupt, Exception) as error:
        if interrupted(error):
            complain(what_happened())
            return exit_code()
        from pipeline.tracking.trouble import trouble

        reason = trouble(error)
        if reason is None:
            raise
        complain(f"failed: {reason}; then the same command goes on")
        return 1
    return 0


def needs_home(stage: str, run: Run) -> bool:
    """Whether a stage can't do without writing into the home folder, where the tracking store is if it is no server."""
    kept_here = not (run.tracking_uri or "").startswith("http")
    return STAGES[stage].writes == "home" or (STAGES[stage].writes == "store" and kept_here)


def configure(arguments: list[str]) -> tuple[str, Config, str | None]:
    """The stage and its configuration, and what to say about the data if nobody chose it.

    Without `--config` the settings are those of the experiment file named after the data: `experiments/full.yaml` or
    `experiments/demo.yaml`.
    """
    parser = make_parser()
    short = {name: stage.short for name, stage in STAGES.items() if stage.short}
    arguments = rewritten(arguments, short, lists())
    # What --print_config prints is known only when the experiment file is.
    settings = [argument for argument in arguments if not argument.startswith("--print_config")]
    given = parse(parser, settings)
    stage, config = given.stage, config_of(given)
    needs = STAGES[stage].needs
    if settings != arguments and (not needs or given.config is not None):
        parse(parser, arguments)
    if not needs:
        return stage, config, None

    choice = catalog.choose(config.data, config.run, needs, STAGES[stage].needs_every)
    if given.config is None:
        defaults = PROJECT_ROOT / "experiments" / f"{choice}.yaml"
        given = parse(parser, [f"--config={defaults}", *arguments])
        config = config_of(given)
    notice = None
    if config.data.choice == "auto" and choice == "demo":
        notice = (
            "This runs on the demo's data: MNIST and CIFAR-10 are not here and can't be downloaded; "
            f"{catalog.FULL_DATA_HINT}"
        )
    return stage, replace(config, data=replace(config.data, choice=choice)), notice


def make_parser() -> ArgumentParser:
    """A parser of all configuration, by dotted names."""
    from argparse import RawDescriptionHelpFormatter

    from jsonargparse import ArgumentParser, DefaultHelpFormatter, set_parsing_settings

    class Formatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
        """Keeps the lines of the description as they are."""

    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    stages = "\n".join(f"  {name:16} {stage.title}" for name, stage in STAGES.items())
    parser = ArgumentParser(
        prog="python -m pipeline",
        description=f"Four homework questions as a pipeline. Stages:\n\n{stages}",
        formatter_class=Formatter,
        usage="%(prog)s STAGE [FILE …] [--config FILE] [--section.name VALUE …]",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("stage", choices=list(STAGES), help="what to do")
    parser.add_argument("--config", action="config", help="experiment file (YAML); default: experiments/<data>.yaml")
    parser.add_class_arguments(Config)
    return parser


def lists() -> list[str]:
    """The options that take a list, but for those of files: their names may hold spaces."""
    return [
        f"--{section}.{name}"
        for section, settings in vars(Config()).items()
        for name, value in vars(settings).items()
        if isinstance(value, tuple) and name != "inputs"
    ]


def parse(parser: ArgumentParser, arguments: list[str]) -> Namespace:
    """Parse, or raise `UserError` in one line with the nearest option there is."""
    for option, value in options_of(arguments):
        if option == "--config" and value:
            require_yaml(Path(value), list(parser.get_defaults().keys()))
    with in_plain_words(parser):
        given: Namespace = parser.instantiate(parser.parse_args(with_whole_tables(parser, arguments)))
    return given


@contextmanager
def in_plain_words(parser: ArgumentParser) -> Iterator[None]:
    """Raises `UserError` for what the parser refuses."""
    from jsonargparse import ArgumentError

    try:
        yield
    except ArgumentError as error:
        short = [option for stage in STAGES.values() for option in stage.short]
        raise UserError(explain(str(error), [*parser.get_defaults().keys(), *short])) from error


def with_whole_tables(parser: ArgumentParser, arguments: list[str]) -> list[str]:
    """Let the command line win over what the file says of single networks.

    A network's settings that are given one by one are written as a whole, with those of the file: the parser would keep
    only the last. What is given for the training of all networks takes the place of the file's for one.
    """
    rest: list[str] = []
    given: dict[str, dict[str, Any]] = {}
    common: set[str] = set()
    kept: set[str] = set()
    for option, value in options_of(arguments):
        table, _, name = option.rpartition(".")
        if table.removeprefix("--").startswith(TABLES):
            given.setdefault(table, {})[name] = value_of(value or "")
            continue
        rest.append(option if value is None else f"{option}={value}")
        if table == "--sweep.training":
            common |= set(BUDGETS) if name in BUDGETS else {name}
        elif table == "--sweep.training_of":
            kept.add(name)  # given as a whole
    if not given and not common:
        return arguments
    sweep = parser.parse_args([one for one in rest if not one.startswith("--print_config")]).sweep
    for network, training in (sweep.training_of or {}).items():
        if network not in kept and common & training.keys():
            left = {name: value for name, value in training.items() if name not in common}
            given[f"--sweep.training_of.{network}"] = left | given.get(f"--sweep.training_of.{network}", {})
            sweep.training_of[network] = left
    for table, changes in given.items():
        _, kind, network = table.split(".", 2)
        earlier = (sweep[kind] or {}).get(network, {})
        if kind == "training_of" and changes.keys() & set(BUDGETS):
            earlier = {name: value for name, value in earlier.items() if name not in BUDGETS}
        whole = {**earlier, **changes}
        rest.append(f"{table}={json.dumps(whole)}")
    return rest


def config_of(given: Namespace) -> Config:
    """The configuration among parsed arguments. The tracking store may be named by MLflow's own variable."""
    config = Config(**{field.name: given[field.name] for field in fields(Config)})
    tracking_uri = config.run.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    return replace(config, run=replace(config.run, tracking_uri=tracking_uri))


if __name__ == "__main__":
    sys.exit(main())
