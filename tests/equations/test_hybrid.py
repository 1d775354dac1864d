"""One symbolic system of a model: its maps, their derivatives, what is derived is what Brian 2 executes."""

import itertools

import numpy as np
import pytest
import sympy
from brian2 import Equations, Network, NeuronGroup, Synapses, defaultclock, ms, second

from brian2grad.equations import ModelError, NeuronModel, asynchronous_lif, gamma_memory, lif, spiking_gamma
from brian2grad.equations.hybrid import HybridSystem
from brian2grad.equations.memory import memory_update
from brian2grad.equations.statements import symbol

V, U, W = (symbol(name) for name in "vuw")
ADAPTIVE = NeuronModel(
    """drive = 0.2*u - v : 1
    dv/dt = (exp(0.3*v) + drive)/tau_m : 1
    du/dt = (0.5*v - u)/(30*ms) : 1
    last : 1
    tau_m : second
    V_r : 1
    V_th : 1""",
    threshold="v > V_th*(1 + u**2)",
    reset="v = V_r*u\nu += 0.1*v\nlast = v + drive",
    method="euler",
    name="adaptive",
)
ON_PRE = "gain = 1 - 0.1*u_post\nv_post += w*gain*sent_pre\nu_post *= 1 + w"


def system(model, method=None):
    return HybridSystem.of(model, method=method) if method else HybridSystem.of(model)


def adaptive():
    return HybridSystem.of(ADAPTIVE, on_pre=ON_PRE)


# -- the maps -------------------------------------------------------------------------------------------------------


def test_states_and_parameters():
    found = adaptive()
    assert found.states == ("v", "u", "last")
    assert found.continuous == ("v", "u")
    assert found.parameters == ("V_r", "V_th", "tau_m", "w")
    assert found.flow["last"] == 0
    assert sympy.expand(found.margin - (V - symbol("V_th") * (1 + U**2))) == 0


def test_a_refractory_neuron_is_held():
    found = HybridSystem.of(Equations("dv/dt = -v/tau : 1 (unless refractory)\ntau : second"), method="euler")
    gate = symbol("not_refractory")
    assert found.parameters == ("tau",)
    assert found.flow["v"] == -gate * V / symbol("tau")
    assert sympy.expand(found.step(1e-3).next["v"] - V + 1e-3 * gate * V / symbol("tau")) == 0


def test_statements_of_a_reset_follow_one_another():
    V_r = symbol("V_r")
    found = HybridSystem.of(ADAPTIVE, reset="v = V_r; u += v").reset
    assert found == {"v": V_r, "u": U + V_r}
    assert HybridSystem.of(ADAPTIVE, reset="u += v; v = V_r").reset == {"v": V_r, "u": U + V}


def test_maps_are_completed_by_identities():
    found = HybridSystem.of(spiking_gamma(2, 20 * ms, adaptation=0.1))
    assert found.states == ("z0", "z1", "yhat", "theta_dyn")
    assert [name for name in found.states if found.reset[name] == symbol(name)] == ["z0", "z1"]
    assert found.jump == {n: symbol(n) for n in found.states} | {"z0": symbol("z0") + W * symbol("jump_pre")}
    silent = HybridSystem.of(gamma_memory(2, 20 * ms))
    assert silent.margin is None
    assert silent.reset == silent.jump == {"z0": symbol("z0"), "z1": symbol("z1")}


def test_reset_and_jump_are_what_brian2_executes():
    """One spike into one neuron that it makes spike, in Brian 2 and by the maps."""
    found, values = adaptive(), {"V_r": 0.3, "V_th": 0.5, "w": 0.4, "sent_pre": 1.7}
    pre = NeuronGroup(1, "sent : 1 (constant)", threshold="t < dt/2", name="pre")
    post = NeuronGroup(1, found.equations, threshold="False", method="euler", name="post")
    post.run_regularly(ADAPTIVE.reset, when="end")
    synapses = Synapses(pre, post, "w : 1", on_pre=ON_PRE)
    synapses.connect()
    pre.sent, synapses.w = values["sent_pre"], values["w"]
    post.v, post.u, post.tau_m, post.V_r, post.V_th = 0.8, 1.3, 1e9 * second, values["V_r"], values["V_th"]
    defaultclock.dt = 1e-9 * second  # nothing flows
    Network(pre, post, synapses).run(defaultclock.dt, namespace={})
    x = {"v": 0.8, "u": 1.3, "last": 0.0}
    for after in (found.jump, found.reset):
        x = {n: float(e.subs({symbol(k): y for k, y in (values | x).items()})) for n, e in after.items()}
    for name, value in x.items():
        assert float(getattr(post, name)[0]) == pytest.approx(value, rel=1e-7)


def test_one_text_is_one_system_and_the_method_belongs_to_it():
    a, b = HybridSystem.of(asynchronous_lif(10 * ms)), HybridSystem.of(asynchronous_lif(20 * ms, 0.5))
    assert a is b
    assert a.step(symbol("dt")) is b.step(symbol("dt"))
    euler = system(asynchronous_lif(10 * ms), "euler")
    assert euler.step(1e-3).next["v"] != a.step(1e-3).next["v"]
    assert euler.decay("tau_m")([0.01], 1e-3) == pytest.approx(0.9, rel=1e-12)
    assert a.decay("tau_m")([0.01], 1e-3) == pytest.approx(np.exp(-0.1), rel=1e-15)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (ADAPTIVE, {"on_pre": "v += w"}, "on_pre of 'adaptive' names 'v'.*write 'v_post'"),
        (ADAPTIVE, {"on_pre": "v_post += u"}, "names 'u'.*give the synapse's variable another name"),
        (ADAPTIVE, {"on_pre": "sent_pre += w"}, "changes 'sent_pre'.*neuron that receives"),
        (ADAPTIVE, {"reset": "drive = 0"}, "assigns to 'drive', which its equations define"),
        (ADAPTIVE, {"threshold": "v > V_th and u > 0"}, "must be one strict comparison"),
        (ADAPTIVE, {"resets": "v = 0"}, "'resets' is no part of a model; give name, threshold"),
        (Equations("dv/dt = -v/ms + xi/ms**0.5 : 1"), {"name": "noisy"}, r"'noisy' contains noise \(xi\)"),
    ],
)
def test_what_no_system_is_made_of(model, options, message):
    with pytest.raises(ModelError, match=message):
        HybridSystem.of(model, **options)


# -- derivatives ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["flow", "margin", "reset", "jump"])
def test_jacobians_are_finite_differences(of):
    found = adaptive()
    rng = np.random.default_rng(3)
    names = (*found.states, *found.parameters)
    point = dict(zip((*names, "sent_pre"), rng.uniform(0.5, 1.5, len(names) + 1), strict=True)) | {"ms": 1e-3}
    rows = list(found.expressions(of).values())
    arguments = [symbol(n) for n in point]
    evaluate = sympy.lambdify(arguments, rows, "numpy")
    jacobian = found.jacobian(of, names)
    assert jacobian.shape == (1 if of == "margin" else len(found.states), len(names))
    exact = np.array(sympy.lambdify(arguments, jacobian, "numpy")(*point.values()), float)
    for column, name in enumerate(names):
        h = 1e-4
        up, down = (np.array(evaluate(*(point | {name: point[name] + s * h}).values()), float) for s in (1, -1))
        np.testing.assert_allclose(exact[:, column], (up - down) / (2 * h), rtol=1e-6, atol=1e-8)


def test_jacobian_of_expressions_and_of_one_name():
    found = adaptive()
    assert found.jacobian(V * U**2, "u") == sympy.Matrix([[2 * U * V]])
    assert found.jacobian({"a": V * U, "b": V}, ("v", "u")) == sympy.Matrix([[U, V], [1, 0]])


@pytest.mark.parametrize(
    ("rate", "cause"), [("clip(v, 0, 1)", "clip"), ("floor(v)", "floor"), ("sign(v)", "DiracDelta"), ("f(v)", "f")]
)
def test_what_has_no_derivative_is_refused(rate, cause):
    found = HybridSystem.of(Equations(f"dv/dt = {rate}/ms : 1\ndu/dt = -u/ms : 1"), name="clipped")
    assert found.jacobian("flow", "u") == sympy.Matrix([0, -1 / symbol("ms")])
    with pytest.raises(
        ModelError, match=f"'clipped': flow of 'v', .* no derivative by 'v' because of .*{cause}.*gates"
    ):
        found.jacobian("flow", ("u", "v"))


def test_unknown_maps_are_refused():
    with pytest.raises(ModelError, match="'flaw' is no map of 'adaptive'; there are flow, margin, reset, jump"):
        adaptive().jacobian("flaw", "v")
    with pytest.raises(ModelError, match="'gamma_memory' has no margin"):
        HybridSystem.of(gamma_memory(2, 20 * ms)).jacobian("margin", "z0")


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
    "exact gamma": gamma_memory(3, [10, 25, 17] * ms, memory="continuous"),
    "exact reversed gamma": gamma_memory(3, [10, 25, 17] * ms, memory="continuous", transposed=True),
    "exact spiking gamma": spiking_gamma(3, 20 * ms, adaptation=0.1, bias=False, memory="continuous"),
    "exact beside nonlinear": gamma_memory(2, 20 * ms, memory="continuous") + "du/dt = (z1 - u**3)/(10*ms) : 1",
}


def assert_map_equals_run(model, method, dt=3e-3, n_steps=4):
    """Iterate the derived map with NumPy and let Brian 2 run the same equations."""
    step = system(model, method).step(dt)
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
def test_step_is_what_brian2_executes(name, method):
    assert_map_equals_run(MODELS[name], method)


@pytest.mark.parametrize("name", EXACT)
def test_step_of_the_exact_memory(name):
    assert_map_equals_run(EXACT[name], None)


def test_symbolic_step():
    h = sympy.Symbol("h", positive=True)
    step = system(lif(10 * ms)).step(h)
    assert float((step.next["v"] / V).subs({h: 5e-3})) == pytest.approx(np.exp(-0.5), rel=1e-15)


def test_symbolic_step_of_an_updater_that_needs_numbers_is_refused():
    with pytest.raises(ModelError, match="gamma_memory.*number of seconds, not for the symbol h"):
        system(EXACT["exact gamma"]).step(symbol("h"))


def test_linear_part_of_a_step():
    step = system(MODELS["coupled"], "euler").step(2e-3)
    with pytest.raises(ModelError, match="constant part 0.1"):
        step.linear(("v", "g"))
    np.testing.assert_allclose(step.linear(("g",)), [[0.5]], rtol=1e-14)
    with pytest.raises(ModelError, match="not linear with constant coefficients"):
        step.linear(("v",))
    quadratic = system(MODELS["quadratic"], "euler").step(2e-3)
    with pytest.raises(ModelError, match="The update of 'v'.*is not linear"):
        quadratic.linear(("v", "u"))


# -- decay ----------------------------------------------------------------------------------------------------------

FACTORS = {
    "exact": lambda x: np.exp(-x),
    "exponential_euler": lambda x: np.exp(-x),
    "euler": lambda x: 1 - x,
    "rk2": lambda x: 1 - x + x**2 / 2,
    "rk4": lambda x: 1 - x + x**2 / 2 - x**3 / 6 + x**4 / 24,
}


@pytest.mark.parametrize("method", FACTORS)
def test_decay_of_one_state_for_every_method(method):
    dt, tau, h = 3e-3, np.array([10e-3, 25e-3]), 1e-6
    decay = system(asynchronous_lif(10 * ms), method).decay("tau_m")
    np.testing.assert_allclose(decay([tau], dt)[0, 0], FACTORS[method](dt / tau), rtol=1e-14)
    np.testing.assert_allclose(decay.generator([tau])[0, 0], -1 / tau, rtol=1e-15)
    difference = (decay([tau + h], dt) - decay([tau - h], dt)) / (2 * h)
    np.testing.assert_allclose(decay.derivatives([tau], dt)[0], difference, rtol=1e-6)


def test_decay_of_some_states_of_a_model():
    found = HybridSystem.of(COUPLED_MODEL := NeuronModel(COUPLED.replace("tau_s = 4*ms", "tau_s"), method="euler"))
    decay = found.decay(states=["g"])
    assert (decay.states, decay.parameters) == (("g",), ("tau_s",))
    assert decay([4e-3], 1e-3) == pytest.approx(0.75)
    assert COUPLED_MODEL.method == found.method


@pytest.mark.parametrize(
    ("text", "by", "message"),
    [
        ("dv/dt = (1 - v)/tau : 1", "tau", "'neuron': dv/dt = .* is no decay to zero, linear in v and nothing else"),
        ("dv/dt = -v**2/tau : 1", "tau", "is no decay to zero"),
        ("dv/dt = -v/tau : 1\nk : 1\n", (), "decay of 'neuron' depends on 'tau'; it may only depend on none"),
        ("dv/dt = -v*k/tau : 1\nk : 1\n", "tau", "depends on 'k'; it may only depend on tau"),
    ],
)
def test_what_does_not_decay_is_refused(text, by, message):
    with pytest.raises(ModelError, match=message):
        HybridSystem.of(NeuronModel(text + "\ntau : second", method="euler")).decay(by)


# -- time constants -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("memory", ["paper", "continuous"])
def test_memory_update_is_the_update_of_the_equations(memory, transposed):
    taus, dt = np.array([10e-3, 25e-3, 17e-3, 25e-3]), 5e-3
    model = gamma_memory(4, taus * second, memory=memory, transposed=transposed)
    matrix = system(model).step(dt).linear(tuple(f"z{k}" for k in range(4)))
    np.testing.assert_allclose(memory_update(4, memory, transposed)(taus, dt), matrix, rtol=1e-13, atol=0)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("memory", ["paper", "continuous"])
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
