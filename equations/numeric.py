"""Turning parts of a symbolic expression into numbers: physical units and the time step."""

from __future__ import annotations

import sympy
from brian2.core.namespace import DEFAULT_UNITS


def unit_values(expression) -> dict:
    """Map every unit symbol of `expression` (``ms``, ``mV``, ...) to its value in SI base units."""
    return {
        symbol: sympy.Float(float(DEFAULT_UNITS[symbol.name]), 17)
        for symbol in expression.free_symbols
        if symbol.name in DEFAULT_UNITS
    }


def numeric(expression) -> float:
    """Value of an expression of numbers and units.

    Raises
    ------
    TypeError
        If another symbol is left.
    """
    expression = sympy.sympify(expression)
    expression = expression.xreplace(unit_values(expression))
    if expression.free_symbols:
        raise TypeError(f"'{expression}' is not a number: {sorted(map(str, expression.free_symbols))} are free")
    return float(sympy.N(expression, 20))
