"""A user's own Python file: what it defines, what its functions return, and in which line it fails."""

from __future__ import annotations

import contextlib
import importlib.util
import traceback
from pathlib import Path

from ...equations import ModelError
from ...models.errors import EngineError, NetworkError
from ..errors import TrainingError


def defined(path: str, name: str):
    """Run a Python file.

    Returns
    -------
    module
    object
        What the file calls `name`, ``None`` if nothing.

    Raises
    ------
    TrainingError
        If there is no such file, or it fails: in which line, and how.
    """
    if not Path(path).is_file():
        raise TrainingError(f"'{path}' is not a file.")
    specification = importlib.util.spec_from_file_location(Path(path).stem, path)
    if specification is None:
        raise TrainingError(f"'{path}' is no Python file; its name ends in .py.")
    module = importlib.util.module_from_spec(specification)
    with _explained(path):
        specification.loader.exec_module(module)
    return module, getattr(module, name, None)


def called(path: str, name: str, function):
    """What a function of such a file returns, called without arguments.

    Raises
    ------
    TrainingError
        If it is no function, or fails: in which line, and how.
    """
    if not callable(function):
        raise TrainingError(f"'{path}' has no function '{name}'.")
    with _explained(path):
        return function()


@contextlib.contextmanager
def taken_from(place: str):
    """Name the user's file in what its objects are refused for, whoever refuses them.

    Raises
    ------
    TrainingError
    """
    try:
        yield
    except Exception as error:  # Brian 2's refusals have many types
        text, ours = " ".join(str(error).split()), (ModelError, NetworkError, EngineError, TrainingError)
        if not isinstance(error, ours):
            text = f"{type(error).__name__}: {text:.300}; mend what it returns."
        raise TrainingError(f"{place}: {text}") from error


@contextlib.contextmanager
def _explained(path: str):
    try:
        yield
    except TrainingError:
        raise
    except Exception as error:  # the user's own code may raise anything
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == Path(path).resolve()]
        line = lines[-1] if lines else getattr(error, "lineno", None)
        where = f"{path}, line {line}" if line else path
        text = " ".join(str(getattr(error, "msg", error)).split())
        raise TrainingError(f"{where}: {type(error).__name__}: {text:.300}; mend the file.") from error
