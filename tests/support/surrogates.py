"""The surrogate's primitive and slope in NumPy, from the text that the engine is generated from."""

from __future__ import annotations

import functools

import sympy

from brian2grad.models.asynchronous.surrogate_lowering import PRIMITIVES


@functools.cache
def _functions(text):
    x, k, gain = sympy.symbols("x k gain", real=True)
    formula = sympy.sympify(text, locals={"x": x, "k": k, "gain": gain, "arctan": sympy.atan, "abs": sympy.Abs})
    return [sympy.lambdify([x, k, gain], f, "numpy") for f in (formula, formula.diff(x))]


def primitive(rule, x):
    """Smooth function that a spike is replaced by, up to a constant."""
    return _functions(PRIMITIVES[rule.surrogate])[0](x, *rule.numbers())


def slope(rule, x):
    """Surrogate derivative at `x` above threshold."""
    return _functions(PRIMITIVES[rule.surrogate])[1](x, *rule.numbers())
