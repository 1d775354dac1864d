"""The derived adjoint against published equations, its units and its text."""

import pytest
import sympy
from brian2 import Equations, Network, NeuronGroup, Synapses, check_units, farad, ms, mV, second
from brian2.core.base import BrianObjectException

from brian2grad.equations import ModelError, derive_adjoint, lif, register_derivative
from brian2grad.equations.brian.adjoint import symbol_of_equation
from brian2grad.equations.statements import symbol


def eventprop_group(**arguments):
    return NeuronGroup(
        2,
        """dV/dt = (I - V)/tau_m : 1
           dI/dt = -I/tau_s : 1
           tau_m : second (constant, shared)
           tau_s : second (constant, shared)""",
        threshold="V > theta", reset="V = 0", **arguments,
    )  # fmt: skip


def equal(left, right):
    return sympy.simplify(left - right) == 0


def test_lif_adjoint_is_eventprop():
    """Wunderlich & Pehle 2021, tables 1 and 2, with lambda_V = -p_V/tau_m and lambda_I = -p_I/tau_s."""
    theta = 1  # noqa: F841
    group = eventprop_group()
    synapses = Synapses(group, group, "w : 1", on_pre="I_post += w")
    adjoint = derive_adjoint(group, synapses)
    names = ("p_V", "p_I", "tau_m", "tau_s", "V", "I", "theta", "w", "kappa", "slope")
    p_V, p_I, tau_m, tau_s, V, I, threshold, w, kappa, slope = map(symbol, names)  # noqa: E741
    lambda_V, lambda_I = map(symbol, ("lambda_V", "lambda_I"))
    published = {p_V: -tau_m * lambda_V, p_I: -tau_s * lambda_I}

    def rate(name):
        return symbol_of(adjoint, name).xreplace(published)

    assert equal(tau_m * (-rate("p_V") / tau_m), -lambda_V)
    assert equal(tau_s * (-rate("p_I") / tau_s), -lambda_I + lambda_V)
    # A spike of the sender at which the receiver has lambda_V, lambda_I hands over w (lambda_V - lambda_I).
    arrival = adjoint.rule(synapses._pathways[0].name)
    assert equal(arrival.kappa.xreplace(published), w * (lambda_V - lambda_I))
    assert equal(arrival.gradient["delay"], kappa)  # Meszaros, Knight & Nowotny 2025
    assert equal(arrival.gradient["w"].xreplace(published), -tau_s * lambda_I)
    assert arrival.state == {"V": p_V, "I": p_I}
    # lambda_V before = lambda_V after times V'(after)/V'(before), plus what came back over tau_m V'(before).
    spike = adjoint.rule("spike")
    total = spike.kappa.xreplace(published)  # of what came back and of the reset's own shift in time
    before = spike.state["V"].subs({kappa: total, slope: (I - V) / tau_m}).xreplace(published) / -tau_m
    expected = lambda_V + (threshold * lambda_V + kappa) / (I - V)
    assert equal(before.subs(V, threshold), expected.subs(V, threshold))
    assert equal(spike.gradient["theta"], kappa / slope)
    assert equal(symbol_of(adjoint, "q_tau_m").xreplace(published), lambda_V * (I - V) / tau_m)


def symbol_of(adjoint, name):
    return symbol_of_equation(adjoint.equations, name)


def test_brian_checks_the_units_of_the_adjoint():
    group = NeuronGroup(1, "dv/dt = (E - v)/tau + I/C : volt\nE : volt\ntau : second\nI : amp\nC : farad")
    adjoint = derive_adjoint(group, loss_unit=second)
    assert isinstance(adjoint.equations, Equations)
    assert adjoint.equations["p_v"].dim == (second / (1 * mV)).dim
    run = NeuronGroup(1, adjoint.equations, method="euler")
    run.tau, run.C = 10 * ms, 1 * farad
    Network(run).run(0.2 * ms)
    wrong = [*adjoint.equations.values()]
    wrong[0] = type(wrong[0])(wrong[0].type, "p_v", ms.dim, expr=wrong[0].expr)
    broken = NeuronGroup(1, Equations(wrong), method="euler")
    with pytest.raises(BrianObjectException):
        Network(broken).run(0.1 * ms)


def test_prints_equations_rules_and_tape():
    V_r, theta = 0, 1  # noqa: F841
    group = NeuronGroup(
        1, "dv/dt = (I - v)/tau : 1 (unless refractory)\ndI/dt = -I/tau : 1\ntau : second", threshold="v > theta",
        reset="v = V_r", refractory=2 * ms, name="readable",
    )  # fmt: skip
    adjoint = derive_adjoint(group)
    text = str(adjoint)
    for line in (
        "Adjoint of 'readable': p_x = dL/dx, time runs backward",
        "dp_v/dt = -active*p_v/tau : 1",
        "at the end of the refractory period:",
        "dL/drefractory += kappa",
        "at a spike:",
        "slope = (I - v)/tau",
        "p_v = -kappa/slope",
        "dL/dV_r += p_v",
        "tape: flow: I, v; refractory end: I, v; spike: I, v",
    ):
        assert line in text, text
    assert r"\frac{d p_{v}}{ds}" in adjoint._repr_latex_()


def test_variables_without_a_reset_keep_their_share_of_a_spike():
    """u has no reset statement, but its rate jumps with v and the threshold moves with it."""
    group = NeuronGroup(
        1, "dv/dt = (E - v)/tau : 1\ndu/dt = (v - u)/tau_u : 1\nE : 1\ntau : second\ntau_u : second",
        threshold="v > 1 + u", reset="v = 0",
    )  # fmt: skip
    spike = derive_adjoint(group).rule("spike")
    p_u, p_v, v, tau, tau_u, kappa, slope = map(symbol, ("p_u", "p_v", "v", "tau", "tau_u", "kappa", "slope"))
    E = symbol("E")
    assert equal(spike.kappa, kappa + p_u * v / tau_u - p_v * E / tau)
    assert equal(spike.state["u"], p_u + kappa / slope)


def test_models_without_a_group():
    adjoint = derive_adjoint(lif(tau_m=10 * ms, V_th=1, refractory=2 * ms))
    assert "dp_v/dt = -p_v/(10*ms) : 1" in str(adjoint)
    with pytest.raises(ModelError, match="has no parameters \\['tau'\\]"):
        derive_adjoint(lif(tau_m=10 * ms), wrt=["tau"])
    with pytest.raises(ModelError, match="is not a NeuronGroup"):
        derive_adjoint("dv/dt = -v/tau : 1")


def test_a_registered_derivative_makes_a_function_usable():
    @check_units(x=1, result=1)
    def squash(x):
        return x / (1 + abs(x))

    group = NeuronGroup(1, "dv/dt = (squash(v) - v)/(10*ms) : 1")
    with pytest.raises(
        ModelError, match=r"the derivative of 'squash\(v\)' is not known; call register_derivative\(squash"
    ):
        derive_adjoint(group)
    register_derivative(squash, "1/(1 + abs(x))**2")
    assert "abs(v)" in str(derive_adjoint(group))
