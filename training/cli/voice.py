"""What every command takes: ``--quiet``, ``--verbose`` and ``--version``; and who speaks on standard error."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import inspect
import logging
from typing import Annotated

import typer
from rich.console import Console

from ..watching.progress import working

_spoken = {"quiet": False, "verbose": False}


def show_version(asked: bool) -> None:
    """Answer ``--version``."""
    if asked:
        typer.echo(f"brian2grad {importlib.metadata.version('brian2grad')}")
        raise typer.Exit


def _option(name, help, **more):
    return Annotated[bool, typer.Option(f"--{name}", help=help, rich_help_panel="Every command", **more)]


_OPTIONS = {
    "quiet": _option("quiet", "Say nothing but results, warnings and errors.", show_default=False),
    "verbose": _option("verbose", "Say also what Brian 2 says, and where an error came from.", show_default=False),
    "version": _option("version", "Show it.", callback=show_version, is_eager=True, show_default=False),
}


def spoken(command):
    """Give a command the options that all of them have."""

    @functools.wraps(command)
    def speaking(*arguments, quiet=False, verbose=False, version=False, **options):
        _spoken.update(quiet=quiet, verbose=verbose)
        if verbose:
            logging.getLogger("brian2").setLevel(logging.INFO)  # what Brian 2 chose, and what it compiles
        return command(*arguments, **options)

    kind = inspect.Parameter.KEYWORD_ONLY
    more = [inspect.Parameter(name, kind, default=False, annotation=option) for name, option in _OPTIONS.items()]
    signature = inspect.signature(command, eval_str=True)  # typer evaluates no text of a signature given to it
    speaking.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *more])
    speaking.__annotations__ = command.__annotations__ | _OPTIONS
    return speaking


def silence() -> None:
    """Forget what an earlier call in this process was told."""
    _spoken.update(quiet=False, verbose=False)


def is_quiet() -> bool:
    """Whether ``--quiet`` was given."""
    return _spoken["quiet"]


def is_verbose() -> bool:
    """Whether ``--verbose`` was given."""
    return _spoken["verbose"]


def console(**options) -> Console:
    """Standard error for what is not a result."""
    return Console(stderr=True, quiet=is_quiet(), highlight=False, soft_wrap=True, **options)


def doing(what: str, quiet: bool = False) -> contextlib.AbstractContextManager:
    """Say after a second what is being done, and every few seconds that it still is."""
    return working(what, quiet=quiet or is_quiet())
