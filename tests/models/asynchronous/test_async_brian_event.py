"""Asynchronous networks in Brian 2, event-driven: equal to a heap and to the timed engine in whole picoseconds."""

import heapq
from types import SimpleNamespace

import numpy as np
import pytest
from brian2 import ms, second

from brian2grad.models.asynchronous.brian.event import run_timed_samples
from brian2grad.models.asynchronous.brian.run import run_async_brian2
from brian2grad.models.asynchronous.connectivity import Connectivity, Projection
from brian2grad.models.asynchronous.network import AsynchronousNetwork
from brian2grad.models.asynchronous.timed.run import run_timed
from brian2grad.models.errors import NetworkError
from brian2grad.models.events import StepEvents
from brian2grad.models.order.schedulers import TimedScheduler
from brian2grad.models.order.stopping import spike_budget

SIZES = (6, 7, 6, 3)
PAIRS = ((0, 1), (1, 2), (2, 3), (0, 3), (1, 3), (1, 1), (2, 2), (3, 1))
EVENTS = 40


def timed_case(index):
    """Random delayed network; on coarse grids many spikes meet at the same time, or travel without delay."""
    rng = np.random.default_rng(index)
    grid = (1e-12, 1e-6, 1e-3)[index % 3]
    projections, synaptic = [], []
    for source, target in PAIRS:
        shape = (SIZES[source], SIZES[target])
        excitation = source < target  # loops only inhibit: excitation would not die out
        weights = rng.normal(0.2, 0.5, shape) if excitation else -np.abs(rng.normal(0, 0.5, shape))
        projections.append(Projection(source, target, weights))
        synaptic.append(np.rint(rng.uniform(0, 5e-3, shape) / grid) * grid * second)
    net = Connectivity(SIZES, projections)
    scheduler = TimedScheduler(
        axonal=np.rint(rng.uniform(0, 3e-3, net.n_neurons) / grid) * grid * second,
        synaptic=synaptic,
        service=rng.choice([0, 1e-4]) * second,
        cores=3,
        refractory=rng.choice([0.5, 5]) * ms,
    )
    network = AsynchronousNetwork(
        net,
        tau_m=rng.uniform(2, 20, net.n_neurons) * ms,
        V_th=rng.uniform(0.1, 0.8, net.n_neurons),
        scheduler=scheduler,
        dtype="float64",
        threads=1,
    )
    times = np.sort(rng.integers(0, 20000, EVENTS) // round(max(grid, 1e-6) * 1e6) * round(max(grid, 1e-6) * 1e6))
    events = SimpleNamespace(
        units=rng.integers(0, SIZES[0], EVENTS),
        times=times,
        offsets=np.array([0, EVENTS]),
        n_units=SIZES[0],
        time_unit_us=1.0,
    )
    return network, scheduler, events


def heap_reference(network, scheduler, events):
    """Spike times in picoseconds and neurons, by a heap of arrivals (time, source, place, target, weight)."""
    net, n = network.connectivity, network.n_neurons
    tau, theta = (np.asarray(network.model.constants[name]) for name in ("tau_m", "V_th"))
    rows = {}
    for p, delays in zip(net.projections, scheduler.synaptic, strict=True):
        for i, j in np.ndindex(p.weights.shape):
            delay = round(float(delays[i, j]) * 1e12)
            rows.setdefault(net.starts[p.source] + i, []).append(
                (delay, len(rows), net.starts[p.target] + j, p.weights[i, j])
            )
    for row in rows.values():
        row.sort(key=lambda synapse: synapse[0])
    axonal = [0] * net.n_inputs + [round(float(d) * 1e12) for d in scheduler.axonal]
    service, rest = (round(float(x) * 1e12) for x in (scheduler.service, scheduler.refractory))
    v, updated, ready, free = np.zeros(n), np.zeros(n), np.full(n, -1), [0] * scheduler.cores
    heap, spikes = [], []

    def send(source, departure):
        for place, (delay, _, target, w) in enumerate(rows.get(source, [])):
            arrival = departure + axonal[source] + delay
            heapq.heappush(heap, (arrival, source, place, target - net.n_inputs, w))

    inputs = list(zip((events.times * 10**6).tolist(), events.units.tolist(), strict=True))
    while heap or inputs:
        if inputs and (not heap or inputs[0][0] <= heap[0][0]):
            now, unit = inputs.pop(0)
            send(unit, now)
            continue
        now, current = heap[0][0], {}
        while heap and heap[0][0] == now:
            _, _, _, j, w = heapq.heappop(heap)
            current[j] = current.get(j, 0.0) + w
        for j in sorted(current):
            if now < ready[j]:
                continue
            v[j] = v[j] * np.exp(-(now - updated[j]) * 1e-12 / tau[j]) + current[j]
            updated[j] = now
            if v[j] > theta[j] and current[j] != 0:
                v[j], ready[j] = 0, now + rest
                spikes.append((now, j))
                departure = now
                if service:
                    core = j * scheduler.cores // n
                    departure = free[core] = max(now, free[core]) + service
                send(net.n_inputs + j, departure)
    return np.array(spikes).reshape(-1, 2).T


def assert_equals_heap(indices, device="runtime"):
    cases = [timed_case(index) for index in indices]
    samples = [
        (network, {"scheduler": scheduler, "times": events.times * 1e6, "units": events.units})
        for network, scheduler, events in cases
    ]
    total = 0
    for case, (times, neurons, operations, tests) in zip(cases, run_timed_samples(samples, device), strict=True):
        expected_times, expected_neurons = heap_reference(*case)
        np.testing.assert_array_equal(neurons, expected_neurons)
        np.testing.assert_allclose(times * 1e-12, expected_times * 1e-12, rtol=0, atol=1e-9)
        network, scheduler, events = case
        native = run_timed(network, events, scheduler)
        np.testing.assert_array_equal(neurons, native.neurons)
        np.testing.assert_array_equal(times, native.times)  # whole picoseconds
        assert (operations, tests) == (native.synaptic_operations[0], native.threshold_tests[0])
        total += len(times)
    assert total > 10 * len(cases)


def test_events_equal_a_heap_and_the_timed_engine():
    assert_equals_heap(range(3))


@pytest.mark.long
def test_events_equal_a_heap_and_the_timed_engine_on_100_networks():
    assert_equals_heap(range(100))


@pytest.mark.long
@pytest.mark.standalone
def test_events_in_cpp_standalone_on_100_networks():
    assert_equals_heap(range(100), "cpp_standalone")


@pytest.mark.parametrize("stop", ["first-output", spike_budget(5)], ids=["first-output", "budget"])
def test_events_stop(stop):
    network, scheduler, events = timed_case(4)
    brian = run_async_brian2(network, events, mode="event", stop=stop)
    native = run_timed(network, events, scheduler, stop)
    np.testing.assert_array_equal(brian.times, native.times)
    np.testing.assert_array_equal(brian.neurons, native.neurons)
    assert 0 < len(brian.times) < len(run_timed(network, events, scheduler).times)


def test_events_are_checked():
    network, _, events = timed_case(0)
    with pytest.raises(NetworkError, match="lost their times"):
        run_async_brian2(network, StepEvents(np.zeros(3, int), *np.zeros((2, 0), int), 6, 2, 1, 0.01), mode="event")
    events.times = events.times[::-1]
    with pytest.raises(NetworkError, match="sort each sample"):
        run_async_brian2(network, events, mode="event")
