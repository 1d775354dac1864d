"""Brian 2 text to symbolic maps: one time step, a reset, a synaptic jump, a condition.

The engines and the adjoints are generated from these maps, so that the equation strings stay the only place where
dynamics are written.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

import numpy as np
import sympy
from brian2 import Equations
from brian2.core.variables import Constant
from brian2.parsing.statements import parse_statement
from brian2.parsing.sympytools import str_to_sympy
from brian2.stateupdaters.base import StateUpdateMethod

from .errors import ModelError
from .numeric import numeric, unit_values


class Gate(sympy.Function):
    """``int(argument > 0)``: one above zero, else zero. Piecewise constant, so its derivative is zero."""

    is_real = True
    nargs = 1

    def fdiff(self, argindex=1):
        return sympy.Integer(0)


def parse(text: str) -> sympy.Expr:
    """Parse an expression with Brian 2's parser; ``int(a > b)`` becomes ``Gate(a - b)``, which has a derivative."""
    expression = str_to_sympy(text)
    return expression.replace(
        lambda e: isinstance(e, sympy.core.function.AppliedUndef) and e.func.__name__ == "int_",
        lambda e: Gate(_difference(e.args[0])),
    )


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


def _difference(relation) -> sympy.Expr:
    if not isinstance(relation, sympy.StrictGreaterThan | sympy.StrictLessThan):
        raise ModelError(f"'int({relation})' must hold one strict comparison, such as 'int(x > 0)'.")
    return relation.gts - relation.lts


def symbol(name: str) -> sympy.Symbol:
    """The symbol that Brian 2's parser makes of a name (it carries ``real=True``; a plain Symbol would differ)."""
    return str_to_sympy(name)


def compose(code: str) -> dict[str, sympy.Expr]:
    """Compose statements executed one after another into one map: variable -> expression of the old values.

    Parameters
    ----------
    code : str
        Statements such as ``v = V_r; u += b``, separated by newlines or semicolons.

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
        value = parse(expression).xreplace(env)
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


@dataclass(frozen=True)
class UpdateMap:
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


def update_map(model: Equations, dt: float, method=None) -> UpdateMap:
    """Derive the map of one step from the model and its state updater, as Brian 2 itself would execute it.

    Parameters
    ----------
    model : NeuronModel or Equations
    dt : float or sympy.Symbol
        Seconds; a symbol keeps the step symbolic (for updaters that do not need its value).
    method : str or callable, optional
        State updater; the model's own by default.
    """
    method = method or getattr(model, "method", None) or ("exact", "euler", "heun")
    equations = Equations(list(model.values()))
    symbolic = isinstance(dt, sympy.Symbol)
    variables = {} if symbolic else {"dt": Constant("dt", np.array([float(dt)]))}
    code = StateUpdateMethod.apply_stateupdater(equations, variables, method, {})
    composed = compose(code)
    states = tuple(name for name in model if name in equations.diff_eq_names)
    step = {symbol("dt"): dt if symbolic else sympy.Float(dt, 17)}
    table = {}
    for name in states:
        expression = expand_subexpressions(equations, composed[name])
        table[name] = expression.xreplace(step | unit_values(expression))
    return UpdateMap(states, table)
