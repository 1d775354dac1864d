"""What the evaluation of an exact network reports, counted again spike by spike."""

import numpy as np
import pytest
from brian2 import NeuronGroup, SpikeGeneratorGroup, Synapses, ms

from brian2grad.models.hybrid.samples import SampleSpikes
from brian2grad.training.exact import evaluation
from brian2grad.training.exact.evaluation import evaluate_exact, evaluate_exact_brian2
from brian2grad.training.exact.samples import Samples, SpikeTask
from brian2grad.training.exact.trainable import TrainableNetwork

LIF = "dv/dt = (I - v)/(20*ms) : 1\ndI/dt = -I/(5*ms) : 1"
N_IN, N_HIDDEN, N_OUT = 3, 4, 2


@pytest.fixture
def network():
    """Inputs reach the hidden neurons one to many, and the outputs by a way of their own."""
    rng = np.random.default_rng(2)
    inputs = SpikeGeneratorGroup(N_IN, [], [] * ms, name="inputs*")
    hidden, outputs = (
        NeuronGroup(n, LIF, threshold="v > 1", reset="v = 0", name=name)
        for n, name in ((N_HIDDEN, "hidden*"), (N_OUT, "outputs*"))
    )
    ways = [Synapses(a, b, "w : 1", on_pre="I_post += w") for a, b in ((inputs, hidden), (hidden, outputs))]
    ways.append(Synapses(inputs, outputs, "w : 1", on_pre="I_post += w"))
    ways[0].connect(i=[0, 0, 0, 1, 1, 2], j=[0, 1, 2, 1, 3, 0])
    ways[1].connect()
    ways[2].connect(i=[0, 1, 1], j=[0, 0, 1])
    for synapses, (low, high) in zip(ways, ((5, 8), (4, 6), (0.5, 1)), strict=True):
        synapses.w = rng.uniform(low, high, len(synapses))
    wrt = [(synapses, "w") for synapses in ways]
    return TrainableNetwork([inputs, hidden, outputs, *ways], wrt, 40 * ms, inputs, outputs, namespace={})


def task():
    """Four samples; the third is silent, of the last the labelled output is not the one that spikes first."""
    spikes = SampleSpikes.of([
        ([0, 1, 2, 0], [0.0, 2e-3, 9e-3, 15e-3]), ([1, 0, 2], [1e-3, 4e-3, 20e-3]),
        ([], []), ([0, 0, 1], [0.0, 1e-3, 9e-3]),
    ])  # fmt: skip
    return SpikeTask(Samples(spikes, N_IN, 20e-3), np.array([0, 1, 1, 1]), 2.5)


@pytest.mark.parametrize("batch", [1, 3, 500])
def test_the_report_is_what_a_loop_over_the_spikes_counts(network, batch):
    data = task()
    done = []
    found = evaluate_exact(network, data, batch=batch, on_sample=done.append)
    outcome = network.forward(data.events)
    fan_out = {
        network.inputs.name: [3 + 1, 2 + 2, 1],  # to hidden neurons and to outputs
        **{name: [N_OUT] * N_HIDDEN for name in outcome.spikes if name.startswith("hidden")},
    }
    trains = {network.inputs.name: data.events.spikes, **outcome.spikes}
    hidden, outputs = (next(n for n in outcome.spikes if n.startswith(begin)) for begin in ("hidden", "outputs"))
    for sample, label in enumerate(data.labels):
        neurons, times = trains[outputs][sample]
        first = min(times, default=np.inf)
        correct = min(times[neurons == label], default=np.inf)
        assert found.predictions[sample] == (neurons[np.argmin(times)] if len(times) else -1)
        assert found.latency["ms"][sample] == pytest.approx([first * 1e3, correct * 1e3])
        for column, end in enumerate((first, correct)):
            until = sum((trains[g][sample][1] <= end).sum() for g in (hidden, outputs)) if end < np.inf else np.inf
            assert found.latency["spikes"][sample, column] == until
        assert found.spikes[sample].tolist() == [len(trains[g][sample][0]) for g in (hidden, outputs)]
        added = sum(fan_out[g][n] for g in fan_out for n in trains[g][sample][0])
        assert found.operations[sample] == added
    assert (found.predictions >= 0).tolist() == [True, True, False, True]
    assert np.isinf(found.latency["ms"][2]).all()
    assert (found.latency["ms"][3, 1] > found.latency["ms"][3, 0]) or np.isinf(found.latency["ms"][3, 1])
    assert done[-1] == 4
    assert found.n_neurons == N_HIDDEN + N_OUT


def test_samples_that_a_standalone_run_lost_have_no_answer(network, monkeypatch):
    def lost(*arguments, device, **more):
        outcome = real(*arguments, device="runtime", **more)
        outcome.failed = {0: "killed"}
        return outcome

    real = evaluation.run_brian2
    monkeypatch.setattr(evaluation, "run_brian2", lost)
    found, _ = evaluate_exact_brian2(network, task(), dt=0.1 * ms, device="cpp_standalone")
    assert found.predictions[0] == -1
    assert found.predictions[1] != -1
