"""Brian 2 text to symbolic expressions: statements, conditions, subexpressions."""

import numpy as np
import pytest
import sympy
from brian2 import Equations

from brian2grad.equations import ModelError
from brian2grad.equations.statements import Gate, compose, condition, numeric, parse, substituted, symbol

V, U, W = (symbol(name) for name in "vuw")


# -- statements -----------------------------------------------------------------------------------------------------


def test_statements_are_composed_in_order():
    composed = compose("v = u + 1; u += 2*v\nw = u*v  # uses the new ones")
    assert composed.keys() == {"v", "u", "w"}
    assert sympy.expand(composed["v"] - (U + 1)) == 0
    assert sympy.expand(composed["u"] - (3 * U + 2)) == 0
    assert sympy.expand(composed["w"] - (3 * U + 2) * (U + 1)) == 0


@pytest.mark.parametrize(
    ("statement", "wanted"), [("v += u", V + U), ("v -= u", V - U), ("v *= u", V * U), ("v /= u", V / U)]
)
def test_augmented_assignments(statement, wanted):
    assert sympy.simplify(compose(statement)["v"] - wanted) == 0
    twice = compose(f"{statement}\n{statement}")["v"]
    assert sympy.simplify(twice - wanted.xreplace({V: wanted})) == 0


def test_only_assigned_variables_are_listed():
    assert compose("\n# nothing\n") == {}
    assert set(compose("v = 0; ; u = 1")) == {"v", "u"}


def test_subexpressions_follow_the_statements():
    equations = Equations("twice = 2*v : 1\ndv/dt = -v/(10*ms) : 1")
    assert compose("v += 1; u = twice", lambda text: substituted(equations, text))["u"] == 2 * V + 2


def test_composition_equals_execution():
    """The composed map of a long program, evaluated, is what executing it line by line gives."""
    code = "a = v*u - w\nv += a/3\nu = exp(-a) + v\nw *= u\nv -= w\na = v + u + w"
    start = {"v": 0.3, "u": -0.7, "w": 1.9}
    environment = dict(start) | {"exp": np.exp}
    exec(code, {}, environment)
    for name, expression in compose(code).items():
        value = expression.subs({symbol(n): x for n, x in start.items()})
        assert float(value) == pytest.approx(environment[name], rel=1e-13)


# -- gates and conditions -------------------------------------------------------------------------------------------


def test_gate_is_piecewise_constant():
    expression = parse("v*int(v > u)")
    assert expression == V * Gate(V - U)
    assert expression.diff(V) == Gate(V - U)
    assert expression.diff(U) == 0
    assert parse("int(v < u)") == Gate(U - V)


def test_what_the_parser_does_not_know_gets_a_derivative():
    assert parse("sqrt(v)").diff(V) == 1 / (2 * sympy.sqrt(V))
    assert parse("v*int(not_refractory)").diff(V) == symbol("not_refractory")


@pytest.mark.parametrize("text", ["int(v + u)", "int(v)", "int(v == u)"])
def test_gate_of_anything_but_comparisons_is_refused(text):
    with pytest.raises(ModelError, match="must hold comparisons"):
        parse(text)


def test_condition_is_positive_where_it_holds():
    equations = Equations("dv/dt = -v/(10*ms) : 1\nsquare = v**2 : 1\nlimit = square + 1 : 1")
    assert sympy.expand(condition(equations, "v > limit") - (V - V**2 - 1)) == 0
    assert sympy.expand(condition(equations, "v < limit") - (V**2 + 1 - V)) == 0
    assert sympy.expand(condition(equations, "square > 2*limit") + V**2 + 2) == 0


@pytest.mark.parametrize("text", ["v >= 1", "v > 1 and u > 1", "0 < v < 1", "v", "not_refractory"])
def test_other_conditions_are_refused(text):
    with pytest.raises(ModelError, match="one strict comparison"):
        condition(Equations("dv/dt = -v/(10*ms) : 1\nu : 1"), text)


def test_subexpressions_are_written_out():
    equations = Equations("a = 2*v : 1\nb = a + v : 1\nc = a*b : 1\ndv/dt = -v/(10*ms) : 1")
    assert sympy.expand(substituted(equations, "c") - 6 * V**2) == 0
    assert sympy.expand(substituted(equations, "v + 1") - V - 1) == 0


# -- numbers --------------------------------------------------------------------------------------------------------


def test_numbers_with_units():
    assert numeric(parse("3*mV/(2*ms)")) == pytest.approx(1.5, rel=1e-15)
    with pytest.raises(TypeError, match="'.*v' is not a number"):
        numeric(parse("v*ms"))
