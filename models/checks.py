"""Checks of constructor arguments shared by the networks."""

from __future__ import annotations

from numbers import Real

import numpy as np

from .errors import NetworkError


class _Own:
    """The type of `OWN`."""

    def __repr__(self):
        return "OWN"

    def __reduce__(self):
        return "OWN"


OWN = _Own()  # forward group of a run: the network's own; None is taken, it means all that wait


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
