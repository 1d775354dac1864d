"""The exact gradient against central differences of the oracle, for every model and parameter class."""

import gc
import logging
import re

import numpy as np
import pytest
from brian2 import (
    DimensionMismatchError,
    Network,
    NeuronGroup,
    PoissonGroup,
    SpikeGeneratorGroup,
    SpikeMonitor,
    Synapses,
    TimedArray,
    defaultclock,
    get_dimensions,
    linked_var,
    ms,
    mV,
    second,
)
from differences import relative_errors
from hybrid_cases import CASES, adaptive, lif_current

from brian2grad import final_loss, integral_loss, spike_loss, value_and_grad
from brian2grad.equations import ModelError
from brian2grad.models.errors import NetworkError
from brian2grad.models.hybrid.adjoint import Backward
from brian2grad.training import HybridProblem, max_loss
from brian2grad.training.errors import TrainingError

# The gradient of the model itself is better than 1e-9; what limits AdEx is the stencil.
TOLERANCE = 1e-6


def problem_of(case):
    return HybridProblem(case.network, case.loss, case.wrt, case.duration, case.namespace, engine="oracle")


LONG = ("adex", "conductance", "lif_current", "lif_induced")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.long) if n in LONG else n for n in CASES])
def test_gradient_equals_central_differences(name):
    problem = problem_of(CASES[name]())
    assert len(problem.simulate().spikes) >= 9
    errors = relative_errors(problem)
    assert max(errors.values()) < TOLERANCE, {k: v for k, v in errors.items() if v >= TOLERANCE}


def test_remainder_of_the_first_order_expansion_is_of_second_order():
    problem = problem_of(adaptive())
    value, gradients = problem.loss_and_gradients()
    generator = np.random.default_rng(4)
    base = {k: problem.network.values[k] for k in problem.keys}
    direction = {k: generator.uniform(-1, 1, b.size) * np.abs(b) for k, b in base.items()}
    slope = sum(g @ direction[k] for k, g in zip(problem.keys, gradients, strict=True))
    steps = 2.0 ** -np.arange(10, 15)
    rest = [abs(problem.loss({k: b + h * direction[k] for k, b in base.items()}) - value - h * slope) for h in steps]
    order = np.polyfit(np.log(steps), np.log(rest), 1)[0]
    assert order == pytest.approx(2, abs=0.05)


def test_units_of_the_gradients_are_those_of_the_loss_over_the_variable():
    case = lif_current()
    value, gradients = value_and_grad(case.network, case.loss, case.wrt, case.duration, namespace=case.namespace)
    assert get_dimensions(value) == get_dimensions(1)
    for (_, name), gradient in zip(case.wrt, gradients, strict=True):
        timed = name in ("tau_m", "tau_s", "refractory", "delay", "spike_time")
        assert get_dimensions(gradient) == get_dimensions(1 / second if timed else 1), name
        assert gradient.shape == ((1,) if name in ("tau_s", "theta", "V_r", "refractory") else gradient.shape)


def test_a_largest_value_has_its_own_unit():
    group = NeuronGroup(1, "dv/dt = (E - v)/tau : volt\nE : volt", method="exact")
    group.E = 2 * mV
    names = {"tau": 10 * ms, "ms": ms}
    value, (by_tau,) = value_and_grad([group], max_loss("v", group), [(group, "tau")], 5 * ms, namespace=names)
    assert get_dimensions(value) == get_dimensions(1 * mV)
    assert float(value) == pytest.approx(2e-3 * (1 - np.exp(-0.5)), rel=1e-9)
    assert get_dimensions(by_tau) == get_dimensions(1 * mV / second)
    both = max_loss("v", group) + final_loss("v**2", group)
    with pytest.raises(DimensionMismatchError, match="cannot be added"):
        value_and_grad([group], both, [(group, "tau")], 5 * ms, namespace=names)


def lonely(drive=1.5, threshold="v > theta", reset="v = 0", **arguments):
    group = NeuronGroup(1, "dv/dt = (E - v)/tau : 1\nE : 1", threshold=threshold, reset=reset, **arguments)
    group.E = drive
    return group


def test_names_are_found_where_the_call_stands():
    theta, tau = 1, 10 * ms
    group = lonely()
    monitor = SpikeMonitor(group)
    value, (by_theta, by_tau) = value_and_grad(
        Network(group, monitor), spike_loss("t/ms", group), [(group, "theta"), (group, "tau")], 12 * ms
    )
    assert float(value) == pytest.approx(float(tau / ms) * np.log(3), rel=1e-12)
    assert float(by_theta[0]) == pytest.approx(10 / (1.5 - theta), rel=1e-11)
    assert float(by_tau[0]) == pytest.approx(np.log(3) * 1e3, rel=1e-11)


def test_a_neuron_that_never_fires_has_a_loss_and_gradient_of_zero():
    theta, tau = 1, 10 * ms  # noqa: F841
    group = lonely(drive=0.9)
    value, (by_theta,) = value_and_grad([group], spike_loss("t/ms", group), [(group, "theta")], 50 * ms)
    assert value == 0
    assert by_theta[0] == 0


def test_a_timed_array_drives_the_neuron_and_the_loss():
    tau, theta = 10 * ms, 1  # noqa: F841
    drive = TimedArray([[1.2, 1.5], [1.9, 0.4], [1.3, 1.8]], dt=11 * ms)
    target = TimedArray([0.1, 0.5], dt=17 * ms)  # noqa: F841
    group = NeuronGroup(2, "dv/dt = (k*drive(t, i) - v)/tau : 1\nk : 1", threshold="v > theta", reset="v = 0")
    group.k, group.v = 1.1, 0.1
    loss = integral_loss("(v - target(t))**2/ms", group) + spike_loss("t/ms", group)
    problem = HybridProblem([group], loss, [(group, n) for n in ("k", "tau", "theta", "v")], 40 * ms, engine="oracle")
    assert len(problem.simulate().spikes) > 3
    assert max(relative_errors(problem).values()) < TOLERANCE
    assert drive.values.shape == (3, 2)


def test_a_timed_array_scales_what_arrives():
    tau = 10 * ms  # noqa: F841
    scale, by_neuron = TimedArray([0.5, 1, 1.5], dt=9 * ms), TimedArray([[0.2, 0.6], [0.4, 0.1]], dt=14 * ms)
    group = NeuronGroup(2, "dv/dt = -v/tau : 1\nsilent : boolean", threshold="v > 1", reset="v = 0; silent = False")
    inputs = SpikeGeneratorGroup(2, [0, 1, 0, 1], [2, 5, 12, 21] * ms)
    synapses = Synapses(inputs, group, "w : 1", on_pre="v_post += w*scale(t)*(1 + by_neuron(t, i_post))")
    synapses.connect()
    synapses.w, synapses.delay = [0.6, 0.7, 0.9, 1.1], [0.5, 1, 1.5, 2] * ms
    loss = final_loss("v**2", group) + spike_loss("t/ms", group)
    wrt = [(synapses, "w"), (synapses, "delay"), (group, "tau")]
    network, namespace = [group, inputs, synapses], {"tau": tau, "scale": scale, "by_neuron": by_neuron, "ms": ms}
    problem = HybridProblem(network, loss, wrt, 30 * ms, namespace, engine="oracle")
    assert sum(name == group.name for _, name, _ in problem.simulate().spikes) > 1
    assert max(relative_errors(problem).values()) < TOLERANCE
    value, gradients = problem.loss_and_gradients()
    found, compiled = value_and_grad(network, loss, wrt, 30 * ms, namespace=namespace)
    assert found == pytest.approx(value, rel=1e-9)
    for a, b in zip(gradients, compiled, strict=True):
        assert np.asarray(b) == pytest.approx(a, rel=1e-8, abs=1e-12)


def test_spikes_through_subgroups_and_several_pathways():
    namespace = {"tau": 10 * ms, "ms": ms}
    group = NeuronGroup(3, "dv/dt = -v/tau : 1\nu : 1\ndz/dt = -2*v/tau : 1")
    senders = NeuronGroup(2, "dx/dt = 1/T : 1\nT : second", threshold="x > 1", reset="x = 0")
    senders.T = [3, 2.5] * ms
    synapses = Synapses(
        senders[1:],
        group[1:],
        "w : 1",
        on_pre={"fast": "v_post += w", "slow": "u_post += w*v_post"},
        delay={"fast": 1 * ms},
    )
    synapses.connect()
    synapses.w = [0.4, 0.7]
    synapses.slow.delay = [2.5, 4] * ms
    loss = final_loss("v*(1 + u) + z", group)
    wrt = [(synapses, "w"), (synapses.fast, "delay"), (synapses.slow, "delay"), (group, "tau"), (senders, "T")]
    problem = HybridProblem([group, senders, synapses], loss, wrt, 10.7 * ms, namespace, engine="oracle")
    assert max(relative_errors(problem).values()) < TOLERANCE
    with pytest.raises(TrainingError, match=r"name one, as in \(synapses.fast, 'delay'\)"):
        HybridProblem([group, senders, synapses], loss, [(synapses, "delay")], 20 * ms, namespace)


def test_what_cannot_be_run_or_trained_is_refused():
    tau, theta, low = 10 * ms, 1, 2  # noqa: F841
    group = lonely()
    loss = spike_loss("t/ms", group)
    with pytest.raises(TrainingError, match="has no variable 'tau_m'"):
        value_and_grad([group], loss, [(group, "tau_m")], 10 * ms)
    with pytest.raises(TrainingError, match="is not in the network"):
        value_and_grad([group], loss, [(lonely(), "E")], 10 * ms)
    with pytest.raises(TrainingError, match="give \\(object, variable name\\) pairs"):
        value_and_grad([group], loss, ["tau"], 10 * ms)
    with pytest.raises(DimensionMismatchError):
        value_and_grad([group], spike_loss("t", group) + final_loss("v", group), [(group, "E")], 10 * ms)
    with pytest.raises(DimensionMismatchError, match="duration"):
        value_and_grad([group], loss, [(group, "E")], 10)
    with pytest.raises(NetworkError, match="draws its spikes at random; record them"):
        value_and_grad([group, PoissonGroup(2, 10 / second)], loss, [(group, "E")], 10 * ms)
    silent, stuck, broken = NeuronGroup(1, "dv/dt = -v/tau : 1"), lonely(reset="v = low"), lonely()
    broken.v = np.nan
    with pytest.raises(NetworkError, match="which has no threshold"):
        value_and_grad([silent], spike_loss("t/ms", silent), [(silent, "v")], 10 * ms)
    with pytest.raises(NetworkError, match="still above its threshold after its reset"):
        value_and_grad([stuck], spike_loss("t/ms", stuck), [(stuck, "E")], 50 * ms, engine="oracle")
    with pytest.raises(ModelError, match="'floor\\(v\\)' has no derivative"):
        value_and_grad([group], final_loss("floor(v)", group), [(group, "E")], 10 * ms)
    with pytest.raises(NetworkError, match="must be finite"):
        value_and_grad([broken], spike_loss("t/ms", broken), [(broken, "E")], 10 * ms, engine="oracle")


def test_a_network_that_has_been_run_is_restored_first():
    tau, theta = 10 * ms, 1  # noqa: F841
    group = lonely()
    network = Network(group)
    network.store()
    network.run(0.1 * ms)
    with pytest.raises(NetworkError, match="has been run to t = 100. us"):
        value_and_grad(network, spike_loss("t/ms", group), [(group, "E")], 12 * ms)
    network.restore()
    value, _ = value_and_grad(network, spike_loss("t/ms", group), [(group, "E")], 12 * ms)
    assert float(value) == pytest.approx(10 * np.log(3))


def test_a_state_that_leaves_the_numbers_is_refused():
    tau, theta = 10 * ms, 1  # noqa: F841
    group = NeuronGroup(1, "dv/dt = (1 + v**2)/tau : 1")
    with pytest.raises(NetworkError, match="The integration fails at t = 0.0157"):
        value_and_grad([group], final_loss("v", group), [(group, "v")], 30 * ms, engine="oracle")


def test_shift_of_all_absolute_thresholds_equals_minus_the_sum_of_the_adjoint():
    """With an absolute reset and g = V - V_th: dL/dV_th = -sum of p_V just before the spikes."""
    case = lif_current()
    problem = problem_of(case)
    seen = []

    class Watched(Backward):
        def _spike(self, event, late):
            super()._spike(event, late)
            seen.append(self.p[event.group.name][event.index][event.group.states.index("v")])

    name = case.network[0].name
    gradient = Watched(problem.simulate()).run()[name, "theta"]
    assert gradient[0] == pytest.approx(-sum(seen), rel=1e-12)


def test_objects_of_a_plain_list_count_as_used(monkeypatch, caplog):
    caplog.set_level(logging.WARNING, "brian2")  # whatever a command line of an earlier test has asked for
    seen = []
    logger = logging.getLogger("brian2.core.base.unused_brian_object")
    monkeypatch.setattr(logger, "handle", lambda record: logger.filter(record) and seen.append(record.getMessage()))

    def use(really):
        group = NeuronGroup(1, "dv/dt = -v/(10*ms) : 1", name=f"passing_{really}")
        if really:
            value_and_grad([group], final_loss("v", group), [(group, "v")], 1 * ms, engine="oracle")

    for really, warnings in ((True, 0), (False, 1)):
        use(really)
        gc.collect()
        assert sum(f"'passing_{really}' is getting deleted" in text for text in seen) == warnings


def test_a_linked_parameter_is_a_parameter_of_the_group_that_reads_it():
    source = NeuronGroup(2, "tau : second (constant)\ndv/dt = -v/tau : 1")
    source.tau = [5, 8] * ms
    group = NeuronGroup(3, "dv/dt = (1.5 - v)/tau : 1\ntau : second (linked)", threshold="v > 1", reset="v = 0")
    group.tau = linked_var(source, "tau", index=[1, 0, 1])
    value, (by_tau,) = value_and_grad(
        [source, group], spike_loss("t/ms", group), [(group, "tau")], 9 * ms, engine="oracle"
    )
    assert float(value) == pytest.approx((8 * 2 + 5) * np.log(3))
    assert by_tau / (1 / ms) == pytest.approx([np.log(3)] * 3)


@pytest.mark.parametrize("as_network", [True, False])
def test_clock_driven_spikes_are_replayed_and_their_error_is_told(as_network):
    """The error falls with the time step, is about what the warning says, and the objects stay as they were."""
    namespace = {"tau": 10 * ms, "theta": 1.0, "ms": ms}
    group = lonely(drive=1.5)
    target = Network(group) if as_network else [group]
    arguments = (target, spike_loss("t/ms", group), [(group, "E")], 40 * ms)
    _, (exact,) = value_and_grad(*arguments, namespace=namespace, engine="oracle")
    errors, told = [], []
    for step in (0.2, 0.05):
        defaultclock.dt = step * ms
        with pytest.warns(UserWarning, match="expected error about") as caught:
            _, (found,) = value_and_grad(*arguments, namespace=namespace, located=False)
        errors.append(float(abs(found - exact)[0] / abs(exact)[0]))
        text = " ".join(str(w.message) for w in caught)
        told.append(float(re.search(r"about (\d+)%", text).group(1)) / 100)
    assert 0 < errors[1] < 0.5 * errors[0] < 0.2
    assert told[0] == pytest.approx(errors[0], rel=0.5, abs=0.01)
    assert defaultclock.dt / ms == pytest.approx(0.05)
    assert group.v[0] == 0
    run_alone = target if as_network else Network(group)
    run_alone.run(0.1 * ms, namespace=namespace)
    with pytest.raises(TrainingError, match="located = 1"):
        value_and_grad(*arguments, namespace=namespace, located=1)
