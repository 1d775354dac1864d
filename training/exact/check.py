"""Check of a gradient: every trained number's exact derivative beside a central difference of the loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...models.hybrid.network import DELAY
from ..configuration.own_files import taken_from
from .gradient import HybridProblem
from .origin import NEEDED, OPTIONAL, described

_STEP = 1e-4  # of the value; divided by four up to this often, if a spike appears or vanishes within it
_SHORTER = 5
# Steps and weights of differences of order four.
_CENTRAL = ((-2, -1, 1, 2), (1, -8, 8, -1))
_ONE_SIDED = ((0, 1, 2, 3, 4), (-25, 48, -36, 16, -3))
_SMALL = 1e-6  # derivatives below this part of the largest are compared with that part instead of themselves
_MOST = 100.0  # by which the direction of an array with little effect is stretched
_ROUNDING = 1e-13  # relative error of a loss of the oracle


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
        sizes = _sizes(tape, key, gradient, loss)
        effect = np.abs(gradient * sizes)
        for k in sorted(np.argsort(-effect, kind="stable")[:limit]):
            chosen.append((key, int(k), float(gradient[k]), float(sizes[k])))
    floor = _SMALL * max((abs(g) * size for _, _, g, size in chosen), default=0.0)
    entries = [_entry(problem, tape.pattern(), *item, floor) for item in chosen]
    return GradientCheck(tuple(entries), loss, len(tape.spikes), float(tape.least_slope), float(tape.nearest_grazing))


def _sizes(tape, key, gradient, loss) -> np.ndarray:
    """What a value is measured by: itself, else the largest of its array, else what moves the loss by its own size.

    Of a state that starts at zero its size at the end of the run. Zero where nothing says.
    """
    values = tape.values[key]
    largest = np.abs(values).max(initial=0.0)
    states = tape.network.groups[key[0]].states if key[0] in tape.network.groups else ()
    if largest == 0 and key[1] in states:
        largest = np.abs(tape.final(key[0])[:, states.index(key[1])]).max()
    if largest == 0:
        steepest = np.abs(gradient).max(initial=0.0)
        largest = abs(loss) / steepest if steepest > 0 else 0.0
    return np.where(values == 0, largest, np.abs(values))


def _entry(problem, pattern, key, k, gradient, size, floor) -> CheckedEntry:
    base = problem.network.values[key]
    name = f"{key[0]}.{key[1]}" + (f"[{k}]" if base.size > 1 else "")
    for shorter in range(_SHORTER if size > 0 else 0):
        step = _STEP * size / 4**shorter
        lowest = key[1] in (DELAY, "refractory") and base[k] < 2 * step  # neither can be negative
        factors, weights = _ONE_SIDED if lowest else _CENTRAL
        losses = []
        for factor in factors:
            values = base.copy()
            values[k] += factor * step
            tape = problem.simulate({key: values})
            if tape.pattern() != pattern:
                break
            losses.append(problem.value_of(tape))
        if len(losses) == len(factors):
            difference = np.dot(weights, losses) / (12 * step)
            scale = max(abs(difference), abs(gradient), floor / size)
            blur = 1.5 * _ROUNDING * max(map(abs, losses)) / step  # what the losses' own rounding adds
            scale = max(scale, blur / _SMALL)
            return CheckedEntry(name, gradient, difference, abs(gradient - difference) / scale if scale else 0.0)
    return CheckedEntry(name, gradient, None, None)


def check_direction(problem: HybridProblem, seed: int = 0, step: float = 3e-5) -> float:
    """Error of one derivative along a random direction in which every trained array has about the same effect.

    Six runs, whatever is trained; `check_gradient` says which number is wrong.

    Parameters
    ----------
    problem : HybridProblem
    seed : int
    step : float
        Largest part of a value by which it is moved; divided by four up to five times if a spike appears or vanishes.

    Returns
    -------
    float
        Relative to the largest effect of an array; ``nan`` if a spike appears or vanishes within every step.
    """
    generator, start = np.random.default_rng(seed), problem.simulate()
    loss, gradients = problem.loss_and_gradients()
    base = {k: problem.network.values[k] for k in problem.keys}
    way, effects = {}, {}
    for key, gradient in zip(problem.keys, gradients, strict=True):
        way[key] = generator.uniform(-1, 1, gradient.size) * _sizes(start, key, gradient, loss)
        effects[key] = gradient @ way[key]
    largest = max(map(abs, effects.values()), default=0.0)
    if largest == 0:
        return 0.0
    factors = {k: min(largest / abs(effect), _MOST) if effect else 1.0 for k, effect in effects.items()}
    expected = sum(factors[k] * effect for k, effect in effects.items())
    for shorter in range(_SHORTER + 1):
        size, losses = step / max(factors.values()) / 4**shorter, []
        for distance in (-2, -1, 1, 2):
            tape = problem.simulate({k: base[k] + distance * size * factors[k] * way[k] for k in way})
            if tape.pattern() != start.pattern():
                break
            losses.append(problem.value_of(tape))
        if len(losses) == 4:
            return abs((losses[0] - 8 * losses[1] + 8 * losses[2] - losses[3]) / (12 * size) - expected) / largest
    return float("nan")


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
    wanted = ("network", "loss", "wrt", "duration")
    mapping = described(place, wanted, ("namespace", *(key for key in (*NEEDED, *OPTIONAL) if key not in wanted)))
    with taken_from(place):
        return HybridProblem(*(mapping[k] for k in wanted), namespace=mapping["namespace"])
