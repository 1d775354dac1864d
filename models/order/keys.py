"""The base of all schedulers: the queue as it is seen from Python, and keys as text."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import sympy
from brian2.parsing.sympytools import str_to_sympy

from ..errors import NetworkError

KEY_VARIABLES = ("P", "arrival", "layer", "multiplicity", "i")
UNIFORM = sympy.Symbol("uniform_number", real=True)


@dataclass(frozen=True)
class QueueView:
    """What waits at one forward step (of one core), ascending by source.

    Attributes
    ----------
    sources : (n,) array of int
        Input units count from 0, neuron j is ``n_inputs + j``.
    P, arrival, layer, multiplicity : (n,) arrays
        As in a key.
    rand : (n,) array of float
        Fresh uniform numbers, the ones a compiled key would see.
    sample, timestep, step : int
        Where the run stands: what is chosen is received in the next forward step; -1 is the choice among queued input
        before the first.
    """

    sources: np.ndarray
    P: np.ndarray
    arrival: np.ndarray
    layer: np.ndarray
    multiplicity: np.ndarray
    rand: np.ndarray
    sample: int
    timestep: int
    step: int


@functools.cache
def parse_key(text: str) -> sympy.Expr:
    """Return the key as an expression in which ``rand()`` is the symbol `UNIFORM`.

    Raises
    ------
    NetworkError
        If the text is no expression or calls something else than ``rand`` and elementary functions.
    """
    try:
        expression = sympy.sympify(str_to_sympy(text))
    except (SyntaxError, ValueError, TypeError, NotImplementedError) as error:
        raise NetworkError(f"The key '{text}' cannot be read: {error}") from None
    calls = expression.atoms(sympy.core.function.AppliedUndef)
    expression = expression.xreplace({call: UNIFORM for call in calls if call.func.__name__ == "rand"})
    unknown = sorted({c.func.__name__ for c in expression.atoms(sympy.core.function.AppliedUndef)})
    if unknown:
        raise NetworkError(f"The key '{text}' calls {', '.join(unknown)}; only rand() and exp, log, ... are known.")
    return expression


class Scheduler:
    """Base of all schedulers; derive from it, or pass a key expression to `KeyScheduler`.

    Attributes
    ----------
    key : str or None
        Compiled into the engine; ``None`` leaves the choice to `select`.
    ties : bool
        Take all spikes that share the smallest key, whatever the forward group size.
    cores : int
        Number of queues that are served side by side, each with its own forward group.
    name : str
    """

    key: ClassVar[str | None] = None
    ties: ClassVar[bool] = False
    cores: ClassVar[int] = 1

    @property
    def name(self) -> str:
        return type(self).__name__

    def numbers(self, counter: int = 0) -> dict[str, float]:
        """Numbers that the key refers to by name, at training iteration `counter`."""
        return {}

    def core_of(self, network) -> np.ndarray | None:
        """Core that serves each source, shape (n_inputs + n_neurons,); ``None`` with one core."""
        return None

    def select(self, queue: QueueView, forward_group: int) -> np.ndarray:
        """Return the sources to deliver, at most `forward_group` of ``queue.sources``."""
        if self.key is None:
            raise NetworkError(f"{self.name} has neither a key nor a method select(queue, forward_group).")
        expression = parse_key(self.key)
        values = {name: getattr(queue, name) for name in KEY_VARIABLES if name != "i"}
        values |= {"i": queue.sources, UNIFORM.name: queue.rand} | self.numbers()
        names = sorted(s.name for s in expression.free_symbols)
        _check_names(self, expression, set(values))
        key = sympy.lambdify([sympy.Symbol(n, real=True) for n in names], expression, "numpy")
        keys = np.broadcast_to(key(*(values[n] for n in names)), queue.sources.shape)
        order = np.lexsort((queue.sources, keys))
        if self.ties:
            return queue.sources[keys == keys.min()]
        return queue.sources[order[:forward_group]]


def checked_scheduler(scheduler) -> Scheduler:
    """Return a scheduler; refuse what is none."""
    if not isinstance(scheduler, Scheduler):
        raise NetworkError(f"scheduler = {scheduler!r} is no scheduler; pass an object such as RandomScheduler().")
    return scheduler


def _check_names(scheduler: Scheduler, expression: sympy.Expr, known: set[str]) -> None:
    unknown = sorted(s.name for s in expression.free_symbols if s.name not in known)
    if unknown:
        raise NetworkError(
            f"The key '{scheduler.key}' of {scheduler.name} uses {', '.join(unknown)}; known are "
            f"{', '.join(KEY_VARIABLES)}, rand() and the numbers given by name."
        )


def checked_key(scheduler: Scheduler) -> sympy.Expr:
    """Return the parsed key of a scheduler whose names are all known."""
    expression = parse_key(scheduler.key)
    _check_names(scheduler, expression, {*KEY_VARIABLES, UNIFORM.name, *scheduler.numbers()})
    return expression


class KeyScheduler(Scheduler):
    """Scheduler written as one expression: the spikes with the smallest keys go first.

    Parameters
    ----------
    key : str
        Such as ``'-(P + noise*rand())'``.
    **numbers : float
        Values of further names in the key.
    """

    def __init__(self, key: str, **numbers: float):
        self.key = str(key)
        self._numbers = {name: float(value) for name, value in numbers.items()}
        for name, value in self._numbers.items():
            if not np.isfinite(value):
                raise NetworkError(f"{name} = {value} in the key '{key}' must be finite: keys are compared.")
        checked_key(self)

    def numbers(self, counter=0):
        return self._numbers
