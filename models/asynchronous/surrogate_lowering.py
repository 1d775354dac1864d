"""The surrogate gradient of an asynchronous neuron as C++ text."""

from __future__ import annotations

import functools

import sympy

from ...equations.hybrid import HybridSystem
from ...equations.statements import parse, symbol
from ..native.express import cpp
from .lowering import membrane, membrane_text, parameters_of

# Smooth in place of the spike's step: k is the steepness, x how far the membrane is above threshold.
PRIMITIVES = {
    "arctan": "gain*arctan(k*x)",
    "fast_sigmoid": "gain*x/(1 + k*abs(x))",
    "sigmoid": "gain/(1 + exp(-k*x))",
}


def lower_surrogate(model, surrogate: str) -> dict:
    """Template values: the margin, the reset and their derivatives, and the slope of the primitive.

    Parameters
    ----------
    model : AsynchronousModel
    surrogate : {'arctan', 'fast_sigmoid', 'sigmoid'}
    """
    return _lower(HybridSystem.of(model), surrogate)


@functools.lru_cache(256)
def _lower(system: HybridSystem, surrogate: str) -> dict:
    state, names = membrane(system), parameters_of(system)
    text = functools.partial(membrane_text, system)
    margin, reset = system.margin, system.reset[state]
    by = (state, *names)
    margin_by, reset_by = (
        dict(zip(by, map(text, system.jacobian({state: e}, by)), strict=True)) for e in (margin, reset)
    )
    return {
        "parameters": names,
        "margin": text(margin),
        "margin_by_v": margin_by.pop(state),
        "margin_by": margin_by,
        "reset": text(reset),
        "reset_by_v": reset_by.pop(state),
        "reset_by": reset_by,
        # The unqualified abs may be the one of integers.
        "slope": cpp(slope(surrogate)).replace("abs(", "std::abs("),
    }


@functools.cache
def slope(surrogate: str) -> sympy.Expr:
    """Derivative of a primitive by x."""
    derivative = parse(PRIMITIVES[surrogate]).diff(symbol("x"))
    return sympy.simplify(derivative.replace(lambda e: e.is_Mul and e.has(sympy.sign), _absolute))


def _absolute(product):
    """``x*sign(x)`` as ``abs(x)``."""
    (sign,) = product.atoms(sympy.sign)
    return product.subs(sign, 1).subs(sign.args[0], sympy.Abs(sign.args[0])) if product.has(sign.args[0]) else product
