"""Brian 2 text to symbolic maps: what is derived is what Brian 2 executes."""

import itertools

import numpy as np
import pytest
import sympy
from brian2 import Equations, Network, NeuronGroup, defaultclock, ms, second

from brian2grad.equations import ModelError, NeuronModel, gamma_memory, lif, spiking_gamma
from brian2grad.equations.memory import memory_update
from brian2grad.equations.update import Gate, compose, condition, parse, substituted, symbol, update_map

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


@pytest.mark.parametrize("text", ["int(v >= u)", "int(v)", "int(v == u)"])
def test_gate_of_anything_but_a_strict_comparison_is_refused(text):
    with pytest.raises(ModelError, match="one strict comparison"):
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


# -- one step -------------------------------------------------------------------------------------------------------

COUPLED = """dv/dt = (0.5 - v + g)/(10*ms) : 1
dg/dt = -g/tau_s : 1
tau_s = 4*ms : second"""
MODELS = {
    "lif": lif(10 * ms),
    "coupled": NeuronModel(COUPLED),
    "quadratic": NeuronModel("dv/dt = (v*(v - 1) + u)/(10*ms) : 1\ndu/dt = (0.2*v - u)/(30*ms) : 1"),
    "gamma": gamma_memory(3, [10, 25, 17] * ms, memory="paper"),
    "reversed gamma": gamma_memory(3, [10, 25, 17] * ms, memory="paper", transposed=True),
    "driven gamma": gamma_memory(2, 20 * ms, drive="0.3", memory="paper"),
    "spiking gamma": spiking_gamma(3, 20 * ms, adaptation=0.1, bias=False),
}
METHODS = {"exact", "exponential_euler", "euler", "rk2"}
IMPOSSIBLE = {("quadratic", "exact"), ("quadratic", "exponential_euler")}
# Brian 2's symbolic solution of chains with different rates takes very long: that is why `exact_memory` exists.
CASES = [
    (name, method)
    for name, method in itertools.product(MODELS, sorted(METHODS))
    if (name, method) not in IMPOSSIBLE and not (method == "exact" and "gamma" in name)
]
EXACT = {
    "exact gamma": gamma_memory(3, [10, 25, 17] * ms, memory="exact"),
    "exact reversed gamma": gamma_memory(3, [10, 25, 17] * ms, memory="exact", transposed=True),
    "exact spiking gamma": spiking_gamma(3, 20 * ms, adaptation=0.1, bias=False, memory="exact"),
    "exact beside nonlinear": gamma_memory(2, 20 * ms, memory="exact") + "du/dt = (z1 - u**3)/(10*ms) : 1",
}


def assert_map_equals_run(model, method, dt=3e-3, n_steps=4):
    """Iterate the derived map with NumPy and let Brian 2 run the same equations."""
    step = update_map(model, dt, method)
    rng = np.random.default_rng(5)
    state = {name: rng.uniform(0.2, 1.5, 6) for name in step.states}
    defaultclock.dt = dt * second
    group = NeuronGroup(6, Equations(list(model.values())), method=method or model.method)
    for name, value in state.items():
        setattr(group, name, value)
    Network(group).run(n_steps * dt * second, namespace={})
    functions = {name: sympy.lambdify([symbol(s) for s in step.states], e, "numpy") for name, e in step.next.items()}
    for _ in range(n_steps):
        state = {name: function(*state.values()) for name, function in functions.items()}
    for name, value in state.items():
        np.testing.assert_allclose(np.asarray(getattr(group, name)), value, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(("name", "method"), CASES)
def test_update_map_is_what_brian2_executes(name, method):
    assert_map_equals_run(MODELS[name], method)


@pytest.mark.parametrize("name", EXACT)
def test_update_map_of_the_exact_memory(name):
    assert_map_equals_run(EXACT[name], None)


def test_symbolic_step():
    step = update_map(lif(10 * ms), sympy.Symbol("h", positive=True), "exact")
    h = sympy.Symbol("h", positive=True)
    assert float((step.next["v"] / V).subs({h: 5e-3})) == pytest.approx(np.exp(-0.5), rel=1e-15)


def test_linear_part_of_a_step():
    step = update_map(MODELS["coupled"], 2e-3, "euler")
    with pytest.raises(ModelError, match="constant part 0.1"):
        step.linear(("v", "g"))
    np.testing.assert_allclose(step.linear(("g",)), [[0.5]], rtol=1e-14)
    with pytest.raises(ModelError, match="not linear with constant coefficients"):
        step.linear(("v",))
    quadratic = update_map(MODELS["quadratic"], 2e-3, "euler")
    with pytest.raises(ModelError, match="The update of 'v'.*is not linear"):
        quadratic.linear(("v", "u"))


# -- time constants -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("memory", ["paper", "exact"])
def test_memory_update_is_the_update_of_the_equations(memory, transposed):
    taus, dt = np.array([10e-3, 25e-3, 17e-3, 25e-3]), 5e-3
    model = gamma_memory(4, taus * second, memory=memory, transposed=transposed)
    matrix = update_map(model, dt).linear(tuple(f"z{k}" for k in range(4)))
    np.testing.assert_allclose(memory_update(4, memory, transposed)(taus, dt), matrix, rtol=1e-13, atol=0)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("memory", ["paper", "exact"])
@pytest.mark.parametrize("taus", [[10e-3, 25e-3, 17e-3, 40e-3], [20e-3] * 4], ids=["different", "equal"])
def test_memory_update_derivatives_are_finite_differences(memory, transposed, taus):
    taus, dt = np.array(taus), 5e-3
    update = memory_update(4, memory, transposed)
    derivatives = update.derivatives(taus, dt)
    assert derivatives.shape == (4, 4, 4)
    for k in range(4):
        h = 1e-3 * taus[k] * np.eye(4)[k]
        # fourth order, so that the step can be large and rounding small
        difference = (
            8 * (update(taus + h, dt) - update(taus - h, dt)) - update(taus + 2 * h, dt) + update(taus - 2 * h, dt)
        ) / (12 * h[k])
        np.testing.assert_allclose(derivatives[k], difference, rtol=1e-7, atol=1e-9)
        assert np.abs(derivatives[k]).max() > 0.1
