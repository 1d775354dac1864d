"""Brian 2 text to symbolic expressions: statements, conditions, subexpressions, units."""

from __future__ import annotations

import ast
from collections.abc import Callable

import sympy
from brian2 import Equations
from brian2.core.namespace import DEFAULT_UNITS
from brian2.parsing.statements import parse_statement
from brian2.parsing.sympytools import str_to_sympy
from sympy.core.function import AppliedUndef

from .errors import ModelError


class Gate(sympy.Function):
    """``int(argument > 0)``: one above zero, else zero. Piecewise constant, so its derivative is zero."""

    is_real = True
    nargs = 1

    def fdiff(self, argindex=1):
        return sympy.Integer(0)


def symbol(name: str) -> sympy.Symbol:
    """The symbol that Brian 2's parser makes of a name (it carries ``real=True``; a plain Symbol would differ)."""
    return str_to_sympy(name)


def parse(text: str) -> sympy.Expr:
    """Parse an expression with Brian 2's parser and give every part of it a derivative.

    ``int(a > b)`` becomes ``Gate(a - b)``, ``int(not_refractory)`` the symbol ``not_refractory`` (0 or 1) and
    ``sqrt(a)`` a power, which to Brian 2's parser is an unknown function.

    Raises
    ------
    ModelError
        If ``int`` holds anything else.
    """
    expression = str_to_sympy(text)
    if isinstance(expression, bool):  # `True` and `False` come as Python's
        return sympy.Integer(expression)
    return expression.replace(lambda e: isinstance(e, AppliedUndef) and e.func.__name__ in _REWRITTEN, _rewritten)


def _rewritten(call) -> sympy.Expr:
    return _REWRITTEN[call.func.__name__](call.args[0])


def _gate(argument) -> sympy.Expr:
    if argument == symbol("not_refractory"):
        return argument
    if isinstance(argument, sympy.StrictGreaterThan | sympy.StrictLessThan | sympy.GreaterThan | sympy.LessThan):
        return Gate(argument.gts - argument.lts)  # whether it is closed changes one point in time
    if isinstance(argument, sympy.And):
        return sympy.Mul(*map(_gate, argument.args))
    if isinstance(argument, sympy.Or):
        return 1 - sympy.Mul(*(1 - _gate(a) for a in argument.args))
    if isinstance(argument, sympy.Not):
        return 1 - _gate(argument.args[0])
    if argument in (sympy.true, sympy.false):
        return sympy.Integer(bool(argument))
    raise ModelError(f"'int({argument})' must hold comparisons such as 'x > 0', joined by 'and', 'or', 'not'.")


_REWRITTEN = {"int_": _gate, "sqrt": sympy.sqrt}


def condition(equations: Equations, text: str) -> sympy.Expr:
    """Return g of a condition written as ``left > right`` (or ``left < right``), so that it holds where g > 0.

    Raises
    ------
    ModelError
        If the text is not one strict comparison.
    """
    tree = ast.parse(text.strip(), mode="eval").body
    if not isinstance(tree, ast.Compare) or len(tree.ops) != 1 or not isinstance(tree.ops[0], ast.Gt | ast.Lt):
        raise ModelError(f"The condition '{text}' must be one strict comparison, such as 'v > V_th'.")
    left, right = (substituted(equations, ast.unparse(side)) for side in (tree.left, tree.comparators[0]))
    return left - right if isinstance(tree.ops[0], ast.Gt) else right - left


def compose(code: str, read: Callable[[str], sympy.Expr] = parse) -> dict[str, sympy.Expr]:
    """Compose statements executed one after another into one map: variable -> expression of the old values.

    Parameters
    ----------
    code : str
        Statements such as ``v = V_r; u += b``, separated by newlines or semicolons.
    read : callable
        Parses the right-hand side of a statement. To Brian 2, a subexpression has the value that follows from the
        variables when a statement reads it: where there are any, `read` must write them out (see `substituted`).

    Returns
    -------
    dict
        Only variables that are assigned.
    """
    env: dict[sympy.Symbol, sympy.Expr] = {}
    for line in code.replace(";", "\n").splitlines():
        line = line.split("#")[0].strip()
        if not line:
            continue
        variable, op, expression, _ = parse_statement(line)
        value = read(expression).xreplace(env)
        target = symbol(variable)
        if op != "=":
            old = env.get(target, target)
            value = {"+=": old + value, "-=": old - value, "*=": old * value, "/=": old / value}[op]
        env[target] = value
    return {str(target): value for target, value in env.items()}


def substituted(equations: Equations, text: str) -> sympy.Expr:
    """Expression with every subexpression of the equations written out."""
    return expand_subexpressions(equations, parse(text))


def expand_subexpressions(equations: Equations, expression: sympy.Expr) -> sympy.Expr:
    """Replace subexpression names until none is left (Brian 2 refuses circular ones)."""
    table = {symbol(name): parse(equations[name].expr.code) for name in equations.subexpr_names}
    while expression.free_symbols & table.keys():
        expression = expression.xreplace(table)
    return expression


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
