"""What is read from the user's Brian 2 objects, and what is refused with which remedy."""

import pytest
import sympy
from brian2 import NeuronGroup, Synapses, TimedArray, check_units, linked_var, ms, mV

from brian2grad.equations import ModelError
from brian2grad.equations.brian.extraction import neuron_of
from brian2grad.equations.brian.jacobians import neuron_jacobians
from brian2grad.equations.brian.pathways import pathways_of, targets_of
from brian2grad.equations.statements import Gate, symbol


def group_of(model="dv/dt = -v/tau : 1", threshold="v > 1", reset="v = 0", **arguments):
    return NeuronGroup(2, model, threshold=threshold, reset=reset, **arguments)


NAMES = {"tau": 10 * ms, "theta": 1.5, "ms": ms, "mV": mV}


def test_flow_with_subexpressions_inputs_and_gate():
    array = TimedArray([1, 2] * mV, dt=1 * ms)
    group = group_of(
        """dv/dt = (drive - v)/tau : volt (unless refractory)
           drive = E + array(t) : volt
           E : volt (constant)""",
        threshold="v > theta*mV and not_refractory", reset="v = 0*mV", refractory=3 * ms,
    )  # fmt: skip
    neuron = neuron_of(group, {**NAMES, "array": array})
    v, E, tau, gate, held = map(symbol, ("v", "E", "tau", "not_refractory", "array_at_t"))
    assert sympy.simplify(neuron.system.flow["v"] - gate * (E + held - v) / tau) == 0
    assert neuron.system.margin == v - symbol("theta") * symbol("mV")
    assert neuron.gated == ("v",)
    assert neuron.refractory == symbol("refractory")
    assert neuron.constants == {"refractory": 0.003, "tau": 0.01, "theta": 1.5}
    assert neuron.inputs == {held: (array, False)}
    assert set(neuron.system.parameters) == {"E", "tau", "theta", "refractory"}


def test_reset_statements_are_composed_in_order_and_make_parameters_states():
    group = group_of("dv/dt = -v/tau : 1\nu : 1", reset="v = 0.5*u; u += v")
    neuron = neuron_of(group, NAMES)
    assert neuron.system.states == ("v", "u")
    assert neuron.system.flow["u"] == 0
    assert sympy.simplify(neuron.system.reset["u"] - 1.5 * symbol("u")) == 0


def test_a_threshold_from_below_and_square_roots():
    neuron = neuron_of(group_of("dv/dt = -sqrt(v)/tau : 1", threshold="0.5 < v"), NAMES)
    assert neuron.system.margin == symbol("v") - 0.5
    assert sympy.simplify(neuron.system.flow["v"].diff(symbol("v")) * 2 * sympy.sqrt(symbol("v")) * symbol("tau")) == -1


def test_refractory_condition_that_repeats_the_threshold():
    neuron = neuron_of(group_of(reset="", threshold="v > 1", refractory="v > 1"), NAMES)
    assert neuron.rearms
    assert neuron.refractory is None


def test_jump_is_held_while_refractory():
    group = group_of("dv/dt = -v/tau : 1 (unless refractory)\ndg/dt = -g/tau : 1", refractory=2 * ms)
    synapses = Synapses(group, group, "w : 1", on_pre="g_post += w; v_post += 2*g_post")
    assert targets_of(synapses) == {"v", "g"}
    neuron = neuron_of(group, NAMES, targets_of(synapses))
    (pathway,) = pathways_of(synapses, neuron, NAMES)
    v, g, w = map(symbol, "vgw")
    assert sympy.expand(pathway.jump["v"] - v - 2 * g - 2 * w) == 0
    assert pathway.jump_refractory == {"g": g + w}
    assert pathway.parameters == {"w": "w"}


REFUSED = {
    "noise": ({"model": "dv/dt = -v/tau + xi*tau**-0.5 : 1"}, "noise .*no derivative; remove it, or give one recorded"),
    "rand": ({"reset": "v = rand()"}, "draw the random numbers once, into a parameter"),
    "clip": ({"model": "dv/dt = -clip(v, 0, 1)/tau : 1"}, r"'clip\(v, 0, 1\)' has no derivative; write a smooth"),
    "modulo": ({"model": "dv/dt = -(v % 1)/tau : 1"}, "give the periodic input as a TimedArray or with sin"),
    "switch": ({"model": "dv/dt = -int(v > 0.5)*v/tau : 1"}, r"'int\(v - 0.5 > 0\)' switches where 'v' crosses"),
    "two conditions": ({"threshold": "v > 1 or v < -1"}, "must be one comparison"),
    "not a comparison": ({"threshold": "v == 1"}, "must be written with > or <"),
    "refractory condition": ({"refractory": "v > 0.5"}, "supported only if it repeats the threshold"),
    "changing refractory": ({"refractory": "v*ms"}, "changes in time; give a time"),
    "last spike": (
        {"model": "dv/dt = -v/tau + lastspike/tau**2 : 1", "refractory": 1 * ms},
        "no meaning in continuous",
    ),
    "unknown name": ({"model": "dv/dt = -v/tau_x : 1"}, "'tau_x' is neither a variable"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_expression_and_the_remedy(case):

    arguments, message = REFUSED[case]
    group = group_of(**arguments)
    with pytest.raises(ModelError, match=message) as error:
        neuron_jacobians(neuron_of(group, NAMES))
    assert f"'{group.name}'" in str(error.value)


def test_user_functions_and_linked_variables_are_refused():
    @check_units(x=1, result=1)
    def curve(x):
        return x**2

    with pytest.raises(ModelError, match=r"call register_derivative\(curve, '...'\)"):
        neuron_of(group_of("dv/dt = -curve(v)/tau : 1"), {**NAMES, "curve": curve})
    one = group_of()
    two = group_of("dv/dt = (x - v)/tau : 1\nx : 1 (linked)")
    two.x = linked_var(one, "v")
    with pytest.raises(ModelError, match="'x' is linked to a variable of another group that changes in time"):
        neuron_of(two, NAMES)


def test_conditions_in_expressions_become_switches():
    v, tau = symbol("v"), symbol("tau")
    flow = neuron_of(group_of("dv/dt = -v*int(v >= 0.5 and not v > 2 or v < -1)/tau : 1"), NAMES).system.flow["v"]
    for value, on in ((0.7, 1), (0.3, 0), (2.5, 0), (-3, 1)):
        found = flow.xreplace({v: sympy.Float(value), tau: sympy.Float(1)}).replace(Gate, _step)
        assert float(found) == -value * on


def _step(x):
    return sympy.Integer(bool(x > 0))


def test_a_switch_is_differentiated_where_both_sides_meet_and_refused_elsewhere():
    v = symbol("v")
    joined = neuron_jacobians(neuron_of(group_of("dv/dt = (1 - (v - 0.5)*int(v > 0.5))/ms : 1"), NAMES))
    assert sympy.simplify(joined.flow_x[0] + Gate(v - 0.5) / symbol("ms")) == 0
    with pytest.raises(ModelError, match=r"'int\(v - 0.5 > 0\)' switches where 'v' crosses a value"):
        neuron_jacobians(neuron_of(group_of("dv/dt = (1 - v*int(v > 0.5))/ms : 1"), NAMES))
    group = group_of("dv/dt = -v/ms : 1\ndu/dt = -u/ms : 1", reset="v = u*int(u > 0.5)")
    reset = neuron_jacobians(neuron_of(group, NAMES))
    names = [x.name for x in reset.x]
    assert reset.reset_x[names.index("v"), names.index("u")] == Gate(symbol("u") - 0.5)


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("w : 1", {"on_pre": "v_pre += w"}, "alters 'v_pre'"),
        ("w : 1", {"on_pre": "v_post += w*v_pre"}, "'v_pre' is a variable of the source that changes in time"),
        ("total_post = w : 1 (summed)\nw : 1", {}, "summed variables couple neurons"),
        ("dx/dt = -x/tau : 1 (clock-driven)", {"on_pre": "v_post += x"}, "'x' is integrated in every time step"),
        (
            "w : 1",
            {"on_pre": {"path": "v_post += w"}, "on_event": {"path": "other"}},
            "'path' follows the event 'other'",
        ),
        ("w : 1", {"on_pre": "v_post += w*rand()"}, "draw the random numbers once"),
    ],
)
def test_synapses_that_are_refused(model, arguments, message):
    group = group_of("dv/dt = -v/tau : 1\ntotal : 1", events={"other": "v > 2"})
    synapses = Synapses(group, group, model, **arguments)
    with pytest.raises(ModelError, match=message):
        pathways_of(synapses, neuron_of(group, NAMES, targets_of(synapses)), NAMES)


def test_run_regularly_is_refused():
    group = group_of()
    group.run_regularly("v = 0", dt=1 * ms)
    with pytest.raises(ModelError, match="run_regularly acts on a clock"):
        neuron_of(group, NAMES)
