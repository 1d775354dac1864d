"""The compiled engine does, spike for spike and in the same order, what the dense transcription does."""

import itertools

import async_reference as reference
import numpy as np
import pytest
from brian2 import ms

from brian2grad.models.asynchronous.connectivity import Connectivity, Projection
from brian2grad.models.asynchronous.network import AsynchronousNetwork
from brian2grad.models.events import StepEvents
from brian2grad.models.order.schedulers import (
    KeyScheduler,
    LayerSynchronous,
    MomentumScheduler,
    RandomScheduler,
    ReplayScheduler,
    Scheduler,
)
from brian2grad.models.order.stopping import step_budget

T = 5
COMBINATIONS = list(itertools.product(("RS", "MS"), (1, 3, 8, None), (True, False), (0.0, 0.4)))


def step_events(frames):
    """Events of dense counts (n_samples, T, n_in)."""
    return StepEvents.from_dense(frames, 1e-3)


def random_network(rng, recurrent):
    """Chain of two or three layers with a skip, all parameters random; half of the weights of a layer
    missing."""
    sizes = [int(rng.integers(3, 9)), *map(int, rng.integers(2, 9, rng.integers(2, 4)))]
    pairs = list(itertools.pairwise(range(len(sizes)))) + [(0, len(sizes) - 1)]
    if recurrent:
        pairs += [(1, 1), (len(sizes) - 1, 1)]
    projections = []
    for source, target in pairs:
        weights = rng.normal(0.1 if source < target else -0.3, 0.6, (sizes[source], sizes[target]))
        weights[rng.random(weights.shape) < 0.2] = 0
        projections.append(Projection(source, target, weights))
    net = Connectivity(sizes, projections)
    tau = rng.uniform(0.5, 5, net.n_neurons)
    theta = rng.uniform(0.1, 0.8, net.n_neurons)
    frames = rng.poisson(0.4, (1, T, sizes[0])).astype(float)
    return net, tau, theta, frames


def native(net, tau, theta, frames, policy, F, refractory, dropout, seed, **options):
    scheduler = RandomScheduler(keyed=True) if policy == "RS" else MomentumScheduler(noise=options.pop("noise", 1e-6))
    network = AsynchronousNetwork(
        net,
        tau_m=tau * ms,
        V_th=theta,
        dt=1 * ms,
        scheduler=scheduler,
        forward_group=F,
        refractory=refractory,
        refractory_dropout=dropout if refractory else 0,
        spike_dropout=dropout / 2,
        seed=seed,
        max_spikes=20000,
        dtype="float64",
        threads=1,
        **options,
    )
    return network.run(step_events(frames), record=True, training=dropout > 0)


def transcription(net, tau, theta, frame, policy, F, refractory, dropout, seed, **options):
    F = 10**6 if F is None else F
    p = {"refractory_dropout": dropout if refractory else 0, "spike_dropout": dropout / 2}
    dense = reference.DenseNetwork(
        *net.dense(), np.exp(-1 / tau), theta, F=F, policy=policy, refractory=refractory, seed=seed, **p, **options
    )
    order, counts, steps = [], [], []
    for t, x in enumerate(frame):
        counts.append(dense.timestep(x).copy())
        order += [(t, step, j) for step, j in dense.order]
        steps.append(dense.step)
    return order, np.array(counts), steps


def assert_equal(index, combination, **options):
    rng = np.random.default_rng(index)
    policy, F, refractory, dropout = combination
    bounded = refractory and not dropout
    net, tau, theta, frames = random_network(rng, recurrent=bounded and index % 3 == 0)
    arguments = (policy, F, refractory, dropout, index)
    run = native(net, tau, theta, frames, *arguments, **options)
    order, counts, steps = transcription(net, tau, theta, frames[0], *arguments, **options)
    spikes = run.spikes
    found = list(zip(spikes.timestep.tolist(), spikes.step.tolist(), spikes.neuron.tolist(), strict=True))
    assert found == order
    np.testing.assert_array_equal(run.counts[0], counts)
    np.testing.assert_array_equal(run.counters["forward_steps"][0], steps)
    return len(order)


def test_equal_to_the_transcription_on_100_networks():
    total = 0
    for index in range(100):
        for k in range(3):
            total += assert_equal(index, COMBINATIONS[(3 * index + k) % len(COMBINATIONS)])
    assert total > 3000  # the networks do spike


@pytest.mark.long
def test_equal_to_the_transcription_on_1000_networks():
    for index in range(1000):
        for combination in COMBINATIONS:
            assert_equal(index, combination)


@pytest.mark.parametrize("policy", ["RS", "MS"])
def test_synchronisation_threshold_and_queued_input(policy):
    for index in range(15):
        assert_equal(index, (policy, 3, True, 0.0), sigma=1)
        assert_equal(index, (policy, 2, True, 0.0), prioritised=False)


def test_fast_random_order_is_a_valid_order():
    """The constant-time draw takes other groups than the keys do; replayed, they give the same spikes
    everywhere."""
    for index in range(40):
        rng = np.random.default_rng(index)
        net, tau, theta, frames = random_network(rng, recurrent=index % 3 == 0)
        options = {"tau_m": tau * ms, "V_th": theta, "dt": 1 * ms, "forward_group": 2, "dtype": "float64"}
        run = AsynchronousNetwork(net, **options).run(step_events(frames), record="tape")
        arguments = ("replay", 2, True, 0.0, 0)
        order, counts, steps = transcription(net, tau, theta, frames[0], *arguments, tape=run.tape)
        spikes = run.spikes
        found = list(zip(spikes.timestep.tolist(), spikes.step.tolist(), spikes.neuron.tolist(), strict=True))
        assert found == order
        again = AsynchronousNetwork(net, scheduler=ReplayScheduler(run.tape), **options)
        np.testing.assert_array_equal(again.run(step_events(frames), record="tape").tape.membrane, run.tape.membrane)


def test_large_momentum_noise_looks_at_the_whole_queue():
    for index in range(15):
        assert_equal(index, ("MS", 2, False, 0.0), noise=0.9)


class FullSort(Scheduler):
    """The key of another scheduler, sorted by NumPy at every forward step."""

    def __init__(self, other):
        self.other = other

    def select(self, queue, forward_group):
        return self.other.select(queue, forward_group)


def keys(*default, long):
    """Parameters of which some are long tests: every key is compiled."""
    return [*default, *(pytest.param(key, marks=pytest.mark.long) for key in long)]


DEEP_KEYS = keys(
    "sin(i) + 0.01*rand()", "sin(i)*rand()", "-(P + 1e-6*rand())", "-arrival",
    long=("sin(i)", "sin(i) - 0.3*rand()"),
)  # fmt: skip
EQUAL_KEYS = keys("floor(4*sin(i)) - 2*rand()", long=("floor(4*sin(i))", "floor(4*sin(i)) + 0.01*rand()"))
CHANGING = keys("-multiplicity + 0.001*sin(i)", "multiplicity + 0.001*sin(i) + 0.5*rand()", long=("multiplicity",))
MOVING = keys("sin(i) - 0.05*multiplicity", long=("sin(i) + 0.05*multiplicity", "sin(i) - 0.2*P"))


@pytest.mark.parametrize("key", DEEP_KEYS)
def test_deep_queues_give_the_groups_of_a_full_sort(key):
    """About 900 waiting inputs whose keys come in no order, more than the sorted part of the queue takes."""
    rng = np.random.default_rng(0)
    net = Connectivity([1000, 40, 3])
    for source, target in ((0, 1), (1, 2), (1, 1)):
        net = net.connect(source, target, rng.normal(0, 0.3, (net.sizes[source], net.sizes[target])))
    events = step_events(rng.poisson(2.0, (1, 1, 1000)).astype(float))
    options = {"tau_m": 2 * ms, "V_th": 0.5, "dt": 1 * ms, "dtype": "float64", "prioritised": False, "seed": 3}
    for F in (1, 7, 300) if key == "sin(i) + 0.01*rand()" else (7, 300):
        scheduler = KeyScheduler(key)
        found, wanted = (
            AsynchronousNetwork(net, scheduler=s, forward_group=F, **options).run(events, record="tape").tape
            for s in (scheduler, FullSort(scheduler))
        )
        np.testing.assert_array_equal(found.group_ptr, wanted.group_ptr)
        np.testing.assert_array_equal(found.group, wanted.group)
        np.testing.assert_array_equal(found.spikes, wanted.spikes)
        assert len(found.spikes)


def test_compat_repeats_the_published_loop_over_a_batch():
    """Trailing inhibition is dropped and the samples of a batch are coupled, in the same places."""
    differs = 0
    for index in range(100):
        rng = np.random.default_rng(index)
        net, tau, theta, _ = random_network(rng, recurrent=False)
        n = 1 + 2 * (index % 2)
        frames = rng.poisson(0.4, (n, T, net.n_inputs)).astype(float)
        arguments = ("RS", 3, True, 0.0, index)
        run = native(net, tau, theta, frames, *arguments, compat="asynctorch")
        dense = [
            reference.DenseNetwork(*net.dense(), np.exp(-1 / tau), theta, F=3, seed=index, sample=s) for s in range(n)
        ]
        for t in range(T):
            counts = reference.run_batch(dense, frames[:, t])
            np.testing.assert_array_equal(run.counts[:, t], counts)
        fixed = native(net, tau, theta, frames, *arguments)
        differs += not np.array_equal(fixed.counts, run.counts)
    assert differs  # else the flag is not tested


def layered_lif(net, tau, theta, frame):
    """Decay, add, fire, reset to zero, layer after layer."""
    U = [np.zeros(n) for n in net.sizes[1:]]
    cut = np.cumsum(net.sizes[1:])[:-1]
    decay, theta = np.split(np.exp(-1 / tau), cut), np.split(theta, cut)
    counts = []
    for x in frame:
        for k, p in enumerate(net.projections):
            current = np.zeros(net.sizes[k + 1])
            for i in np.flatnonzero(x):
                current = current + x[i] * p.weights[i]
            U[k] = U[k] * decay[k] + current
            fired = (U[k] > theta[k]) & (current != 0)
            U[k][fired] = 0
            x = fired.astype(float)
            counts.append(x)
    return np.concatenate(counts).reshape(len(frame), -1)


@pytest.mark.parametrize("scheduler", [LayerSynchronous(), RandomScheduler()])
def test_layer_synchronous_is_a_layered_run(scheduler):
    """600 random chains, 10 timesteps: always, as trailing inhibition is kept."""
    for index in range(600 if isinstance(scheduler, LayerSynchronous) else 100):
        rng = np.random.default_rng(index)
        sizes = [12, 6, 6, 6, 3]
        pairs = itertools.pairwise(sizes)
        net = Connectivity(sizes, [Projection(k, k + 1, rng.normal(0, 0.6, p)) for k, p in enumerate(pairs)])
        tau, theta = np.full(net.n_neurons, 2.0), np.full(net.n_neurons, 0.4)
        frames = rng.poisson(0.4, (1, 10, 12)).astype(float)
        network = AsynchronousNetwork(
            net, tau_m=tau * ms, V_th=theta, dt=1 * ms, scheduler=scheduler, forward_group=16, dtype="float64"
        )
        counts = network.run(step_events(frames), record=True).counts[0]
        np.testing.assert_array_equal(counts, layered_lif(net, tau, theta, frames[0]))


@pytest.mark.parametrize("key", EQUAL_KEYS)
def test_equal_keys_deep_in_a_queue_are_taken_by_number(key):
    rng = np.random.default_rng(0)
    net = Connectivity([1000, 3]).connect(0, 1, rng.normal(0, 0.3, (1000, 3)))
    events = step_events(rng.poisson(2.0, (1, 1, 1000)).astype(float))
    scheduler = KeyScheduler(key)
    found, wanted = (
        AsynchronousNetwork(net, scheduler=s, forward_group=7, prioritised=False, dtype="float64", dt=1 * ms).run(
            events, record="tape"
        ).tape
        for s in (scheduler, FullSort(scheduler))
    )  # fmt: skip
    np.testing.assert_array_equal(found.group, wanted.group)
    assert len(found.group) > 800


@pytest.mark.parametrize("key", CHANGING)
def test_keys_that_change_while_they_wait(key):
    """What is carried over waits deep in the queue when more of it arrives."""
    rng = np.random.default_rng(1)
    net = Connectivity([1000, 3]).connect(0, 1, rng.normal(0, 0.3, (1000, 3)))
    events, stop = step_events(rng.poisson(1.0, (1, 4, 1000)).astype(float)), step_budget(5, leftover="carry")
    scheduler = KeyScheduler(key)
    found, wanted = (
        AsynchronousNetwork(net, scheduler=s, forward_group=7, prioritised=False, dtype="float64", dt=1 * ms).run(
            events, record="tape", stop=stop
        ).tape
        for s in (scheduler, FullSort(scheduler))
    )  # fmt: skip
    np.testing.assert_array_equal(found.group_ptr, wanted.group_ptr)
    np.testing.assert_array_equal(found.group, wanted.group)
    np.testing.assert_array_equal(found.multiplicity, wanted.multiplicity)
    assert len(found.group) == 4 * 5 * 7


@pytest.mark.parametrize("key", MOVING)
def test_neurons_that_spike_again_move_within_a_deep_queue(key):
    """Among a thousand inputs that wait, neurons that may spike again and again take new places."""
    rng = np.random.default_rng(2)
    net = Connectivity([1500, 200, 3])
    for source, target, mean in ((0, 1, 0.02), (1, 2, 0.0), (1, 1, 0.02)):
        net = net.connect(source, target, rng.normal(mean, 0.15, (net.sizes[source], net.sizes[target])))
    events = step_events(rng.poisson(2.0, (1, 1, 1500)).astype(float))
    scheduler = KeyScheduler(key)
    found, wanted = (
        AsynchronousNetwork(
            net, tau_m=2 * ms, V_th=0.5, dt=1 * ms, scheduler=s, forward_group=7, prioritised=False, refractory=False,
            dtype="float64",
        ).run(events, record="tape", stop=step_budget(80)).tape
        for s in (scheduler, FullSort(scheduler))
    )  # fmt: skip
    np.testing.assert_array_equal(found.group, wanted.group)
    np.testing.assert_array_equal(found.multiplicity, wanted.multiplicity)
    assert found.multiplicity[found.group >= 1500].max(initial=0) > 2
