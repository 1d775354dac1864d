"""An asynchronous neuron as C++ text, and its leak as numbers."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import sympy

from ...equations import ModelError
from ...equations.asynchronous import AsynchronousModel
from ...equations.hybrid import HybridSystem
from ...equations.statements import symbol
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
    code = _lower(HybridSystem.of(model), model.once_per_timestep)
    _values(model, code.parameters)
    return code


@functools.lru_cache(256)
def _lower(system: HybridSystem, once_per_timestep: bool) -> NeuronCode:
    state = membrane(system)
    v = symbol(state)
    jump, margin, reset = system.jump[state], system.margin, system.reset[state]
    slope = sympy.simplify(system.jacobian({state: jump}, "w")[0])
    if slope == 0 or slope.free_symbols or sympy.simplify(jump - v - slope * symbol("w")) != 0:
        raise ModelError(
            f"on_pre of '{system.name}' makes {state} {jump}; it must add the weight, such as '{state}_post += w', as "
            "the currents of a group are summed before the threshold is tested."
        )
    if once_per_timestep and v in reset.free_symbols:
        raise ModelError(
            f"The reset of '{system.name}' to {reset} depends on {state}; a neuron that rests after a spike needs a "
            "fixed value."
        )
    expressions = (v + slope * symbol("I"), margin, reset)
    return NeuronCode(
        parameters_of(system), *(membrane_text(system, e) for e in expressions), _names(reset.free_symbols - {v})
    )


def membrane(system: HybridSystem) -> str:
    """Name of the one differential variable.

    Raises
    ------
    ModelError
        If there are more, or none.
    """
    if len(system.continuous) != 1:
        raise ModelError(f"'{system.name}' must have one differential equation, it has {len(system.continuous)}.")
    return system.continuous[0]


def parameters_of(system: HybridSystem) -> tuple[str, ...]:
    """What threshold test and reset depend on besides the membrane."""
    state = membrane(system)
    return _names((system.margin.free_symbols | system.reset[state].free_symbols) - {symbol(state)})


def membrane_text(system: HybridSystem, expression) -> str:
    """C++ of an expression, in which the membrane is called ``v``."""
    return cpp(sympy.sympify(expression).xreplace({symbol(membrane(system)): symbol("v")}))


def leak_factors(model: AsynchronousModel, dt: float, n: int | None = None, derivative: bool = False) -> np.ndarray:
    """Factor by which the membrane decays over a timestep of `dt` seconds, or its derivative by ``tau_m``.

    One if the parameters are equal for all neurons, else one per neuron; always one per neuron if their number `n` is
    given.
    """
    decay, values = _decay(model)
    if derivative:
        factors = decay.derivatives(values, dt)[decay.parameters.index("tau_m"), 0, 0]
    else:
        factors = decay(values, dt)[0, 0]
    return factors if n is None else np.array(np.broadcast_to(factors, (n,)))


def decay_rates(model: AsynchronousModel, n: int) -> np.ndarray:
    """Rate of the membrane's decay in 1/second, per neuron, for continuous time."""
    decay, values = _decay(model)
    return np.array(np.broadcast_to(-decay.generator(values)[0, 0], (n,)))


def _decay(model):
    system = HybridSystem.of(model)
    decay = system.decay(states=(membrane(system),))
    return decay, _values(model, decay.parameters)


def _names(symbols) -> tuple[str, ...]:
    return tuple(sorted(s.name for s in symbols))


def _values(model, names) -> list[np.ndarray]:
    unknown = [name for name in names if name not in model.constants]
    if unknown:
        raise ModelError(f"'{model.name}' uses {', '.join(unknown)} without a value in its constants.")
    return [np.asarray(model.constants[name], dtype=float) for name in names]
