"""Ready losses: their values by hand or by quadrature, their gradients against differences of the oracle."""

import numpy as np
import pytest
from brian2 import DimensionMismatchError, Hz, NeuronGroup, SpikeGeneratorGroup, Synapses, ms, second
from differences import relative_errors
from scipy.special import log_softmax

from brian2grad import (
    FinalCrossEntropy,
    FinalState,
    FirstSpikeCrossEntropy,
    FunctionLoss,
    MaxCrossEntropy,
    MaxOverTime,
    Pseudospikes,
    SpikeCounts,
    SpikeRate,
    SpikeTimes,
    TrainingError,
    VanRossum,
    WakeSilent,
    final_loss,
    max_loss,
    spike_loss,
    value_and_grad,
)
from brian2grad.models.hybrid.samples import SampleSpikes
from brian2grad.training import HybridProblem
from brian2grad.training.exact.check import check_direction
from brian2grad.training.exact.losses import RunResult

NAMES = {"tau": 10 * ms, "tau_s": 5 * ms, "theta": 1.0, "ms": ms}
PSEUDO = Pseudospikes("v", 1.0, 0.0, 0.1 / ms)


def network():
    """Two layers: three spiking neurons, the last of them silent, and two that integrate."""
    group = NeuronGroup(
        3, "dv/dt = (E + I - v)/tau : 1\ndI/dt = -I/tau_s : 1\nE : 1", threshold="v > theta", reset="v = 0"
    )
    group.E = [1.3, 1.25, 0.4]
    readout = NeuronGroup(2, "dv/dt = (I - v)/tau : 1\ndI/dt = -I/tau_s : 1")
    inputs = SpikeGeneratorGroup(2, [0, 1, 0], [1, 5, 12.3] * ms)
    feed = Synapses(inputs, group, "w : 1", on_pre="I_post += w")
    feed.connect()
    feed.w, feed.delay = [0.5, 0.8, 0.3, 0.6, 0.4, 0.2], [1, 1.3, 2.7, 2.1, 0.8, 1.9] * ms
    out = Synapses(group, readout, "w : 1", on_pre="I_post += w")
    out.connect()
    out.w, out.delay = [0.5, -0.4, 0.9, 1.1, 0.3, 0.7], 1 * ms
    return group, readout, inputs, feed, out


def losses(group, readout):
    return {
        "times": SpikeTimes(group[:2], [0, 1, 0, 1], [4, 5, 20, 21] * ms, tau=2 * ms),
        "pseudo-times": SpikeTimes(group, [2, 0, 2], [12, 9, 25] * ms, pseudospikes=PSEUDO),
        "first": FirstSpikeCrossEntropy(group, label=1),
        "pseudo-first": FirstSpikeCrossEntropy(group, label=2, tau0=5 * ms, pseudospikes=PSEUDO),
        "van-rossum": VanRossum(group, [0, 1, 2], [7, 11, 3] * ms, tau=6 * ms),
        "final": FinalState(readout, "I", [0.2, 0.3], scale=0.5),
        "final-class": FinalCrossEntropy(readout, "v", label=1, scale=0.1),
        "max": MaxOverTime("v", readout, 0.4),
        "max-class": MaxCrossEntropy("v + 0.3*I", readout, label=0, scale=0.1),
        "max-between-resets": MaxOverTime("v + 0.3*I", group, 0.9),
        "rate": SpikeRate(group, 80 * Hz),
        "wake": WakeSilent("v - theta", group),
        "text": max_loss("v**2", readout) + spike_loss("sin(t/(5*ms))", group),
        "sum": 0.3 * VanRossum(group, [0], [7] * ms) + final_loss("v**2", readout) + MaxOverTime("v", readout, 0.4),
    }


def problem_of(name, engine="oracle"):
    group, readout, inputs, feed, out = network()
    loss = losses(group, readout)[name]
    wrt = [(s, v) for s in (feed, out) for v in ("w", "delay")]
    wrt += [(group, n) for n in ("tau", "tau_s", "theta", "E", "v")] + [(readout, "tau"), (inputs, "spike_time")]
    return HybridProblem([group, readout, inputs, feed, out], loss, wrt, 30 * ms, NAMES, engine=engine)


KINDS = list(losses(*network()[:2]))


@pytest.mark.parametrize("name", KINDS)
def test_gradient_along_a_random_direction(name):
    assert check_direction(problem_of(name)) < 1e-6


@pytest.mark.long
@pytest.mark.parametrize("name", KINDS)
def test_gradient_equals_central_differences(name):
    problem = problem_of(name)
    _, gradients = problem.loss_and_gradients()
    assert max(np.abs(g).max() for g in gradients) > 1e-3
    errors = relative_errors(problem)
    assert max(errors.values()) < 1e-6, {k: v for k, v in errors.items() if v >= 1e-6}


@pytest.mark.long
@pytest.mark.parametrize("name", KINDS)
def test_compiled_engine_has_the_same_value_and_gradient(name):
    value, gradients = problem_of(name).loss_and_gradients()
    problem = problem_of(name, "compiled")
    found, others = problem.loss_and_gradients()
    assert found == pytest.approx(value, rel=1e-8)
    for key, a, b in zip(problem.keys, gradients, others, strict=True):
        assert b == pytest.approx(a, rel=1e-6, abs=1e-7 * np.abs(a).max() + 1e-12), key


def result(spikes, final=None, maxima=None):
    """A run of group 'g' with spikes given by hand."""
    return RunResult(
        np.zeros(spikes.n_samples), {"g": spikes}, {"g": final}, {"g": maxima}, {"g": ("v",)}, duration=0.05
    )


def three(**arguments):
    return NeuronGroup(3, "dv/dt = -v/tau : 1", threshold="v > 1", reset="v = 0", name="g", **arguments)


def test_first_spike_cross_entropy_of_two_samples_by_hand():
    spikes = SampleSpikes.of([([1, 0, 1], [0.010, 0.012, 0.020]), ([2], [0.030])])
    loss = FirstSpikeCrossEntropy(three(), label=[0, 2], tau0=2 * ms, alpha=0.01, tau1=10 * ms)
    found = loss.evaluate(result(spikes))
    first = [np.array([0.012, 0.010, 0.05]), np.array([0.05, 0.05, 0.03])]
    expected = [
        -log_softmax(-t / 0.002)[k] + 0.01 * (np.exp(t[k] / 0.01) - 1) for t, k in zip(first, (0, 2), strict=True)
    ]
    assert found.losses == pytest.approx(expected, rel=1e-12)
    assert found.spike_times["g"][2] == 0  # the second spike of a neuron is none of its first
    assert found.spike_times["g"][0] < 0 < found.spike_times["g"][1]


def test_van_rossum_distance_equals_its_integral():
    spikes = SampleSpikes.of([([0, 0, 1], [0.004, 0.011, 0.02])])
    loss = VanRossum(three(), [0, 0, 2], [5, 15, 9] * ms, tau=4 * ms)
    t = np.linspace(0, 0.15, 300001)
    total = 0.0
    for found, goals in (([0.004, 0.011], [0.005, 0.015]), ([0.02], []), ([], [0.009])):
        trace = sum(np.where(t >= s, np.exp(-(t - s) / 0.004), 0) for s in found) if found else 0 * t
        trace = trace - (sum(np.where(t >= s, np.exp(-(t - s) / 0.004), 0) for s in goals) if goals else 0)
        total += np.trapezoid(trace**2, t) / 0.004
    assert loss.evaluate(result(spikes)).losses[0] == pytest.approx(total, rel=1e-3)


def test_spikes_are_compared_in_their_order_and_missing_ones_count_from_the_end():
    spikes = SampleSpikes.of([([0, 0, 0], [0.004, 0.011, 0.02])])
    found = SpikeTimes(three(), [0, 1], [5, 40] * ms).evaluate(result(spikes))
    assert found.losses[0] == pytest.approx(1 + 100)
    assert found.spike_times["g"] == pytest.approx([-2e3, 0, 0])
    batch = SpikeTimes(three(), [0], [5] * ms).evaluate(
        result(SampleSpikes.of([([0], [0.004]), ([0], [0.007])])),
        SampleSpikes.of([([0], [0.005]), ([0], [0.006])]),
    )
    assert batch.losses == pytest.approx([1, 1])
    assert batch.spike_times["g"] == pytest.approx([-2e3, 2e3])


def test_counts_measure_and_refuse_to_be_trained_alone():
    group, readout, *others = network()
    loss = SpikeCounts(group, [2, 2, 2])
    problem = HybridProblem([group, readout, *others], loss, [], 30 * ms, NAMES, engine="oracle")
    counts = np.bincount([i for _, name, i in problem.simulate().spikes if name == group.name], minlength=3)
    assert problem.loss() == ((counts - 2) ** 2).sum() > 0
    with pytest.raises(TrainingError, match="a number of spikes has no timing gradient"):
        value_and_grad([group, readout, *others], loss, [(group, "E")], 30 * ms, namespace=NAMES, engine="oracle")


def test_a_python_function_as_loss():
    group, readout, *others = network()
    name = group.name

    def latest(run):
        times = run.spikes[name].times
        slopes = np.zeros(len(times))
        slopes[-1] = 2 * times[-1]
        final = np.zeros_like(run.final[readout.name])
        final[..., run.column(readout, "v")] = 1
        return times[-1] ** 2 + run.state(readout, "v").sum(), {
            "spike_times": {name: slopes}, "final": {readout.name: final},
        }  # fmt: skip

    wrt = [(others[1], "w"), (others[1], "delay"), (readout, "tau")]
    problem = HybridProblem([group, readout, *others], latest, wrt, 30 * ms, NAMES, engine="oracle")
    assert check_direction(problem) < 1e-6
    value, _ = value_and_grad([group, readout, *others], latest, wrt, 30 * ms, namespace=NAMES, engine="oracle")
    assert value == pytest.approx(problem.loss())
    top = FunctionLoss(
        lambda run: (run.maxima[readout.name].prod(), {"maxima": {readout.name: run.maxima[readout.name][:, ::-1]}}),
        max_loss("v", readout),
    )
    problem = HybridProblem([group, readout, *others], top + latest_free(name), wrt, 30 * ms, NAMES, engine="oracle")
    assert check_direction(problem) < 1e-6


def latest_free(name):
    return FunctionLoss(
        lambda run: (run.spikes[name].times.sum(), {"spike_times": {name: 1 + 0 * run.spikes[name].times}})
    )


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (1.0, "must take a RunResult and return"),
        ((1.0, {"times": {}}), "returns 'times'; partials are by spike_times, final or maxima"),
        ((1.0, {"spike_times": {"nobody": 0}}), "spike_times has no group 'nobody'"),
        ((1.0, {"final": {"g": np.zeros(3)}}), r"final\['g'\] has shape \(3,\); expected \(1, 3, 1\)"),
        ((np.nan, {}), "The loss is nan"),
    ],
)
def test_what_a_function_must_return(returned, message):
    problem = HybridProblem([three()], lambda run: returned, [], 10 * ms, NAMES, engine="oracle")
    with pytest.raises(Exception, match=message):
        problem.loss()


def test_bad_targets_are_named():
    group = three()
    with pytest.raises(TrainingError, match="2 neurons and 1 times"):
        SpikeTimes(group, [0, 1], [3] * ms)
    with pytest.raises(DimensionMismatchError, match="target times"):
        SpikeTimes(group, [0], [3])
    with pytest.raises(TrainingError, match="Label 3 is none of the neurons 0 to 2"):
        FirstSpikeCrossEntropy(group, label=3).evaluate(result(SampleSpikes.of([([], [])])))
    with pytest.raises(DimensionMismatchError, match="target must be in the unit of 'v'"):
        FinalState(group, "v", 3 * ms)
    with pytest.raises(TrainingError, match="has no variable 'u'"):
        FinalState(group, "u", 3)
    with pytest.raises(DimensionMismatchError, match="Ready losses have no unit"):
        HybridProblem(
            [group], VanRossum(group, [0], [1] * ms) + spike_loss("t", group), [], 10 * ms, NAMES, engine="oracle"
        )
    with pytest.raises(DimensionMismatchError, match="speed"):
        Pseudospikes("v", 1.0, 0.0, 3 * second)
    with pytest.raises(TrainingError, match="takes its factor inside the text"):
        2 * (VanRossum(group, [0], [1] * ms) + final_loss("v", group))
