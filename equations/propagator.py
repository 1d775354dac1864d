r"""Exact integration of linear memories: a state updater whose coefficients keep their relative accuracy.

Brian 2's ``exact`` solves a linear system symbolically. For a chain of K stages with different rates that takes
minutes from K = 6 on and leaves differences of rates in denominators (NaN when two coincide). Here the propagator
:math:`e^{A\,dt}` is computed as numbers when the run starts. For a chain, A has non-negative off-diagonal entries, so

.. math:: e^{A h} = e^{-\mu h}\, e^{(A + \mu I) h}

is a sum of non-negative terms: no cancellation, every entry accurate to rounding, whatever the rates.
"""

from __future__ import annotations

import numpy as np
import sympy
from brian2 import Equations
from brian2.core.namespace import DEFAULT_UNITS
from brian2.core.variables import Constant
from brian2.parsing.sympytools import str_to_sympy, sympy_to_str
from brian2.stateupdaters.base import StateUpdateMethod, UnsupportedEquationsException
from scipy.linalg import expm

from .errors import ModelError
from .statements import numeric


def propagator(A: np.ndarray, h: float) -> np.ndarray:
    """Return the matrix exponential of ``A*h``, entry-wise accurate when A has no negative off-diagonal entry.

    Parameters
    ----------
    A : (n, n) array
        Rates in 1/second.
    h : float
        Step in seconds.
    """
    off_diagonal = A - np.diag(np.diag(A))
    if (off_diagonal < 0).any():
        return expm(A * h)
    mu = max(0.0, float(-np.diag(A).min()))
    return _exponential((A + mu * np.eye(len(A))) * h, -mu * h)


def propagator_slope(A: np.ndarray, slope: np.ndarray, h: float) -> np.ndarray:
    """Return the derivative of ``exp(A*h)`` when A changes along `slope`.

    It is the upper right block of the exponential of ``[[A, slope], [0, A]] * h``.
    """
    n = len(A)
    mu = max(0.0, float(-np.diag(A).min()))
    blocks = np.kron(np.eye(2), A + mu * np.eye(n))
    blocks[:n, n:] = slope
    return _exponential(blocks * h, -mu * h)[:n, n:]


def _exponential(B: np.ndarray, shift: float) -> np.ndarray:
    """``exp(shift) * exp(B)`` by the scaled and squared Taylor series: only products and sums, no solver."""
    doublings = max(0, int(np.ceil(np.log2(max(np.abs(B).sum(axis=1).max(), 1e-300)))))
    B = B / 2.0**doublings
    total = term = np.eye(len(B))
    for order in range(1, 30):  # ||B|| <= 1: 1/30! is far below rounding
        term = term @ B / order
        total = total + term
    total = total * np.exp(shift / 2.0**doublings)
    for _ in range(doublings):
        total = total @ total
    return total


def linear_block(equations: Equations, constants: dict | None = None) -> tuple[list[str], np.ndarray, dict]:
    """Find the differential equations that are linear with constant, numeric coefficients among themselves.

    Parameters
    ----------
    equations : Equations
    constants : dict of str to float, optional
        Values (SI) of names in the equations that are plain numbers.

    Returns
    -------
    names : list of str
        The variables of the block.
    A : (n, n) array
        Their rates, 1/second.
    drives : dict of str to sympy expression
        What drives each of them from outside the block (held constant over a step).
    """
    rhs = {name: str_to_sympy(expr.code) for name, expr in equations.get_substituted_expressions()}
    values = {sympy.Symbol(name, real=True): sympy.Float(value, 17) for name, value in (constants or {}).items()}
    rhs = {name: rhs[name].xreplace(values) for name in equations.diff_eq_names}
    symbols = {name: sympy.Symbol(name, real=True) for name in rhs}
    block = set(rhs)
    while True:
        inside = [symbols[name] for name in block]
        bad = {name for name in block if not _is_linear(rhs[name], inside)}
        if not bad:
            break
        block -= bad
    names = [name for name in equations.diff_eq_names if name in block]
    names.sort(key=list(equations.keys()).index)
    A = np.array([[numeric(rhs[row].diff(symbols[col])) for col in names] for row in names])
    zero = {symbols[name]: 0 for name in names}
    drives = {name: sympy.expand(rhs[name]).subs(zero) for name in names}
    return names, A.reshape(len(names), len(names)), {k: v for k, v in drives.items() if v != 0}


def _is_linear(expression, inside) -> bool:
    """Whether `expression` is an affine function of `inside` with numeric slopes (the offset may be anything)."""
    try:
        for symbol in inside:
            numeric(expression.diff(symbol))
    except (TypeError, ValueError, AttributeError):
        return False
    return True


class ExactMemory:
    """State updater: exact for the linear part with numeric rates, exponential Euler for the rest.

    Pass it as ``method=exact_memory`` to a `NeuronGroup`. Inputs from outside the linear part are held constant
    over a step, with the exact response to a held input. The coefficients are computed for the group's ``dt`` each
    time a run starts.

    Parameters
    ----------
    required : tuple of str
        Variables that must belong to the linear part; otherwise the run is refused with a `ModelError`.
    """

    __name__ = "exact_memory"
    # Brian 2 caches the code of a state updater by its arguments, among them the variable `dt` but not its value.
    # An unhashable updater is called every time, so that a changed dt is seen.
    __hash__ = None

    def __init__(self, required: tuple[str, ...] = ()):
        self.required = tuple(required)

    def __call__(self, equations, variables, method_options=None) -> str:
        """Return the abstract code of one step; ``variables['dt']`` holds the step."""
        return _exact_code(equations, variables, self.required)

    def __repr__(self):
        return self.__name__

    def __reduce__(self):
        return (ExactMemory, (self.required,)) if self.required else self.__name__  # one plain instance


exact_memory = ExactMemory()


def _exact_code(equations, variables, required=()) -> str:
    """Write one step: exact for the linear part with numeric rates, exponential Euler for the rest."""
    h = float(np.asarray(variables["dt"].get_value()).ravel()[0])
    constants = {
        name: float(variable.get_value())
        for name, variable in variables.items()
        if isinstance(variable, Constant) and name in equations.identifiers and name not in DEFAULT_UNITS
    }
    names, A, drives = linear_block(equations, constants)
    missing = [name for name in required if name not in names]
    if missing:
        raise ModelError(
            f"The continuous memory needs rates that are numbers, d{missing[0]}/dt = {equations[missing[0]].expr.code} "
            "has none: give the time constants as quantities or as constants of the namespace, or use memory='paper'."
        )
    if not names:
        return _approximate(equations, variables)
    n = len(names)
    augmented = np.zeros((2 * n, 2 * n))
    augmented[:n, :n], augmented[:n, n:] = A, np.eye(n)
    full = propagator(augmented, h)
    P, Q = full[:n, :n], full[:n, n:]
    lines = [f"_drive_{name} = {sympy_to_str(drive)}" for name, drive in drives.items()]
    for row, name in enumerate(names):
        terms = [f"{float(P[row, col])!r}*{names[col]}" for col in range(n) if P[row, col] != 0]
        terms += [
            f"{float(Q[row, col])!r}*second*_drive_{name}"
            for col, name in enumerate(names)
            if name in drives and Q[row, col] != 0
        ]
        lines.append(f"_{name} = " + (" + ".join(terms) or "0"))
    rest = [eq for eq in equations.values() if eq.varname not in names]
    code = ""
    if any(eq.type == "differential equation" for eq in rest):
        code = _approximate(Equations(rest), variables)
        # The rest reads the block's values at the beginning of the step, so its assignments come first.
    return "\n".join([*lines, code, *(f"{name} = _{name}" for name in names)])


def _approximate(equations: Equations, variables) -> str:
    """Exponential Euler where it applies, else Euler (named one by one: a list would log which was chosen)."""
    try:
        return StateUpdateMethod.apply_stateupdater(equations, variables, "exponential_euler", {})
    except UnsupportedEquationsException:
        return StateUpdateMethod.apply_stateupdater(equations, variables, "euler", {})
