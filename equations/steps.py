"""A time step as a map, and how states decay to zero, as a function of parameters and with derivatives by them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import sympy

from .errors import ModelError
from .propagator import propagator, propagator_slope
from .statements import numeric, symbol


@dataclass(frozen=True)
class StepMap:
    """One time step of all differential variables, ``next[name]`` as an expression of the old values."""

    states: tuple[str, ...]
    next: dict[str, sympy.Expr]

    def linear(self, names: tuple[str, ...]) -> np.ndarray:
        """Matrix of the update restricted to `names`, which must be linear and closed under it.

        Raises
        ------
        ModelError
            If the update of a name is not a linear function of `names` with constant coefficients.
        """
        symbols = [symbol(name) for name in names]
        matrix = np.zeros((len(names), len(names)))
        for row, name in enumerate(names):
            expression = self.next[name]
            try:
                matrix[row] = [numeric(expression.diff(s)) for s in symbols]
                offset = numeric(expression.subs(dict.fromkeys(symbols, 0)))
            except (TypeError, AttributeError) as error:
                raise ModelError(
                    f"The update of '{name}', {expression}, is not linear with constant coefficients ({error})."
                ) from None
            if offset != 0:
                raise ModelError(f"The update of '{name}' has the constant part {offset}; a memory must have none.")
        return matrix


@dataclass(frozen=True, eq=False)
class Decay:
    """Linear decay ``dx/dt = A x``; over a time step ``x(t + dt) = F x(t)``. Both depend on parameters.

    Attributes
    ----------
    states : tuple of str
        The n states x.
    parameters : tuple of str
        In the order in which their values are given: floats, or arrays of one value per neuron.
    rates : (n, n) sympy.Matrix
        A, 1/second.
    factors : (n, n) sympy.Matrix or None
        F as the state updater computes it; ``None``: the exponential of A dt, from the numbers of A.
    """

    states: tuple[str, ...]
    parameters: tuple[str, ...]
    rates: sympy.Matrix
    factors: sympy.Matrix | None

    def __call__(self, values, dt: float) -> np.ndarray:
        """Return F over `dt` seconds, shape (n, n), or (n, n, N) for N neurons."""
        if self.factors is None:
            return propagator(self.generator(values), dt)
        return self._function(*values, dt)

    def generator(self, values) -> np.ndarray:
        """Return A in 1/second, shape (n, n), or (n, n, N) for N neurons."""
        return self._rates(*values, 0.0)

    def derivatives(self, values, dt: float) -> np.ndarray:
        """Return the derivative of F by every parameter, shape (n_parameters, n, n), or (..., N) for N neurons."""
        slopes = [slope(*values, dt) for slope in self._slopes]
        if self.factors is None:
            rates = self.generator(values)
            slopes = [propagator_slope(rates, slope, dt) for slope in slopes]
        return np.array(slopes)

    @functools.cached_property
    def _function(self) -> Callable:
        return self._lambdified(self.factors)

    @functools.cached_property
    def _rates(self) -> Callable:
        return self._lambdified(self.rates)

    @functools.cached_property
    def _slopes(self) -> list[Callable]:
        matrix = self.rates if self.factors is None else self.factors
        return [self._lambdified(matrix.diff(symbol(name))) for name in self.parameters]

    def _lambdified(self, matrix: sympy.Matrix) -> Callable:
        entries = sympy.lambdify([symbol(name) for name in (*self.parameters, "dt")], list(matrix), "numpy")

        def function(*values):
            shape = np.broadcast_shapes(*map(np.shape, values))
            filled = [np.broadcast_to(entry, shape) for entry in entries(*values)]
            return np.array(filled, float).reshape(*matrix.shape, *shape)

        return function
