"""A time step as a map, and how states decay to zero, as a function of parameters and with derivatives by them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import sympy
from brian2.core.variables import Constant
from brian2.stateupdaters.base import StateUpdateMethod

from .errors import ModelError
from .propagator import ExactMemory, propagator, propagator_slope
from .statements import compose, numeric, substituted, symbol, unit_values

_UPDATERS = ("exact", "euler", "heun")  # Brian 2's own choice: the first that applies
_CACHED = 512


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
        F as the state updater computes it; ``None``: the exponential of A dt from the numbers of A, for floats only.
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
            filled = entries(*values)
            if shape:
                filled = [np.broadcast_to(entry, shape) for entry in filled]
            return np.array(filled, float).reshape(*matrix.shape, *shape)

        return function


@functools.lru_cache(_CACHED)
def step_of(system, dt) -> StepMap:
    """See `HybridSystem.step`."""
    equations = system.equations
    symbolic = isinstance(dt, sympy.Symbol)
    if symbolic and isinstance(system.method, ExactMemory):
        raise ModelError(f"The step of '{system.name}' is exact for a number of seconds, not for the symbol {dt}.")
    variables = {} if symbolic else {"dt": Constant("dt", np.array([float(dt)]))}
    code = StateUpdateMethod.apply_stateupdater(equations, variables, system.method or _UPDATERS, {})
    after = compose(code, functools.partial(substituted, equations))
    length = {symbol("dt"): dt if symbolic else sympy.Float(dt, 17)}
    table = {name: after[name].xreplace(length | unit_values(after[name])) for name in system.continuous}
    return StepMap(system.continuous, table)


@functools.lru_cache(_CACHED)
def decay_of(system, by, states) -> Decay:
    """See `HybridSystem.decay`."""
    flow = {v: system.flow[v].xreplace(unit_values(system.flow[v])) for v in states}
    rates = _linear(system, flow, "d{}/dt =")
    names = tuple(sorted(s.name for s in rates.free_symbols)) if by is None else by
    factors = None
    if not isinstance(system.method, ExactMemory):  # which computes with the numbers of the rates
        step = step_of(system, symbol("dt"))
        factors = _linear(system, {v: step.next[v] for v in states}, "{} <-")
    other = sorted({s.name for m in (rates, factors) if m is not None for s in m.free_symbols} - {*names, "dt"})
    if other:
        raise ModelError(
            f"The decay of '{system.name}' depends on '{other[0]}'; it may only depend on {', '.join(names) or 'none'}."
        )
    return Decay(states, names, rates, factors)


def _linear(system, expressions, text: str) -> sympy.Matrix:
    """Matrix of expressions that are linear in the variables they are of."""
    symbols = [symbol(v) for v in expressions]
    matrix = sympy.Matrix([[e.diff(s) for s in symbols] for e in expressions.values()])
    for row, (name, expression) in enumerate(expressions.items()):
        rest = sympy.simplify(expression.subs(dict.fromkeys(symbols, 0)))
        if rest != 0 or matrix[row, :].free_symbols & set(symbols):
            raise ModelError(
                f"'{system.name}': {text.format(name)} {expression} is no decay to zero, linear in "
                f"{', '.join(expressions)} and nothing else."
            )
    return matrix
