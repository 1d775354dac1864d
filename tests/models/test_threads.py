"""Nothing that a parallel region answers depends on which of its threads comes last.

Samples of very different cost, in both orders, make either end of a batch the last to finish.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from brian2 import kHz, ms
from unlayered_cases import N_IN, Case

from brian2grad.models import AsynchronousSpikingGamma, NetworkError, StepEvents
from brian2grad.models.asynchronous.connectivity import Connectivity, Projection
from brian2grad.models.asynchronous.network import AsynchronousNetwork
from brian2grad.models.order.schedulers import FifoScheduler, TimedScheduler

pytestmark = pytest.mark.threads
THREADS, REPEATS = (1, 2, 7), 5
N_STEPS, N_BUSY = 40, 60  # timesteps of a sample; neurons that only cost time


def blamed(network, events, **options):
    with pytest.raises(NetworkError) as refusal:
        network.run(events, **options)
    return str(refusal.value).split(".")[0]


def spiking(threads):
    """Unit 0 starts an excitation that never ends; unit 1 makes `N_BUSY` neurons spike, which costs time."""
    sizes = (2, 2, N_BUSY, 1)
    endless, busy = np.array([[1.0, 1.0], [0.0, 0.0]]), np.stack([np.zeros(N_BUSY), np.ones(N_BUSY)])
    projections = [Projection(0, 1, endless), Projection(1, 1, np.ones((2, 2))), Projection(0, 2, busy)]
    projections.append(Projection(2, 3, np.full((N_BUSY, 1), 0.01)))
    return AsynchronousNetwork(
        Connectivity(sizes, projections), V_th=0.5, dt=1 * ms, refractory=False, forward_group=1, threads=threads,
        max_spikes=300,
    )  # fmt: skip


def runaways(order):
    """Input counts: every sample with a number runs away after so many busy timesteps, the others (None) are silent."""
    counts = np.zeros((len(order), N_STEPS, 2))
    for sample, busy in enumerate(order):
        if busy is not None:
            counts[sample, :busy, 1] = 1
            counts[sample, busy, 0] = 1
    return counts


ORDERS = [(30, 0), (0, 30), (30, 0, 0, 0, 0, 0, 0), (None, 35, 30, 20, 10, 5, 0), (None, None, 0, 30, 0, 30)]


@pytest.mark.parametrize("order", ORDERS)
def test_event_loop_blames_the_first_sample_that_runs_away(order):
    events = StepEvents.from_dense(runaways(order), 1e-3)
    sample = next(s for s, busy in enumerate(order) if busy is not None)
    expected = f"Runaway excitation: sample {sample} passed 300 spikes in timestep {order[sample]}"
    for network in map(spiking, THREADS):
        assert {blamed(network, events) for _ in range(REPEATS)} == {expected}


@pytest.mark.parametrize("order", ORDERS)
def test_event_loop_is_as_new_after_a_failure(order):
    """The workers of an engine are used again: what a failed sample left behind must not be seen."""
    fine = StepEvents.from_dense(runaways([None, *order])[:, :, ::-1] * [0, 1], 1e-3)
    expected = spiking(1).run(fine, record=True)
    for network in map(spiking, THREADS):
        blamed(network, StepEvents.from_dense(runaways(order), 1e-3))
        same_run(network.run(fine, record=True), expected)


def same_run(own, expected):
    for name, values in expected.counters.items():
        np.testing.assert_array_equal(own.counters[name], values, name)
    for name, values in vars(expected.tape).items():
        np.testing.assert_array_equal(getattr(own.tape, name), values, name)


@pytest.mark.parametrize("order", ORDERS)
def test_continuous_time_blames_the_first_sample_that_runs_away(order):
    counts = runaways(order)
    samples = [np.argwhere(sample) for sample in counts]
    places = np.concatenate(samples)
    timed = SimpleNamespace(
        units=places[:, 1], times=places[:, 0], offsets=np.cumsum([0, *map(len, samples)]), n_units=2,
        time_unit_us=1000,
    )  # fmt: skip
    sample = next(s for s, busy in enumerate(order) if busy is not None)
    for threads in THREADS:
        network = spiking(threads)
        network.max_rate = 2 * kHz  # 40 spikes per neuron in 20 ms
        expected = f"Runaway excitation: sample {sample} passed max_rate = 2000 Hz per neuron"
        found = {blamed(network, timed, scheduler=TimedScheduler()) for _ in range(REPEATS)}
        assert {text.split(" in 20 ms")[0] for text in found} == {expected}


def asynchronous_gamma(threads):
    options = {"K": 2, "tau": 20 * ms, "theta": 0.05, "dt": 10 * ms, "once_per_timestep": False}
    network = AsynchronousSpikingGamma(
        (4, 2000, 3), scheduler=FifoScheduler(), forward_group=1, threads=threads, max_spikes=60, **options
    )
    network.parameters["layer1.w"][:] = [[1.0], [0.0], [0.0], [0.0]]  # the other units cost time, and bring no spikes
    return network


@pytest.mark.parametrize("order", ORDERS)
def test_event_loop_of_gamma_layers_blames_the_first_sample_that_runs_away(order):
    counts = runaways(order)
    events = StepEvents.from_dense(counts @ [[20, 0, 0, 0], [0, 1, 0, 0]], 10e-3)
    sample = next(s for s, busy in enumerate(order) if busy is not None)
    expected = f"Runaway excitation: sample {sample} passed 60 spikes in timestep {order[sample]}"
    for network in map(asynchronous_gamma, THREADS):
        assert {blamed(network, events) for _ in range(REPEATS)} == {expected}


# -- sums and rows that threads share ---------------------------------------------------------------------------


def uneven(first, n_samples=9, n_steps=70, n_units=6):
    """Counts of which the first, or the last, sample has nearly all."""
    rng = np.random.default_rng(3)
    density = np.full(n_samples, 0.02)
    density[0 if first else -1] = 0.9
    return (rng.random((n_samples, n_steps, n_units)) < density[:, None, None]).astype(float)


def same_values(runs):
    """Whether all runs, dictionaries of arrays, are bit-equal."""
    expected, *others = runs
    for other in others:
        for name, values in expected.items():
            np.testing.assert_array_equal(other[name], values, err_msg=name)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("rule", ["filter", "online"])
def test_gamma_gradient_is_bit_equal(rule, first, random_network):
    """``online`` goes through the streams, which have parallel regions of their own."""
    events = StepEvents.from_dense(uneven(first), 10e-3)
    labels = np.arange(events.n_samples * events.n_steps).reshape(events.n_samples, -1) % 3
    window = {"window": 20} if rule == "online" else {}
    runs = []
    for threads in THREADS:
        network = random_network((6, 5, 4, 3), threads=threads, dtype="float32", train_tau=True)
        for _ in range(REPEATS):
            found = network.gradient(events, labels, rule=rule, **window)
            runs.append({"loss": found.loss, "readout": found.outputs, "spikes": found.outcome.spikes})
            runs[-1] |= found.gradients
    same_values(runs)


@pytest.mark.parametrize("first", [True, False])
def test_gradient_by_unlayered_backprop_is_bit_equal(first):
    runs = []
    for threads in THREADS:
        case = Case(3, n_samples=40, threads=threads)
        case.frames = uneven(first, 40, 5, N_IN) * 2
        for _ in range(REPEATS):
            found = case.gradient()
            runs.append({"loss": found.loss} | found.gradients)
    same_values(runs)
