"""Signed, graded, zero and repeated input: compiled engines, Brian 2 and the online learners take it alike."""

import numpy as np
import pytest
from brian2 import ms
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from brian2grad.models import (
    AsynchronousNetwork,
    AsynchronousSpikingGamma,
    NetworkError,
    SpikingGammaNetwork,
    StepEvents,
)
from brian2grad.models.asynchronous.schedulers import FifoScheduler
from brian2grad.models.gamma.brian.run import BrianGamma
from brian2grad.training import SGD
from brian2grad.training.asynchronous.online import AsynchronousLearner
from brian2grad.training.gamma.online import LearningOperation, OnlineLearner

T, UNITS, DT = 12, 5, 10e-3
STILL = SGD(1e-300)  # learns nothing that shows
VALUES = st.sampled_from([-3.0, -1.0, -0.25, 0.0, 0.5, 1.0, 1.0, 2.0, 7.0])
ENTRIES = st.lists(st.tuples(st.integers(0, 1), st.integers(0, T - 1), st.integers(0, UNITS - 1), VALUES), max_size=60)


def raw(entries) -> StepEvents:
    """Events as they come: repeated, in no order within a step, zeros among them."""
    rows = np.array([s * T + t for s, t, _, _ in entries], int)
    order = np.argsort(rows, kind="stable")
    units, values = (np.array([e[k] for e in entries], kind)[order] for k, kind in ((2, np.uint16), (3, float)))
    return StepEvents(np.searchsorted(rows[order], np.arange(2 * T + 1)), units, values, UNITS, T, 2, DT)


def frames(entries):
    """The same summed up."""
    counts = np.zeros((2, T, UNITS))
    for s, t, unit, value in entries:
        counts[s, t, unit] += value
    return counts


def gamma(kind=SpikingGammaNetwork, **options):
    options = {
        "K": 3,
        "tau": 30 * ms,
        "theta": 0.3,
        "dt": 10 * ms,
        "dtype": "float64",
        "seed": 4,
        "threads": 1,
    } | options
    network = kind([UNITS, 6, 3], **options)
    network.parameters["layer1.w"] *= 3
    return network


@given(entries=ENTRIES)
@settings(max_examples=60, deadline=None, phases=(Phase.generate,))
def test_entries_add_up_and_zeros_are_none(entries):
    events, counts = raw(entries), frames(entries)
    summed, wanted = events.summed(), StepEvents.from_dense(counts, DT)
    for name in ("ptr", "units", "values"):
        np.testing.assert_array_equal(getattr(summed, name), getattr(wanted, name))
    for sample in range(2):
        np.testing.assert_array_equal(events.dense(sample), counts[sample])
        np.testing.assert_array_equal(summed.dense(sample), counts[sample])
    assert summed.summed() is summed  # nothing is copied when there is nothing to do
    triples = [np.array([e[k] for e in entries], int) for k in range(3)]
    found = StepEvents.from_triples(*triples, (2, T, UNITS), DT, np.array([e[3] for e in entries]))
    np.testing.assert_array_equal(found.values, wanted.values)
    np.testing.assert_array_equal(found.units, wanted.units)


@given(entries=ENTRIES)
@settings(max_examples=8, deadline=None, phases=(Phase.generate,))
def test_gamma_network_brian2_and_learner_agree(entries):
    network, events = gamma(), raw(entries)
    native, brian = network.forward(events, record=True), network.brian2(events)
    np.testing.assert_array_equal(native.spikes, brian.spike_counts)
    np.testing.assert_allclose(native.readout, brian.readout, rtol=1e-12, atol=1e-12)
    for sample in range(2):
        for (steps, units, _), spikes in zip(native.recorded[sample], brian.spikes[sample], strict=True):
            np.testing.assert_array_equal((steps, units), spikes)
    learner = OnlineLearner(network, STILL, window=4)
    for t in range(T):
        part = [(unit, value) for s, step, unit, value in entries if (s, step) == (1, t)]
        units, values = [u for u, _ in part], [v for _, v in part]
        np.testing.assert_allclose(learner.step((units, values), 1), native.readout[1, t], rtol=1e-12, atol=1e-12)


def test_inhibitory_input_reaches_the_learner_within_brian2():
    """What the network operation hands on: a dropped negative event would change the readout."""
    network, rng = gamma(), np.random.default_rng(0)
    counts = rng.choice([-2.0, -0.5, 0, 0, 1, 2], (1, T, UNITS))
    events = StepEvents.from_dense(counts, DT)
    native, brian = network.forward(events), BrianGamma(network, T)
    operation = LearningOperation(brian, OnlineLearner(network, STILL, window=50), lambda step: 0)
    brian.network.add(operation)
    brian.set_input(events, 0)
    brian.run()
    np.testing.assert_allclose(operation.predictions, native.readout[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.array(brian.readout_monitor.x).T, native.readout[0], rtol=1e-12, atol=1e-12)
    positive = network.forward(StepEvents.from_dense(np.maximum(counts, 0), DT))
    assert positive.spikes.sum() != native.spikes.sum()


def asynchronous(**options):
    options = {"V_th": 0.4, "forward_group": 2, "scheduler": FifoScheduler(), "threads": 1, "seed": 2} | options
    network = AsynchronousNetwork([UNITS, 6, 3], dt=10 * ms, dtype="float64", **options)
    network.set_weights([2.5 * w for w in network.weights])
    return network


@given(entries=ENTRIES)
@settings(max_examples=6, deadline=None, phases=(Phase.generate,))
def test_asynchronous_network_brian2_and_learner_agree(entries):
    network, events = asynchronous(), raw(entries)
    run, brian = network.run(events, record=True), network.brian2(events)
    for name in ("sample", "timestep", "step", "neuron"):
        np.testing.assert_array_equal(getattr(run.spikes, name), getattr(brian.spike_list, name))
    for name in ("forward_steps", "synaptic_operations", "spikes"):
        np.testing.assert_array_equal(run.counters[name], brian.counters[name])
    learner = AsynchronousLearner(network, STILL, n_streams=2, window=3)
    outputs = np.stack([learner.step(events.steps(t, t + 1), np.zeros(2, int)) for t in range(T)], axis=1)
    np.testing.assert_array_equal(outputs, run.outputs)


@given(entries=ENTRIES)
@settings(max_examples=5, deadline=None, phases=(Phase.generate,))
def test_gamma_network_without_a_barrier_and_brian2_agree(entries):
    network, events = gamma(AsynchronousSpikingGamma, scheduler=FifoScheduler(), forward_group=2), raw(entries)
    native, brian = network.forward(events), network.brian2(events)
    np.testing.assert_array_equal(network.run(events).spikes, brian.spike_counts)
    np.testing.assert_allclose(native.readout, brian.readout, rtol=1e-11, atol=1e-11)


def test_input_that_queues_is_positive_everywhere():
    events = raw([(0, 0, 1, 1.0), (1, 3, 2, -1.0)])
    for network in (asynchronous(prioritised=False), gamma(AsynchronousSpikingGamma, prioritised=False)):
        for run in (network.run, network.brian2):
            with pytest.raises(NetworkError, match="^Input that queues must have positive values"):
                run(events)
    cancelled = raw([(0, 0, 1, 1.0), (0, 0, 1, -1.0), (0, 2, 3, 1.0)])  # nothing of it waits
    np.testing.assert_array_equal(
        asynchronous(prioritised=False).run(cancelled).outputs,
        asynchronous(prioritised=False).brian2(cancelled).outputs,
    )


def test_learners_take_unit_numbers_only():
    from brian2grad.training import TrainingError

    learner = AsynchronousLearner(asynchronous(), STILL, n_streams=1)
    for wrong, text in [
        ([np.array([True, False, True, False, False])], "units have type bool"),
        ([[0.7, 1.2]], "units have type float64"),
        ([[5]], "unit 5 lies outside the network's 5 inputs"),
    ]:
        with pytest.raises(TrainingError, match=text):
            learner.step(wrong, [0])
    learner.step([[]], [0])
    assert learner.timesteps == 1
