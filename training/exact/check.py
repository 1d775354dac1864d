"""Check of a gradient: every trained number's exact derivative beside a central difference of the loss."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from brian2.units.fundamentalunits import DimensionMismatchError

from ...models.hybrid.adjoint import loss_value
from ..errors import TrainingError
from .gradient import HybridProblem

_STEP = 1e-4  # of the value; divided by four up to this often, if a spike appears or vanishes within it
_SHORTER = 5
_SMALL = 1e-6  # derivatives below this part of the largest are compared with that part instead of themselves


@dataclass(frozen=True)
class CheckedEntry:
    """One number: its exact derivative and the central difference, in SI units.

    Attributes
    ----------
    name : str
        Object, variable and, of arrays, index.
    adjoint : float
    difference : float or None
        ``None`` where a spike appears or vanishes within every step that was tried.
    error : float or None
        Relative.
    """

    name: str
    adjoint: float
    difference: float | None
    error: float | None


@dataclass(frozen=True)
class GradientCheck:
    """Outcome of `check_gradient`.

    Attributes
    ----------
    entries : tuple of CheckedEntry
    loss : float
    spikes : int
        Input spikes included.
    least_slope : float
        Smallest slope of a threshold function at a spike, per second; ``inf`` without any.
    nearest_grazing : float
        Largest maximum of a threshold function below zero, between two events; ``-inf`` without any.
    """

    entries: tuple[CheckedEntry, ...]
    loss: float
    spikes: int
    least_slope: float
    nearest_grazing: float

    def passes(self, tolerance: float) -> bool:
        """Whether every entry that could be compared agrees, and at least one could."""
        errors = [e.error for e in self.entries if e.error is not None]
        return bool(errors) and max(errors) <= tolerance


def check_gradient(problem: HybridProblem, limit: int = 4) -> GradientCheck:
    """Compare the exact gradient with central differences of fourth order.

    Parameters
    ----------
    problem : HybridProblem
    limit : int
        Entries of an array that are checked: those with the largest effect.

    Returns
    -------
    GradientCheck
    """
    tape = problem.simulate()
    loss, gradients = problem.loss_and_gradients()
    chosen = []
    for key, gradient in zip(problem.keys, gradients, strict=True):
        sizes = _sizes(problem.network.values[key], gradient, loss)
        effect = np.abs(gradient * sizes)
        for k in sorted(np.argsort(-effect, kind="stable")[:limit]):
            chosen.append((key, int(k), float(gradient[k]), float(sizes[k])))
    floor = _SMALL * max((abs(g) * size for _, _, g, size in chosen), default=0.0)
    entries = [_entry(problem, tape.pattern(), *item, floor) for item in chosen]
    return GradientCheck(tuple(entries), loss, len(tape.spikes), float(tape.least_slope), float(tape.nearest_grazing))


def _sizes(values, gradient, loss) -> np.ndarray:
    """What a value is measured by: itself, else the largest of its array, else what moves the loss by its own size."""
    largest = np.abs(values).max(initial=0.0)
    sizes = np.where(values == 0, largest, np.abs(values))
    if largest == 0:
        steepest = np.abs(gradient).max(initial=0.0)
        sizes = np.full(values.shape, abs(loss) / steepest if steepest > 0 and loss != 0 else 1.0)
    return sizes


def _entry(problem, pattern, key, k, gradient, size, floor) -> CheckedEntry:
    base = problem.network.values[key]
    name = f"{key[0]}.{key[1]}" + (f"[{k}]" if base.size > 1 else "")
    for shorter in range(_SHORTER):
        step = _STEP * size / 4**shorter
        losses = []
        for factor in (-2, -1, 1, 2):
            values = base.copy()
            values[k] += factor * step
            tape = problem.simulate({key: values})
            if tape.pattern() != pattern:
                break
            losses.append(loss_value(tape))
        if len(losses) == 4:
            difference = (losses[0] - 8 * losses[1] + 8 * losses[2] - losses[3]) / (12 * step)
            scale = max(abs(difference), abs(gradient), floor / size)
            return CheckedEntry(name, gradient, difference, abs(gradient - difference) / scale if scale else 0.0)
    return CheckedEntry(name, gradient, None, None)


def load_problem(place: str) -> HybridProblem:
    """Problem that a function in a Python file describes.

    Parameters
    ----------
    place : str
        ``MODEL.py:OBJECT``; OBJECT is a function without arguments that returns a mapping with the arguments of
        `value_and_grad`: ``network``, ``loss``, ``wrt``, ``duration`` and, optionally, ``namespace`` (by default
        the file's own names).

    Raises
    ------
    TrainingError
        If the file or the function is missing, or what it returns is incomplete.
    """
    path, _, name = place.rpartition(":")
    if not path or not name:
        raise TrainingError(f"'{place}' does not name a model; write MODEL.py:OBJECT.")
    if not Path(path).is_file():
        raise TrainingError(f"'{path}' is not a file.")
    specification = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        raise TrainingError(f"'{path}' has no function '{name}'.")
    described = function()
    wanted, optional = ("network", "loss", "wrt", "duration"), ("namespace", "inputs", "outputs")
    missing = [k for k in wanted if not isinstance(described, dict) or k not in described]
    if missing:
        raise TrainingError(f"'{place}' must return a mapping with {', '.join(wanted)}; '{missing[0]}' is missing.")
    unknown = sorted(described.keys() - {*wanted, *optional})
    if unknown:
        raise TrainingError(f"'{place}' returns '{unknown[0]}', which means nothing here.")
    namespace = described.get("namespace", vars(module))
    try:
        return HybridProblem(*(described[k] for k in wanted), namespace=namespace)
    except DimensionMismatchError as error:
        raise TrainingError(f"'{place}': {error}") from None
