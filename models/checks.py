"""Checks of constructor arguments shared by the networks."""

from __future__ import annotations

import os
from numbers import Integral, Real

import numpy as np
from brian2 import second
from brian2.units.fundamentalunits import have_same_dimensions

from .errors import NetworkError

MOST_BUCKETS = 64  # of a network; its code grows with their square


class _Own:
    """The type of `OWN`."""

    def __repr__(self):
        return "OWN"

    def __reduce__(self):
        return "OWN"


OWN = _Own()  # forward group of a run: the network's own; None is taken, it means all that wait


def checked_number(name: str, value, least=None, below=None, whole: bool = False):
    """Return one number within bounds, or refuse it; a bool, a text, an array and NaN are none."""
    kind = Integral if whole else Real
    fine = isinstance(value, kind) and not isinstance(value, bool) and value == value
    if not (fine and (least is None or value >= least) and (below is None or value < below)):
        bounds = [f"at least {least}"] * (least is not None) + [f"below {below}"] * (below is not None)
        what = "a whole number" if whole else "a number"
        raise NetworkError(f"{name} = {value!r}; expected {' '.join([what, ' and '.join(bounds)]).strip()}.")
    return value


def check_known(what: str, given, known) -> None:
    """Refuse a name that is not among those that are known."""
    unknown = [name for name in given if name not in known]
    if unknown:
        raise NetworkError(f"{what} has {unknown[0]!r:.60}; there are {', '.join(map(str, known)) or 'none'}.")


def check_delay(name: str, value):
    """Return a time that may be zero, or refuse it."""
    if not (have_same_dimensions(value, second) and 0 <= float(value) < np.inf):
        raise NetworkError(f"{name} = {value!r} must be a time such as 10*ms, or 0*ms.")
    return value


def processors() -> int:
    """Cores that this process may use: fewer than the machine's under ``taskset`` or in a container."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def checked_threads(threads) -> int | None:
    """Return a number of threads, or ``None``: all cores."""
    return None if threads is None else int(checked_number("threads", threads, 1, 4097, whole=True))


def checked_labels(labels) -> np.ndarray:
    """Return classes as an array of whole numbers; nothing is cut to them."""
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" and labels.size:
        raise NetworkError(f"labels have type {labels.dtype}; expected whole numbers, one class each.")
    return labels


def checked_sizes(sizes) -> tuple[int, ...]:
    """Return layer sizes as integers, or refuse them."""
    sizes = tuple(sizes)
    if len(sizes) < 2 or any(isinstance(n, bool) or int(n) != n or n < 1 for n in sizes):
        raise NetworkError(f"sizes = {sizes}: give the numbers of inputs, hidden neurons and outputs, all >= 1.")
    return tuple(int(n) for n in sizes)


def checked_theta(theta, n_hidden: int) -> tuple[float, ...]:
    """Return one threshold per hidden layer, or refuse them."""
    values = np.atleast_1d(np.asarray(theta, float))
    if values.size == 1:
        values = np.repeat(values, max(1, n_hidden))
    if n_hidden and values.shape != (n_hidden,):
        raise NetworkError(f"theta has {values.size} values for {n_hidden} hidden layers.")
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise NetworkError(f"theta = {theta} must be positive: it is the precision of the spike code.")
    return tuple(float(v) for v in values)


def checked_group(group, everything: int) -> int:
    """Forward group size; ``None`` takes `everything` that waits."""
    if group is None:
        return everything
    if isinstance(group, bool) or not isinstance(group, Real) or group != group // 1 or group < 1:
        raise NetworkError(f"forward_group = {group!r}; it is a whole number >= 1, or None for all.")
    return int(group)


def check_memory(K, dt, **taus) -> None:
    """Refuse a number of buckets that no code is made for, and time constants that are nothing beside the timestep.

    Parameters
    ----------
    K : int
    dt : Quantity, second
    **taus : array_like
        By name, in seconds.
    """
    if isinstance(K, bool) or not isinstance(K, Real) or K != K // 1 or not 1 <= K <= MOST_BUCKETS:
        raise NetworkError(f"K = {K} buckets: give a whole number from 1 to {MOST_BUCKETS}.")
    for name, values in taus.items():
        least = float(np.min(np.asarray(values, float)))
        if not float(dt) <= 500 * least:  # beyond, exp(-dt/tau) is zero and nothing is remembered
            raise NetworkError(
                f"{name} = {least:g} s is too short for dt = {float(dt):g} s; give at least a hundredth of it."
            )


def checked_units(units, n_units: int, error: type[Exception] = NetworkError) -> np.ndarray:
    """Numbers of the input units of one time step as an array, or one error: masks and dense vectors are no numbers."""
    units = np.asarray(units)
    if units.ndim != 1 or (units.dtype.kind not in "iu" and units.size):
        raise error(
            f"units have type {units.dtype} and shape {units.shape}; expected a list of unit numbers. "
            "Of a mask take np.flatnonzero(mask), of a dense vector (np.flatnonzero(x), x[x != 0])."
        )
    wrong = units[(units < 0) | (units >= n_units)]
    if len(wrong):
        raise error(f"unit {wrong[0]} lies outside the network's {n_units} inputs.")
    return units.astype(np.int32)
