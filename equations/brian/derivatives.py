"""Partial derivatives of what a model's text says, or a refusal that names the expression and the remedy."""

from __future__ import annotations

import functools
import math

import numpy as np
import sympy
from brian2.parsing.sympytools import str_to_sympy
from sympy.core.function import AppliedUndef

from ..errors import ModelError
from ..statements import Gate, unit_values

_NO_DERIVATIVE = {
    "rand": "draw the random numbers once, into a parameter",
    "randn": "draw the random numbers once, into a parameter",
    "poisson": "record the spikes once and replay them with a SpikeGeneratorGroup",
    "binomial": "draw the random numbers once, into a parameter",
    "clip": "write a smooth saturation, such as tanh, or keep the variable in its range by the dynamics",
    "floor": "write the expression without rounding, or give it as a TimedArray",
    "ceiling": "write the expression without rounding, or give it as a TimedArray",
    "Mod": "give the periodic input as a TimedArray or with sin",
    "timestep": "write the condition with t itself",
    "where": "write a smooth expression, or make the switch an event with a threshold of its own",
}
_REGISTERED: dict[str, type] = {}


class Exprel(sympy.Function):
    """``(exp(x) - 1)/x``, which is 1 at x = 0; the quotient itself has no value there."""

    is_real = True
    nargs = 1

    def fdiff(self, argindex=1):
        return ExprelSlope(self.args[0])


class ExprelSlope(sympy.Function):
    """Derivative of ``exprel``, 1/2 at x = 0."""

    is_real = True
    nargs = 1


def _exprel(x: float) -> float:
    return math.expm1(x) / x if x else 1.0


def _exprel_slope(x: float) -> float:
    if abs(x) < 0.5:  # ((x - 1) exp(x) + 1)/x**2 cancels here; its series converges in 16 terms
        return sum(x**k / ((k + 2) * math.factorial(k)) for k in range(16))
    return ((x - 1) * math.exp(x) + 1) / x**2


def _exp(x: float) -> float:
    """Exponential that is infinite where it overflows, so that an integrator takes a shorter step."""
    return math.exp(x) if x < 709.0 else math.inf


_NUMERIC = {
    "Exprel": _exprel,
    "ExprelSlope": _exprel_slope,
    "exp": _exp,
    "sign": lambda x: math.copysign(1.0, x) if x else 0.0,
    "Gate": lambda x: 1.0 if x > 0 else 0.0,
}


def register_derivative(function, derivative: str, argument: str = "x") -> None:
    """Tell what the derivative of a function of one argument is, so that models may call it.

    Parameters
    ----------
    function : callable
        The function itself, as it stands in the model's namespace; plain numbers in, plain numbers out.
    derivative : str
        Its derivative as text in `argument`, which may call the function: ``register_derivative(f, "1 - f(x)**2")``.
    argument : str
        Name of the argument in `derivative`.
    """
    name = getattr(function, "__name__", None) or function.pyfunc.__name__
    plain = getattr(function, "pyfunc", function)
    symbol = str_to_sympy(argument)

    def fdiff(self, argindex=1):
        return known(str_to_sympy(derivative), name).xreplace({symbol: self.args[0]})

    _REGISTERED[name] = type(name, (sympy.Function,), {"is_real": True, "nargs": 1, "fdiff": fdiff})
    _NUMERIC[name] = lambda x: float(np.asarray(plain(x)))


def _clip(x, low, high):
    """``clip`` with switches."""
    return x + Gate(low - x) * (low - x) + Gate(x - high) * (high - x)


def known(expression: sympy.Expr, model: str, at_event: bool = False) -> sympy.Expr:
    """Rewrite the functions of an expression so that every one has a derivative.

    Parameters
    ----------
    expression : sympy.Expr
    model : str
        Name for error messages.
    at_event : bool
        The expression is read at single times only, where ``clip`` has a derivative unless it is just at its limit.

    Raises
    ------
    ModelError
        If a function has none; the text names the model, the expression and the remedy.
    """
    for call in expression.atoms(sympy.Function):
        name = call.func.__name__
        if at_event and name == "clip":
            continue
        if name in _NO_DERIVATIVE and not _constant(call):
            raise ModelError(f"'{model}': '{call}' has no derivative; {_NO_DERIVATIVE[name]}.")
        if isinstance(call, AppliedUndef) and name not in ("sqrt", "int_", *_REGISTERED) and not _constant(call):
            raise ModelError(
                f"'{model}': the derivative of '{call}' is not known; call register_derivative({name}, '...')."
            )
    table = {"clip": _clip, "sqrt": lambda x: x ** sympy.Rational(1, 2), "exprel": Exprel, **_REGISTERED}
    return expression.replace(
        lambda e: isinstance(e, sympy.Function) and e.func.__name__ in table, lambda e: table[e.func.__name__](*e.args)
    )


def _constant(call) -> bool:
    """Whether nothing but the neuron's index goes in, so that the value is one constant a neuron."""
    return (
        bool(call.free_symbols) and {s.name for s in call.free_symbols} <= {"i", "N"} and call.func.__name__ != "rand"
    )


@functools.lru_cache(4096)
def differentiate(expression: sympy.Expr, by: sympy.Symbol, model: str, at_event: bool = False) -> sympy.Expr:
    """Partial derivative, refused if sympy leaves any of it undone.

    Parameters
    ----------
    expression, by
    model : str
        Name for error messages.
    at_event : bool
        The expression is read at single times only, so that a switch in it changes nothing nearby.

    Raises
    ------
    ModelError
        If the expression has no derivative in `by`.
    """
    if by not in expression.free_symbols:
        return sympy.Integer(0)
    for gate in expression.atoms(Gate):
        if by in gate.free_symbols and not at_event and not _joined(expression, gate):
            raise ModelError(
                f"'{model}': 'int({gate.args[0]} > 0)' switches where '{by}' crosses a value, which its derivative "
                "does not see; write a smooth expression, or make the switch an event with a threshold of its own."
            )
    result = expression.diff(by)
    if result.has(sympy.Derivative, sympy.Subs, sympy.DiracDelta):
        raise ModelError(f"'{model}': '{expression}' has no derivative in '{by}'; write it with smooth functions.")
    return result


def _joined(expression, gate) -> bool:
    """Whether both sides of a switch have the same value where it switches, as in ``x*int(x > 0)``."""
    gap = sympy.expand(expression.xreplace({gate: sympy.Integer(1)}) - expression.xreplace({gate: sympy.Integer(0)}))
    for s in sorted(gate.free_symbols, key=str):
        slope = gate.args[0].diff(s)
        if slope != 0 and s not in slope.free_symbols:
            return sympy.simplify(gap.xreplace({s: sympy.expand(s - gate.args[0] / slope)})) == 0
    return False


def function_of(arguments, expressions):
    """Compile expressions into one Python function of plain numbers in SI units that returns a list.

    Parameters
    ----------
    arguments : sequence of sympy.Symbol, or of sequences of them
    expressions : sequence of sympy.Expr
        Units may stand in them by name.
    """
    return _compiled(tuple(tuple(a) if isinstance(a, list) else a for a in arguments), tuple(expressions))


@functools.lru_cache(4096)
def _compiled(arguments, expressions):
    taken = {s for a in arguments for s in (a if isinstance(a, tuple) else [a])}
    units = {s: v for e in expressions for s, v in unit_values(sympy.sympify(e)).items() if s not in taken}
    expressions = [sympy.sympify(e).xreplace(units) for e in expressions]
    return sympy.lambdify(arguments, expressions, modules=[_NUMERIC, "math"], cse=True)
