"""The command line: ``brian2grad`` and ``python -m brian2grad.training``."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from ...equations import ModelError
from ...models.errors import EngineError, NetworkError
from ...models.events import EventsLeftOut
from ...models.service.workers import SamplesFailed
from ..data import DataError
from ..errors import RunError, TrainingError
from ..watching.diagnosis import NothingLearned
from .check import check
from .evaluate import evaluate, simulate
from .export import export
from .fit import fit
from .info import figures, info
from .report import report
from .sweep import sweep
from .train import app as train
from .voice import is_verbose, show_version, silence, spoken

USER_ERRORS = (ModelError, NetworkError, EngineError, DataError, RunError, TrainingError)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Gradient training for spiking networks written in Brian 2.",
)
app.add_typer(train, name="train", help="Train a network: gamma (SpikingGamma) or async (asynchronous).")
for command in (fit, sweep, evaluate, simulate, report, export, check, figures, info):
    app.command()(spoken(command))


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show it.")] = False,
) -> None: ...


def main(arguments: list[str] | None = None, *, ready: Callable[[], None] = lambda: None) -> None:
    """Run the command line; an error of the user's is one line and exit code 2, Ctrl-C one line and 130.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the process.
    ready : callable
        Called as soon as interrupts are handled here.
    """
    # Brian 2 hooks uncaught exceptions to ask for bug reports, and logs choices it made; neither is for users here.
    logging.getLogger("brian2").setLevel(logging.ERROR)
    warnings.showwarning = _shown
    silence()
    try:
        ready()
        status = app(args=arguments, standalone_mode=False)
        if status == 130:  # what typer makes of an interrupt
            raise KeyboardInterrupt
        sys.exit(status if isinstance(status, int) else 0)
    except USER_ERRORS as error:
        _fail(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted; finished epochs are kept, go on with --resume RUN", 130)
    except typer.Exit as exit_:
        sys.exit(exit_.exit_code)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # a command alone: its help is printed, nothing is wrong
            sys.exit(0)
        if hasattr(error, "format_message"):  # wrong options: click's own errors
            _fail(_usage(error), 2)
        if isinstance(error, OSError) and error.filename and error.strerror:  # a path of the user's
            _fail(f"{error.filename}: {error.strerror}", 2)
        if isinstance(error, MemoryError):
            _fail("out of memory; use --limit or a smaller --batch-size", 2)
        raise


def _shown(message, category, *where, default=warnings.showwarning) -> None:
    """Show what was left out of the data, has failed, or is not learned, in one line; other warnings as ever."""
    if issubclass(category, EventsLeftOut | SamplesFailed | NothingLearned):
        typer.echo(f"note: {message}", err=True)
    else:
        default(message, category, *where)


def _usage(error) -> str:
    """Text of an error of click's: an unknown choice and an option of the other model in our words."""
    message, name = error.format_message(), getattr(error, "option_name", None)
    choice = re.search(r"'([^']*)' is not one of (.*?)\.?$", message)
    if choice:
        return f"{error.param.name} '{choice[1]}' is unknown; use one of {choice[2].replace(chr(39), '')}."
    siblings = getattr(error.ctx.parent.command, "commands", {}) if name and error.ctx and error.ctx.parent else {}
    for other, command in siblings.items():
        if name in [text for option in command.params for text in option.opts]:
            return f"{name} belongs to {other} networks; leave it out for {error.ctx.info_name}."
    return message


def _fail(message: str, status: int) -> None:
    if is_verbose():
        Console(stderr=True).print_exception()
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error:[/] {_escaped(message)}")
    sys.exit(status)


def _escaped(message: str) -> str:
    return message.replace("[", "\\[")
