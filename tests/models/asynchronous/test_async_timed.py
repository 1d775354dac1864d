"""Continuous time: the native event loop against a transcription that knows no heap."""

from types import SimpleNamespace

import numpy as np
import pytest
from brian2 import Quantity, ms, second, us

from brian2grad.models.asynchronous.connectivity import Connectivity, Projection, general, layered
from brian2grad.models.asynchronous.network import AsynchronousNetwork
from brian2grad.models.errors import NetworkError
from brian2grad.models.events import StepEvents
from brian2grad.models.order.schedulers import TimedScheduler
from brian2grad.models.order.stopping import spike_budget, step_budget

PS = 10**12


def archive(units, microseconds, n_units):
    units, times = np.asarray(units), np.asarray(microseconds)
    return SimpleNamespace(units=units, times=times, offsets=[0, len(units)], n_units=n_units, time_unit_us=1.0)


def transcription(net, tau, theta, events, synaptic, axonal, service=0, refractory=0, cores=1):
    """Spikes (picoseconds, neuron) in order. A list of arrivals, searched for its smallest time at every
    round."""
    n_in, N = net.n_inputs, net.n_neurons
    full = np.vstack(net.dense())
    delays = np.zeros_like(full)
    for p, d in zip(net.projections, synaptic, strict=True):
        rows, columns = net.starts[p.source], net.starts[p.target]
        block = np.s_[rows : rows + net.sizes[p.source], columns - n_in : columns - n_in + net.sizes[p.target]]
        delays[block] = d
    ticks = lambda seconds: int(round(float(seconds) * PS))  # noqa: E731
    arrivals, order = [], []
    v, last, ready, free = np.zeros(N), np.zeros(N, object), [-(10**30)] * N, [-(10**30)] * cores

    def send(source, departure):
        for j in np.flatnonzero(full[source]):
            along = ticks(axonal[source - n_in]) if source >= n_in else 0
            arrivals.append((departure + along + ticks(delays[source, j]), source, j))

    for unit, time in zip(events.units, events.times, strict=True):
        send(int(unit), int(time) * 10**6)
    while arrivals:
        now = min(a[0] for a in arrivals)
        due = sorted(a for a in arrivals if a[0] == now)
        arrivals[:] = [a for a in arrivals if a[0] != now]
        current = {}
        for _, source, j in due:
            current[j] = current.get(j, 0.0) + full[source, j]
        for j in sorted(current):
            if now < ready[j]:
                continue
            v[j] = v[j] * np.exp(-(now - last[j]) / (tau[j] * PS)) + current[j]
            last[j] = now
            if v[j] > theta[j] and current[j] != 0:
                v[j], ready[j] = 0.0, now + ticks(refractory)
                order.append((now, j))
                departure = now
                if service:
                    core = j * cores // N
                    departure = free[core] = max(now, free[core]) + ticks(service)
                send(n_in + j, departure)
    return order


def random_case(rng):
    sizes = [int(rng.integers(2, 6)), *map(int, rng.integers(2, 6, 2))]
    pairs = [(0, 1), (1, 2), (0, 2), (2, 1)]
    projections = []
    for source, target in pairs:
        w = rng.normal(0.5, 0.5, (sizes[source], sizes[target]))
        w = w if source < target else -np.abs(w)  # feedback inhibits, so that every case comes to rest
        projections.append(Projection(source, target, w))
    net = Connectivity(sizes, projections)
    synaptic = [np.round(rng.uniform(1e-4, 3e-3, p.weights.shape), rng.integers(4, 9)) for p in projections]
    axonal = rng.uniform(0, 1e-3, net.n_neurons)
    times = np.sort(rng.integers(0, 20000, 40))
    return net, synaptic, axonal, archive(rng.integers(0, sizes[0], 40), times, sizes[0])


@pytest.mark.parametrize(("service", "refractory"), [(0, 0), (2e-4, 0), (0, 2e-3), (1e-4, 1e-3)])
def test_equal_to_the_transcription(service, refractory):
    total = 0
    for index in range(30):
        rng = np.random.default_rng(index)
        net, synaptic, axonal, events = random_case(rng)
        tau, theta = rng.uniform(2e-3, 2e-2, net.n_neurons), rng.uniform(0.3, 1, net.n_neurons)
        scheduler = TimedScheduler(
            axonal=axonal * second,
            synaptic=[d * second for d in synaptic],
            service=service * second,
            refractory=refractory * second,
            cores=2,
        )
        network = AsynchronousNetwork(net, tau_m=tau * second, V_th=theta, dtype="float64")
        run = network.run(events, scheduler=scheduler)
        expected = transcription(net, tau, theta, events, synaptic, axonal, service, refractory, cores=2)
        assert list(zip(run.times.tolist(), run.neurons.tolist(), strict=True)) == expected
        total += len(expected)
    assert total > 300


def test_simultaneous_arrivals_are_summed_before_the_test():
    """One excitation and one inhibition of equal size at the same time: no spike, though each path has its
    own delay."""
    net = layered([2, 1], [np.array([[1.0], [-1.0]])])
    network = AsynchronousNetwork(net, V_th=0.5, tau_m=5 * ms)
    delays = [np.array([[3e-4], [1e-4]]) * second]
    run = lambda times, units: network.run(  # noqa: E731
        archive(units, times, 2), scheduler=TimedScheduler(synaptic=delays)
    )
    assert len(run([100, 300], [0, 1]).times) == 0
    assert run([100, 301], [0, 1]).times.tolist() == [400 * 10**6]


def test_latency_and_stop_rules():
    net = layered([1, 2, 1], [np.ones((1, 2)), np.ones((2, 1))])
    network = AsynchronousNetwork(net, V_th=0.5)
    events = archive([0, 0], [1000, 50000], 1)
    run = network.run(events, scheduler=TimedScheduler(axonal=2 * ms, refractory=5 * ms))
    assert run.latency().ms.tolist() == [3]
    assert run.latency([0]).spikes.tolist() == [3]
    assert run.counts.tolist() == [[2, 2, 2]]
    assert run.predictions.tolist() == [0]
    first = network.run(events, scheduler=TimedScheduler(axonal=2 * ms), stop="first-output")
    assert first.counts.sum() == 3
    budget = network.run(events, scheduler=TimedScheduler(axonal=2 * ms), stop=spike_budget(2))
    assert len(budget.times) == 2


@pytest.mark.parametrize(
    ("events", "options", "message"),
    [
        (StepEvents(np.array([0, 0]), np.zeros(0), np.zeros(0), 3, 1, 1, 1e-3), {}, "lost their times"),
        (archive([0], [1], 4), {}, "4 units"),
        (archive([7], [1], 3), {}, r"units\[0\] = 7; expected numbers from 0 to 2"),
        (archive([0, 1], [5, 1], 3), {}, "Event 1 is earlier"),
        (SimpleNamespace(units=[]), {}, "no event archive"),
        (archive([0], [1], 3), {"stop": step_budget(3)}, "no forward steps"),
        (archive([0], [1], 3), {"n_steps": 3}, "continuous time"),
    ],
)
def test_malformed_runs_are_refused(events, options, message):
    network = AsynchronousNetwork([3, 2], V_th=0.5)
    with pytest.raises(NetworkError, match=message):
        network.run(events, scheduler=TimedScheduler(), **options)


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        (TimedScheduler(axonal=[1, 2] * ms), "2 delays for 4 neurons"),
        (TimedScheduler(synaptic=[1 * ms, 2 * ms]), "2 entries for 3"),
        (TimedScheduler(synaptic=[np.ones((9, 9)) * us] * 3), "shape"),
        (TimedScheduler(synaptic=Quantity(-1e-3, dim=second.dim)), "between 0"),
    ],
)
def test_wrong_delays_are_refused(scheduler, message):
    network = AsynchronousNetwork(general(np.ones((2, 4)), np.ones((4, 4)), 1), V_th=0.5)
    network.set_weights(network.weights)
    network.connectivity = Connectivity([2, 3, 1], [*network.connectivity.projections[:3]])
    with pytest.raises(NetworkError, match=message):
        network.run(archive([0], [1], 2), scheduler=scheduler)
