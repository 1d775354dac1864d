"""The event-located reference: closed forms, Brian 2 at a fine time step, and events that coincide."""

import numpy as np
import pytest
from brian2 import Network, NeuronGroup, SpikeGeneratorGroup, SpikeMonitor, Synapses, defaultclock, ms, mV, nA, nS, pF

from brian2grad.models.errors import NetworkError
from brian2grad.training import HybridProblem, final_loss, spike_loss

NAMES = {"tau": 10 * ms, "ms": ms, "theta": 1}


def lif(n=1, drive=0.0, **arguments):
    arguments = {"threshold": "v > theta", "reset": "v = 0", **arguments}
    group = NeuronGroup(n, "dv/dt = (E - v)/tau : 1\nE : 1", **arguments)
    group.E = drive
    return group


def run(objects, duration=50 * ms, loss=None, wrt=()):
    group = next(o for o in objects if isinstance(o, NeuronGroup))
    loss = loss or final_loss("v", group)
    return HybridProblem(objects, loss, list(wrt), duration, NAMES)


def times(tape, group):
    return np.array([t for t, name, _ in tape.spikes if name == group.name])


def fed(group, at, weight=2.0, delay=1 * ms):
    spikes = SpikeGeneratorGroup(len(at), range(len(at)), np.array(at) * ms)
    synapses = Synapses(spikes, group, "w : 1", on_pre="v_post += w", delay=delay)
    synapses.connect()
    synapses.w = weight
    return [group, spikes, synapses]


def test_spike_times_and_end_of_a_driven_neuron_in_closed_form():
    group = lif(drive=1.5, refractory=2 * ms)
    tape = run([group]).simulate()
    interval = 0.01 * np.log(3)
    # v keeps moving while the neuron may not spike: the period is shorter than the way to the threshold.
    assert times(tape, group) == pytest.approx(interval * np.arange(1, 5), rel=1e-12)
    assert tape.final(group.name)[0, 0] == pytest.approx(1.5 * (1 - np.exp(-(0.05 - 4 * interval) / 0.01)), rel=1e-11)
    assert tape.least_slope == pytest.approx(50, rel=1e-11)


def test_brian2_tends_to_it_as_the_time_step_goes_to_zero():
    group = NeuronGroup(
        1, "dv/dt = (gL*(EL - v) + (0.3 + 0.2*g)*nA)/C : volt (unless refractory)\ndg/dt = -g/(5*ms) : 1",
        threshold="v > -50*mV", reset="v = -65*mV", refractory=3 * ms, method="euler",
        namespace={"gL": 10 * nS, "EL": -70 * mV, "C": 200 * pF, "nA": nA},
    )  # fmt: skip
    group.v = -70 * mV
    spikes = SpikeGeneratorGroup(1, [0, 0, 0], [2, 11, 17] * ms)
    synapses = Synapses(spikes, group, on_pre="g_post += 1", delay=1.5 * ms)
    synapses.connect()
    monitor = SpikeMonitor(group)
    network = Network(group, spikes, synapses, monitor)
    located = times(HybridProblem(network, spike_loss("t/ms", group), [], 60 * ms, NAMES).simulate(), group)
    network.store()
    errors = []
    for step in (0.02, 0.01):
        network.restore()
        defaultclock.dt = step * ms
        network.run(60 * ms)
        found = np.asarray(monitor.t)
        assert len(found) == len(located)
        errors.append(np.abs(found - located).max())
    defaultclock.dt = 0.1 * ms
    assert errors[1] < 0.7 * errors[0]
    assert errors[0] < 1.5e-4


def test_an_arrival_over_threshold_induces_the_spike_at_its_own_time():
    group = lif()
    objects = fed(group, [3])
    problem = run(objects, loss=spike_loss("t/ms", group), wrt=[(objects[2], "delay"), (objects[1], "spike_time")])
    assert times(problem.simulate(), group) == pytest.approx([0.004], abs=1e-15)
    _, (by_delay, by_time) = problem.loss_and_gradients()
    assert by_delay[0] == pytest.approx(1e3)
    assert by_time[0] == pytest.approx(1e3)


def test_arrivals_at_the_same_time_all_come_before_the_spike_they_induce():
    group = lif()
    tape = run(fed(group, [3, 3, 3], weight=0.6)).simulate()
    assert len(times(tape, group)) == 1
    assert tape.final(group.name)[0, 0] == 0  # all three were in before the reset


def test_simultaneous_spikes_are_taken_in_the_order_of_their_neurons():
    group = lif(n=3, drive=1.5)
    tape = run([group]).simulate()
    assert [i for _, _, i in tape.spikes] == [0, 1, 2] * 4


def test_arrivals_while_refractory_are_held_or_induce_a_spike_at_its_end():
    free = lif(refractory=5 * ms)
    held = NeuronGroup(
        1, "dv/dt = -v/tau : 1 (unless refractory)", threshold="v > theta", reset="v = 0", refractory=5 * ms
    )  # fmt: skip
    assert times(run(fed(free, [1, 3], weight=3)).simulate(), free) == pytest.approx([0.002, 0.007], abs=1e-15)
    assert times(run(fed(held, [1, 3], weight=3)).simulate(), held) == pytest.approx([0.002], abs=1e-15)


def test_a_spike_induced_by_the_end_of_refractoriness_hands_its_time_to_that():
    group = lif(refractory=5 * ms)
    objects = fed(group, [1, 3], weight=3)
    problem = run(objects, 12 * ms, spike_loss("t/ms", group), [(group, "refractory"), (objects[1], "spike_time")])
    _, (by_period, by_time) = problem.loss_and_gradients()
    assert by_period[0] == pytest.approx(1e3)
    assert by_time == pytest.approx([2e3, 0], abs=1e-6)


def test_a_condition_that_has_to_be_left_before_the_next_spike():
    group = NeuronGroup(
        1, "dv/dt = 2*pi*cos(2*pi*t/tau)/tau : 1", threshold="v > 0.5", reset="", refractory="v > 0.5"
    )  # fmt: skip
    found = times(run([group], 40 * ms, spike_loss("t/ms", group)).simulate(), group)
    assert found == pytest.approx(0.01 / 12 + 0.01 * np.arange(4), rel=1e-9)


def test_a_threshold_that_is_nearly_touched_is_reported_and_crossed_between_samples():
    group = NeuronGroup(1, "dv/dt = 2*pi*cos(2*pi*t/tau)/tau : 1", threshold="v > theta*level", reset="v = -3")
    below = HybridProblem([group], final_loss("v", group), [], 20 * ms, {**NAMES, "level": 1 + 1e-7}).simulate()
    assert below.nearest_grazing == pytest.approx(-1e-7, rel=1e-3)
    assert below.spikes == []
    above = HybridProblem([group], final_loss("v", group), [], 5 * ms, {**NAMES, "level": 1 - 1e-7}).simulate()
    assert len(above.spikes) == 1
    assert above.least_slope == pytest.approx(2 * np.pi / 0.01 * np.sqrt(2e-7), rel=1e-3)


def test_a_loop_without_delay_is_refused_when_it_would_spike_without_end():
    group = lif(n=2)
    loop = Synapses(group, group, on_pre="v_post += 2", delay=0 * ms)
    loop.connect(i=[0, 1], j=[1, 0])
    with pytest.raises(NetworkError, match="spikes twice at t = 0.004 s; give the loop that excites it a delay"):
        run([*fed(group, [3]), loop]).simulate()


def test_delays_and_refractory_periods_must_not_be_negative():
    group = lif(refractory="wait", drive=2)
    with pytest.raises(NetworkError, match="the refractory period is -0.001 s"):
        HybridProblem([group], final_loss("v", group), [], 50 * ms, {**NAMES, "wait": -1 * ms}).simulate()
    objects = fed(lif(), [3])
    problem = run(objects)
    with pytest.raises(NetworkError, match="delays must be finite and not negative"):
        problem.simulate({(objects[2]._pathways[0].name, "delay"): np.array([-1e-3])})


def test_statements_read_subexpressions_as_the_lines_before_have_left_them():
    """As Brian 2 does; the target's subexpression in on_pre follows the same rule."""
    group = NeuronGroup(
        1, "dv/dt = (1.4 - v)/tau : 1\ndu/dt = -u/tau : 1\ny = 2*v + u : 1", threshold="v > 1",
        reset="v = 0.1; u += y; v -= 0.2*y", method="exact", namespace=NAMES,
    )  # fmt: skip
    spikes = SpikeGeneratorGroup(1, [0, 0], [3, 17] * ms)
    synapses = Synapses(spikes, group, on_pre="v_post -= 0.1; u_post += 0.3*y_post", delay=2 * ms)
    synapses.connect()
    monitor = SpikeMonitor(group)
    tape = HybridProblem([group, spikes, synapses], final_loss("v", group), [], 40 * ms, NAMES).simulate()
    defaultclock.dt = 0.001 * ms
    Network(group, spikes, synapses, monitor).run(40 * ms)
    assert np.asarray(monitor.t) == pytest.approx(times(tape, group), abs=1e-5)
    assert [group.u[0], group.v[0]] == pytest.approx(tape.final(group.name)[0], abs=3e-4)  # states by name
