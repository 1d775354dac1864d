"""Asynchronous networks in Brian 2, clock-driven: spike for spike the dense transcription and the engine."""

import itertools

import async_reference as reference
import numpy as np
import pytest
from brian2 import ms

from brian2grad.models.asynchronous.brian.run import run_async_brian2, run_samples
from brian2grad.models.asynchronous.connectivity import Connectivity, Projection
from brian2grad.models.asynchronous.network import AsynchronousNetwork
from brian2grad.models.errors import NetworkError
from brian2grad.models.events import StepEvents
from brian2grad.models.order.schedulers import (
    FifoScheduler,
    KeyScheduler,
    LayerSynchronous,
    LifoScheduler,
    MomentumScheduler,
    PerCoreScheduler,
    RandomScheduler,
    Scheduler,
    TimedScheduler,
)
from brian2grad.models.order.stopping import first_output, further_steps, spike_budget, step_budget

T = 5
SIZES = (6, 7, 6, 3)
PAIRS = ((0, 1), (1, 2), (2, 3), (0, 3), (1, 3), (1, 1), (2, 2), (3, 1))
COMBINATIONS = list(itertools.product(("RS", "MS"), (1, 3, 8, None), (True, False), (0.0, 0.4)))


# -- forward steps against the dense transcription


def random_connectivity(rng, recurrent):
    """Always the same places for weights, many of them zero, so that one compiled program runs all networks."""
    projections = []
    for source, target in PAIRS:
        weights = rng.normal(0.1 if source < target else -0.3, 0.6, (SIZES[source], SIZES[target]))
        weights[rng.random(weights.shape) < 0.2] = 0
        backward, skip = source >= target, target - source > 1
        if (backward and not recurrent) or (skip and rng.random() < 0.3):
            weights[:] = 0
        projections.append(Projection(source, target, weights))
    return Connectivity(SIZES, projections)


def clock_driven_case(index):
    """Network, arguments, and what the transcription does with them; RS and MS are one key with two numbers."""
    rng = np.random.default_rng(index)
    policy, F, refractory, dropout = COMBINATIONS[index % len(COMBINATIONS)]
    net = random_connectivity(rng, recurrent=refractory and not dropout and index % 3 == 0)
    tau, theta = rng.uniform(0.5, 5, net.n_neurons), rng.uniform(0.1, 0.8, net.n_neurons)
    frame = rng.poisson(0.4, (T, net.n_inputs)).astype(float)
    p = {"refractory_dropout": dropout if refractory else 0.0, "spike_dropout": dropout / 2}
    numbers = {"a": 0, "b": 1} if policy == "RS" else {"a": -1, "b": -1e-6}
    network = AsynchronousNetwork(
        net,
        tau_m=tau * ms,
        V_th=theta,
        dt=1 * ms,
        scheduler=KeyScheduler("a*P + b*rand()", **numbers),
        forward_group=F,
        refractory=refractory,
        seed=index + 2**40,
        max_spikes=20000,
        **p,
    )
    dense = reference.DenseNetwork(
        *net.dense(),
        np.exp(-1 / tau),
        theta,
        F=10**6 if F is None else F,
        policy=policy,
        refractory=refractory,
        seed=index + 2**40,
        sample=index,
        **p,
    )
    order, steps = [], []
    for t, x in enumerate(frame):
        dense.timestep(x)
        order += [(t, step, int(j)) for step, j in dense.order]
        steps.append(dense.step)
    return (network, {"frame": frame, "sample": index, "training": dropout > 0}), order, steps


def assert_equals_transcription(indices, device="runtime"):
    samples, orders, steps = zip(*(clock_driven_case(index) for index in indices), strict=True)
    run = run_samples(list(samples), T, device)
    spikes = run.spikes
    for k, order in enumerate(orders):
        own = spikes.sample == k
        found = zip(spikes.timestep[own].tolist(), spikes.step[own].tolist(), spikes.neuron[own].tolist(), strict=True)
        assert list(found) == order, indices[k]
    np.testing.assert_array_equal(run.forward_steps, steps)
    assert run.counts.sum() == len(spikes) == sum(map(len, orders)) > 5 * len(indices)
    return run


def test_forward_steps_equal_the_transcription():
    assert_equals_transcription(range(0, 32, 5))


@pytest.mark.long
def test_forward_steps_equal_the_transcription_on_160_networks():
    assert_equals_transcription(range(160))


@pytest.mark.long
@pytest.mark.standalone
def test_cpp_standalone_equals_the_transcription_on_1000_networks():
    run = assert_equals_transcription(range(1000), "cpp_standalone")
    assert run.compilations <= 1  # none where an earlier run has left the program


# -- everything else of forward steps, against the compiled engine


def step_events(frames):
    """Events of dense counts (n_samples, T, n_in)."""
    return StepEvents.from_dense(frames, 1e-3)


def example(**arguments):
    rng = np.random.default_rng(8)
    arguments = {"tau_m": 2 * ms, "V_th": 0.35, "forward_group": 2, "seed": 5} | arguments
    network = AsynchronousNetwork([12, 9, 8, 4], dt=1 * ms, dtype="float64", threads=1, **arguments)
    return network, step_events(rng.poisson(0.6, (1, 4, 12)).astype(float))


def assert_equals_engine(network, events, **options):
    native = network.run(events, record=True, **options)
    brian = run_async_brian2(network, events, **options)
    for field in ("sample", "timestep", "step", "neuron"):
        np.testing.assert_array_equal(getattr(brian.spikes, field), getattr(native.spikes, field))
    np.testing.assert_array_equal(brian.forward_steps, native.counters["forward_steps"])
    np.testing.assert_array_equal(brian.outputs, native.outputs)
    assert len(native.spikes) > 10


@pytest.mark.parametrize(
    "scheduler",
    [
        FifoScheduler(),
        LifoScheduler(),
        LayerSynchronous(),
        PerCoreScheduler(3, "cyclic", MomentumScheduler(noise=0.5)),
        KeyScheduler("layer*P - multiplicity + noise*rand()*i", noise=0.1),
    ],
    ids=lambda s: s.name,
)
def test_schedulers(scheduler):
    assert_equals_engine(*example(scheduler=scheduler, refractory=False))


@pytest.mark.parametrize(
    "arguments",
    [
        {"prioritised": False, "scheduler": FifoScheduler()},
        {"sigma": 1, "scheduler": MomentumScheduler()},
        {"input_dropout": 0.3, "scheduler": RandomScheduler(keyed=True)},
    ],
    ids=lambda a: next(iter(a)),
)
def test_queued_input_synchronisation_and_input_dropout(arguments):
    assert_equals_engine(*example(**arguments), training="input_dropout" in arguments)


@pytest.mark.parametrize(
    "stop",
    [
        first_output(leftover="carry"),
        further_steps(2),
        spike_budget(7, scope="sample"),
        step_budget(3, leftover="carry"),
        first_output(scope="sample"),
    ],
    ids=lambda s: f"{s.rule}-{s.value}-{s.scope}-{s.leftover}",
)
def test_stop_rules(stop):
    network, events = example(scheduler=MomentumScheduler(), V_th=0.25)
    native = network.run(events, record=True, stop=stop)
    brian = run_async_brian2(network, events, stop=stop)
    np.testing.assert_array_equal(brian.counts, native.counts)
    np.testing.assert_array_equal(brian.spikes.step, native.spikes.step)
    np.testing.assert_array_equal(brian.forward_steps, native.counters["forward_steps"])


@pytest.mark.parametrize(
    ("V_th", "tau_m", "totals"),
    [(1.0, 1 * ms, [7, 7, 7, 7]), (3.5, 1e6 * ms, [0, 3, 0, 7]), (2.0, 1e-8 * ms, [0, 0, 0, 0])],
)
def test_acceptance_vectors(V_th, tau_m, totals):
    """Per sample: the third hidden spike reaches outputs that rest already; thresholds are strict."""
    net = Connectivity((2, 3, 4), [Projection(0, 1, np.ones((2, 3))), Projection(1, 2, np.ones((3, 4)))])
    network = AsynchronousNetwork(net, V_th=V_th, tau_m=tau_m, dt=1 * ms, forward_group=2)
    run = run_async_brian2(network, step_events(np.ones((2, 4, 2))))
    np.testing.assert_array_equal(run.counts.sum(axis=2), [totals, totals])


def test_brian_draws_its_own_numbers():
    """With all spikes in the group the order is none of the keys' business; with one, another order is chosen."""
    network, events = example(scheduler=RandomScheduler())
    everything = [run_async_brian2(network, events, forward_group=None, keys=keys) for keys in ("shared", "rand")]
    np.testing.assert_array_equal(everything[0].counts, everything[1].counts)
    one = [run_async_brian2(network, events, forward_group=1, keys=keys) for keys in ("shared", "rand")]
    assert not np.array_equal(one[0].spikes.neuron, one[1].spikes.neuron)


def test_runaway_excitation_is_refused():
    loop = Connectivity([1, 2], [Projection(0, 1, np.ones((1, 2))), Projection(1, 1, np.full((2, 2), 2.0))])
    network = AsynchronousNetwork(loop, scheduler=FifoScheduler(), refractory=False, dt=1 * ms, max_spikes=30)
    with pytest.raises(NetworkError, match="Runaway excitation: sample 0 passed 30 spikes in timestep 1"):
        run_async_brian2(network, step_events(np.array([[[0.0], [2.0]]])))


def test_one_program_runs_one_set_of_synapses():
    networks = [AsynchronousNetwork([6, n, 6 - n], dt=1 * ms, scheduler=FifoScheduler()) for n in (2, 3)]
    with pytest.raises(NetworkError, match="joins other neurons"):
        run_samples([(network, {"frame": np.ones((1, 6))}) for network in networks], 1)


class OldestFirst(Scheduler):
    def select(self, queue, forward_group):
        return queue.sources[:forward_group]


@pytest.mark.parametrize(
    ("arguments", "call", "message"),
    [
        ({"scheduler": OldestFirst()}, {}, "needs its key as text"),
        ({"compat": "asynctorch"}, {}, "couples the samples"),
        ({"scheduler": TimedScheduler()}, {}, "mode='event'"),
        ({}, {"mode": "event"}, "needs the delays of a TimedScheduler"),
        ({}, {"mode": "clocked"}, "'clock' or 'event'"),
        ({}, {"keys": "other"}, "keys = 'other'"),
        ({}, {"device": "genn"}, "no custom events"),
        ({}, {"scheduler": "fifo"}, "'fifo' is no scheduler"),
        ({}, {"scheduler": FifoScheduler(), "forward_group": 0}, "forward_group = 0"),
    ],
)
def test_refusals(arguments, call, message):
    network, events = example(**arguments)
    with pytest.raises(NetworkError, match=message):
        run_async_brian2(network, events, **call)
