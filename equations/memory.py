"""How the update of a gamma memory depends on its time constants: the map and its derivative as fast functions."""

from __future__ import annotations

import functools

import numpy as np
import sympy
from brian2.parsing.sympytools import str_to_sympy

from .gamma import gamma_memory
from .propagator import propagator, propagator_slope
from .update import symbol, update_map


class MemoryUpdate:
    """Update matrix A(tau, dt) of a chain of buckets, ``z(t+dt) = A z(t)``, and dA/dtau.

    Both are derived from the equations of `gamma_memory` with named time constants.

    Parameters
    ----------
    K : int
    memory : {'paper', 'exact'}
    transposed : bool
    """

    def __init__(self, K: int, memory: str, transposed: bool):
        names = [f"tau_{k}" for k in range(K)]
        model = gamma_memory(K, names, memory=memory, transposed=transposed)
        buckets = [symbol(f"z{k}") for k in range(K)]
        taus, step = [symbol(name) for name in names], symbol("dt")
        self.memory = memory
        if memory == "paper":
            table = update_map(model, step).next
            matrix = sympy.Matrix([[table[str(z)].diff(y) for y in buckets] for z in buckets])
        else:
            rhs = dict(model.model.get_substituted_expressions())
            matrix = sympy.Matrix([[str_to_sympy(rhs[str(z)].code).diff(y) for y in buckets] for z in buckets])
        self._matrix = sympy.lambdify([*taus, step], matrix, "numpy")
        self._derivatives = [sympy.lambdify([*taus, step], matrix.diff(t), "numpy") for t in taus]

    def __call__(self, taus: np.ndarray, dt: float) -> np.ndarray:
        """Return A, shape (K, K), for time constants (K,) and step `dt` in seconds."""
        matrix = np.asarray(self._matrix(*taus, dt), float)
        return matrix if self.memory == "paper" else propagator(matrix, dt)

    def derivatives(self, taus: np.ndarray, dt: float) -> np.ndarray:
        """Return dA/dtau_k stacked over k, shape (K, K, K)."""
        slopes = [np.asarray(d(*taus, dt), float) for d in self._derivatives]
        if self.memory == "paper":
            return np.array(slopes)
        matrix = np.asarray(self._matrix(*taus, dt), float)
        return np.array([propagator_slope(matrix, slope, dt) for slope in slopes])


@functools.cache
def memory_update(K: int, memory: str, transposed: bool) -> MemoryUpdate:
    """Return the (cached) `MemoryUpdate` of a kind of memory."""
    return MemoryUpdate(K, memory, transposed)
