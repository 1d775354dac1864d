"""An asynchronous neuron lowered to the expressions from which its C++ is generated."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np
import sympy
from brian2 import Equations

from ...equations import ModelError
from ...equations.asynchronous import AsynchronousModel
from ...equations.update import compose, condition, expand_subexpressions, substituted, symbol, update_map
from ..native.express import cpp


@dataclass(frozen=True)
class NeuronCode:
    """What the template needs of the neuron."""

    parameters: tuple[str, ...]
    jump: str
    margin: str
    reset: str
    reset_parameters: tuple[str, ...]


def lower(model: AsynchronousModel) -> NeuronCode:
    """Derive the code of one forward step from the model's text.

    Raises
    ------
    ModelError
        If the jump does not add the weight, or the reset value of a neuron that then rests depends on its
        membrane.
    """
    code = _lower(_Hashed.of(model), model.on_pre, model.threshold, model.reset, model.once_per_timestep)
    _check_known(model, code.parameters)
    return code


def leak_factors(model: AsynchronousModel, dt: float) -> np.ndarray:
    """Factor by which the membrane decays over a timestep of `dt` seconds: one, or one per neuron."""
    return leak_function(model, dt)(model.constants)


def leak_function(model: AsynchronousModel, dt: float):
    """`leak_factors` as a function of the model's constants."""
    names, function = _leak(_Hashed.of(model), model.method, dt)
    _check_known(model, names)
    return lambda constants: np.array(function(*(np.asarray(constants[name], dtype=float) for name in names)))


@dataclass(frozen=True)
class _Hashed:
    """Equations that can be looked up by their text (Brian 2's own hash fails on equations with flags)."""

    text: str
    equations: Equations = field(compare=False)

    @classmethod
    def of(cls, model) -> _Hashed:
        return cls("\n".join(str(equation) for equation in model.values()), model.model)


# Symbolic work is done once per model: networks are made by the hundred, their equations are not.
@functools.cache
def _lower(hashed: _Hashed, on_pre: str, threshold: str, reset_code: str, once_per_timestep: bool) -> NeuronCode:
    equations = hashed.equations
    state = _state(equations)
    v, w = symbol(state), symbol("w")
    jump = compose(on_pre).get(f"{state}_post")
    if jump is None:
        raise ModelError(f"'{on_pre}' must add the weight to {state}_post, such as '{state}_post += w'.")
    jump = jump.xreplace({symbol(f"{state}_post"): v})
    slope = sympy.simplify(jump.diff(w))
    if slope.free_symbols or sympy.simplify(jump - v - slope * w) != 0:
        raise ModelError(
            f"'{on_pre}' must add the weight to {state}_post, such as '{state}_post += w': the currents of "
            "a group "
            "are summed before the threshold is tested."
        )
    margin = condition(equations, threshold)
    reset = expand_subexpressions(equations, compose(reset_code).get(state, v))
    if once_per_timestep and v in reset.free_symbols:
        raise ModelError(f"'{reset_code}': a neuron that rests after a spike needs a reset to a fixed value.")
    names = sorted({s.name for s in (margin.free_symbols | reset.free_symbols) - {v}})
    expressions = (v + slope * symbol("I"), margin, reset)
    return NeuronCode(
        tuple(names),
        *(cpp(e.xreplace({v: symbol("v")})) for e in expressions),
        tuple(sorted(s.name for s in reset.free_symbols - {v})),
    )


@functools.cache
def _leak(hashed: _Hashed, method, dt: float):
    """Names of the parameters of the decay factor, and the function of them."""
    equations = hashed.equations
    state = symbol(_state(equations))
    update = update_map(equations, dt, method).next[state.name]
    factor = sympy.simplify(update.diff(state))
    if state in factor.free_symbols or update.subs(state, 0) != 0:
        raise ModelError(f"The step {state} -> {update} is not a decay to zero, which the lazy leak needs.")
    names = sorted(s.name for s in factor.free_symbols)
    return names, sympy.lambdify([symbol(name) for name in names], factor, "numpy")


def decay_rates(model: AsynchronousModel, n: int) -> np.ndarray:
    """Rate of the membrane's decay in 1/second, per neuron, for continuous time."""
    names, function = _rate(_Hashed.of(model))
    _check_known(model, names)
    values = function(*(np.asarray(model.constants[name], dtype=float) for name in names))
    return np.array(np.broadcast_to(values, (n,)))


@functools.cache
def _rate(hashed: _Hashed):
    state = symbol(_state(hashed.equations))
    slope = substituted(hashed.equations, hashed.equations[state.name].expr.code)
    rate = sympy.simplify(-slope.diff(state))
    if state in rate.free_symbols or slope.subs(state, 0) != 0:
        raise ModelError(f"d{state}/dt = {slope} is not a decay to zero, which the lazy leak needs.")
    names = sorted(s.name for s in rate.free_symbols)
    return names, sympy.lambdify([symbol(name) for name in names], rate, "numpy")


def _state(equations) -> str:
    states = list(equations.diff_eq_names)
    if len(states) != 1:
        raise ModelError(f"The neuron must have one differential equation, it has {len(states)}.")
    return states[0]


def _check_known(model, names) -> None:
    unknown = [name for name in names if name not in model.constants]
    if unknown:
        raise ModelError(f"'{model.name}' uses {', '.join(unknown)} without a value in its constants.")
