"""The exact gradient against central differences of the oracle, for every model and parameter class."""

import numpy as np
import pytest
from brian2 import (
    DimensionMismatchError,
    Network,
    NeuronGroup,
    PoissonGroup,
    SpikeMonitor,
    Synapses,
    TimedArray,
    get_dimensions,
    ms,
    second,
)
from differences import relative_errors
from hybrid_cases import CASES, adaptive, lif_current

from brian2grad import final_loss, integral_loss, spike_loss, value_and_grad
from brian2grad.equations import ModelError
from brian2grad.models.errors import NetworkError
from brian2grad.models.hybrid.adjoint import Backward
from brian2grad.training import HybridProblem
from brian2grad.training.errors import TrainingError

# The gradient of the model itself is better than 1e-9; what limits AdEx is the stencil.
TOLERANCE = 1e-6


def problem_of(case):
    return HybridProblem(case.network, case.loss, case.wrt, case.duration, case.namespace)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.long) if n in ("adex", "conductance") else n for n in CASES]
)
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
    problem = HybridProblem([group], loss, [(group, n) for n in ("k", "tau", "theta", "v")], 40 * ms)
    assert len(problem.simulate().spikes) > 3
    assert max(relative_errors(problem).values()) < TOLERANCE
    assert drive.values.shape == (3, 2)


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
    problem = HybridProblem([group, senders, synapses], loss, wrt, 10.7 * ms, namespace)
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
        value_and_grad([stuck], spike_loss("t/ms", stuck), [(stuck, "E")], 50 * ms)
    with pytest.raises(ModelError, match="'floor\\(v\\)' has no derivative"):
        value_and_grad([group], final_loss("floor(v)", group), [(group, "E")], 10 * ms)
    with pytest.raises(NetworkError, match="must be finite"):
        value_and_grad([broken], spike_loss("t/ms", broken), [(broken, "E")], 10 * ms)


def test_a_state_that_leaves_the_numbers_is_refused():
    tau, theta = 10 * ms, 1  # noqa: F841
    group = NeuronGroup(1, "dv/dt = (1 + v**2)/tau : 1")
    with pytest.raises(NetworkError, match="The integration fails at t = 0.0157"):
        value_and_grad([group], final_loss("v", group), [(group, "v")], 30 * ms)


def test_shift_of_all_absolute_thresholds_equals_minus_the_sum_of_the_adjoint():
    """With an absolute reset and g = V - V_th: dL/dV_th = -sum of p_V just before the spikes."""
    case = lif_current()
    problem = problem_of(case)
    seen = []

    class Watched(Backward):
        def _spike(self, event):
            super()._spike(event)
            seen.append(self.p[event.group.name][event.index][event.group.states.index("v")])

    name = case.network[0].name
    gradient = Watched(problem.simulate()).run()[name, "theta"]
    assert gradient[0] == pytest.approx(-sum(seen), rel=1e-12)
