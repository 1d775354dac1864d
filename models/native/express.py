"""Symbolic expressions to C++, with every non-integer number turned into a run-time constant.

Numbers are kept out of the source so that one compiled engine serves every time step, time constant and threshold:
only a change of the equations' form compiles again.
"""

from __future__ import annotations

import sympy
from brian2.parsing.rendering import CPPNodeRenderer
from brian2.parsing.sympytools import sympy_to_str

from ...equations.statements import unit_values


class Constants:
    """Collects the numbers of a model; ``c[i]`` in the source stands for ``values[i]``."""

    def __init__(self):
        self.values: list[float] = []

    def name(self, value: float) -> sympy.Symbol:
        """Symbol of a new constant (equal values are not merged: the source must not depend on them)."""
        self.values.append(float(value))
        return sympy.Symbol(f"c{len(self.values) - 1}", real=True)

    def hoist(self, expression: sympy.Expr) -> sympy.Expr:
        """Replace units by numbers and numbers that are not integers by constants."""
        expression = expression.xreplace(unit_values(expression))
        return self._walk(expression)

    def _walk(self, node):
        if node.is_Number and not node.is_Integer:
            return self.name(float(node))
        if not node.args:
            return node
        if not node.free_symbols and not node.is_Integer:
            return self.name(float(sympy.N(node, 20)))
        if node.is_Add or node.is_Mul:
            return self._commutative(node)
        return node.func(*[self._walk(argument) for argument in node.args])

    def _commutative(self, node):
        """Sums and products: fold all numbers of the node into one constant, keep the order of the rest stable."""
        numbers = [a for a in node.args if not a.free_symbols]
        rest = [self._walk(a) for a in sorted((a for a in node.args if a.free_symbols), key=str)]
        if numbers:
            folded = node.func(*numbers)
            rest.insert(0, folded if folded.is_Integer else self.name(float(sympy.N(folded, 20))))
        return node.func(*rest)


def cpp(expression: sympy.Expr) -> str:
    """C++ text of an expression (Brian 2's own renderer)."""
    return CPPNodeRenderer().render_expr(sympy_to_str(expression))
