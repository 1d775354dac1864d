"""SpikingGamma without a layer barrier: the engine against the dense transcription, and against the layered engine."""

import itertools

import async_gamma_reference as reference
import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import AsynchronousSpikingGamma, NetworkError, StepEvents
from brian2grad.models.gamma.network import SpikingGammaNetwork
from brian2grad.models.order.keys import Scheduler
from brian2grad.models.order.schedulers import (
    FifoScheduler,
    LayerSynchronous,
    LifoScheduler,
    MomentumScheduler,
    PerCoreScheduler,
    RandomScheduler,
    ReplayScheduler,
    TimedScheduler,
)
from brian2grad.models.order.stopping import first_output, spike_budget, step_budget

POLICIES = {
    "RS": RandomScheduler(keyed=True),
    "MS": MomentumScheduler(),
    "FIFO": FifoScheduler(),
    "LIFO": LifoScheduler(),
    "layered": LayerSynchronous(),
}
GROUPS = (1, 3, 8, None)
EXECUTIONS = list(itertools.product((True, False), ("end", "start"), (True, False)))  # once, idle, prioritised
FORMS = [
    pytest.param({}, id="unsigned"),
    pytest.param({"signed": True}, id="signed"),
    pytest.param(
        {"buckets": "synapse", "memory": "continuous", "adaptation": 0.2}, id="synapse", marks=pytest.mark.long
    ),
    pytest.param({"signed": True, "adaptation": 0.3}, id="signed-adaptive", marks=pytest.mark.long),
]


ENGINES = {}  # one for every form and shape


def make(index, order=None, **form):
    """Random network of two or three hidden layers, everything random."""
    rng = np.random.default_rng(index)
    sizes = (int(rng.integers(3, 8)), *map(int, rng.integers(2, 9, rng.integers(2, 4))), 3)
    options = {"K": 3, "tau": [20, 35, 27] * ms, "theta": 0.3, "dt": 10 * ms, "dtype": "float64"}
    network = AsynchronousSpikingGamma(sizes, seed=index, threads=1, **options, **form, **(order or {}))
    network._engines = ENGINES.setdefault(repr((form, sizes)), network._engines)
    for name, value in network.parameters.items():
        if name.endswith(".w"):
            value *= 3.0
        if name.endswith(".b"):
            value[:] = rng.normal(scale=0.2, size=value.shape)
    return network


def spikes_of(run):
    order = run.order
    return list(zip(order.timestep.tolist(), order.step.tolist(), order.neuron.tolist(), strict=True))


def assert_equal(network, events, policy, seed):
    """Same spikes in the same order, same deliveries, same forward steps."""
    run = network.run(events, seed=seed)
    F = 10**6 if network.forward_group is None else network.forward_group
    dense, found, received, steps, tests = reference.DenseGamma(network, policy, F, seed=seed), [], [], [], []
    for t, x in enumerate(events.dense(0)):
        found += [(t, step, j) for step, j in dense.timestep(x)]
        received.append(np.concatenate(dense.received[1:]))
        steps.append(dense.step)
        tests.append(sum(layer.n_tests for layer in dense.layers))
    assert spikes_of(run) == found
    np.testing.assert_array_equal(run.counters["forward_steps"][0], steps)
    np.testing.assert_array_equal(run.counters["threshold_tests"][0], tests)
    delivered = np.hstack([layer.dense(0) for layer in run.delivered])
    np.testing.assert_allclose(delivered, received, rtol=1e-12, atol=1e-13)
    return len(found)


@pytest.mark.parametrize("form", FORMS)
def test_equal_to_the_transcription(form, random_events):
    """Random networks under every policy, F and way of executing."""
    total = 0
    for index in range(96):
        policy = list(POLICIES)[index % 3]
        F, (once, idle, prioritised) = GROUPS[index // 3 % 4], EXECUTIONS[index // 12 % 8]
        order = {"once_per_timestep": once, "idle": idle, "prioritised": prioritised}
        network = make(index, order | {"scheduler": POLICIES[policy], "forward_group": F}, **form)
        events = random_events(n_samples=1, n_steps=8, n_units=network.sizes[0], seed=index)
        total += assert_equal(network, events, policy, seed=index)
    assert total > 1500  # the networks do spike


@pytest.mark.long
@pytest.mark.parametrize("form", FORMS)
def test_equal_to_the_transcription_in_all_combinations(form, random_events):
    for index, (policy, F, execution) in enumerate(itertools.product(POLICIES, GROUPS, EXECUTIONS)):
        for repeat in range(2):
            order = dict(zip(("once_per_timestep", "idle", "prioritised"), execution, strict=True))
            network = make(
                1000 + 2 * index + repeat, order | {"scheduler": POLICIES[policy], "forward_group": F}, **form
            )
            events = random_events(n_samples=1, n_steps=8, n_units=network.sizes[0], seed=index)
            assert_equal(network, events, policy, seed=index)


@pytest.mark.parametrize("form", FORMS)
def test_layer_order_is_the_synchronous_network(form, random_events):
    """Spike for spike and bit for bit, by the scheduler or by a group that takes all."""
    spikes = 0
    for index in range(40):
        network = make(index, {"scheduler": LayerSynchronous()}, **form)
        if index % 2:
            network.scheduler, network.forward_group = RandomScheduler(keyed=True), None
        plain = SpikingGammaNetwork.from_config(network.config(), threads=1)
        plain.parameters, plain._engines = network.parameters, network._engines
        events = random_events(n_samples=2, n_steps=12, n_units=network.sizes[0], seed=index)
        wanted, found = (net.forward(events, record=True, count_neurons=True) for net in (plain, network))
        np.testing.assert_array_equal(found.readout, wanted.readout)
        np.testing.assert_array_equal(found.spikes, wanted.spikes)
        np.testing.assert_array_equal(found.neuron_spikes, wanted.neuron_spikes)
        for ours, theirs in zip(itertools.chain(*found.recorded), itertools.chain(*wanted.recorded), strict=True):
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(a, b)
        spikes += int(wanted.spikes.sum())
    assert spikes > 2000


def test_the_order_matters_and_the_fast_draw_is_a_valid_order(random_events):
    """The constant-time draw takes other groups than the keys do; replayed, they give the same spikes."""
    differs = 0
    for index in range(30):
        network = make(index, {"forward_group": 1})
        events = random_events(n_samples=2, n_steps=8, n_units=network.sizes[0], seed=index)
        run = network.run(events)
        again = network.run(events, scheduler=ReplayScheduler(run.tape))
        assert spikes_of(again) == spikes_of(run)
        differs += spikes_of(network.run(events, scheduler=LayerSynchronous())) != spikes_of(run)
    assert differs > 10


def test_schedulers_in_python_meet_the_same_queue(random_events):
    class Python(Scheduler):
        def select(self, queue, forward_group):
            return queue.sources[np.argsort(-(queue.P + 1e-6 * queue.rand))][:forward_group]

    network = make(3, {"scheduler": MomentumScheduler(), "forward_group": 2})
    events = random_events(n_samples=2, n_steps=8, n_units=network.sizes[0])
    assert spikes_of(network.run(events, scheduler=Python())) == spikes_of(network.run(events))


def test_free_neurons_stay_within_theta_of_their_signal(random_events):
    """Without a limit on spikes the unsigned code never lags, the signed one never leaves the band."""
    for signed in (False, True):
        network = make(5, {"once_per_timestep": False, "scheduler": LayerSynchronous()}, signed=signed)
        events = random_events(n_samples=1, n_steps=30, n_units=network.sizes[0])
        run = network.run(events)
        signals = network.forward(events, traces=True).signals
        alpha = np.exp(-float(network.dt / network.tau[0]))
        for signal, sent in zip(signals, run.delivered, strict=True):
            estimate, gaps = np.zeros(sent.n_units), []
            for y, jumps in zip(signal[0], sent.dense(0), strict=True):
                estimate = alpha * estimate + jumps
                gaps.append(y - estimate)
            assert np.max(np.abs(gaps) if signed else gaps) <= 0.3 + 1e-12


def test_stopped_timesteps_carry_or_flush_their_queue(random_events):
    network = make(6, {"forward_group": 1})
    for name in ("layer1.b", "layer2.b", "layer3.b"):
        network.parameters[name][:] = 0  # silence follows the events
    few = random_events(n_samples=1, n_steps=10, n_units=network.sizes[0], density=0.7)
    events = StepEvents(np.pad(few.ptr, (0, 30), mode="edge"), few.units, few.values, few.n_units, 40, 1, few.dt)

    def sent_and_arrived(leftover):
        run = network.run(events, stop=step_budget(4, leftover=leftover))
        assert run.counters["forward_steps"].max() == 4
        assert run.counters["stopped"].any()
        assert run.counters["queue_left"][0, -1] == 0
        return run.counters["spikes"].sum(), sum(layer.values.sum() for layer in run.delivered) / (2 * 0.3)

    sent, arrived = sent_and_arrived("carry")
    assert sent > 20
    assert arrived == pytest.approx(sent)
    sent, arrived = sent_and_arrived("flush")
    assert arrived < sent - 1
    assert (
        network.run(events, stop=spike_budget(2)).counters["spikes"].max()
        < network.run(events).counters["spikes"].max()
    )


def test_samples_and_threads_do_not_matter(random_events):
    network = make(2, {"forward_group": 1})
    events = random_events(n_samples=7, n_steps=8, n_units=network.sizes[0])
    whole = network.run(events)
    part = network.run(events.take([4, 5]), sample_ids=[4, 5])
    np.testing.assert_array_equal(part.neuron_spikes, whole.neuron_spikes[4:6])
    threaded = AsynchronousSpikingGamma.of(network, forward_group=1)
    threaded.threads = 3
    assert spikes_of(threaded.run(events)) == spikes_of(whole)


def test_a_file_holds_the_network_and_the_order_is_an_option(tmp_path, random_events):
    network = make(4, {"scheduler": FifoScheduler(), "forward_group": 1})
    network.save(tmp_path / "net.h5")
    events = random_events(n_units=network.sizes[0])
    again = AsynchronousSpikingGamma.load(tmp_path / "net.h5", scheduler=FifoScheduler(), forward_group=1)
    np.testing.assert_array_equal(again.forward(events).readout, network.forward(events).readout)
    layered = SpikingGammaNetwork.load(tmp_path / "net.h5")
    wanted = AsynchronousSpikingGamma.of(layered, forward_group=None).forward(events)
    np.testing.assert_array_equal(layered.forward(events).readout, wanted.readout)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"multiple": True}, "once_per_timestep=False"),
        ({"idle": "never"}, "idle = 'never' is unknown"),
        ({"forward_group": 0}, "forward_group = 0"),
        ({"scheduler": TimedScheduler()}, "does not run SpikingGamma"),
        ({"scheduler": PerCoreScheduler(cores=2)}, "one queue"),
    ],
    ids=str,
)
def test_bad_options_are_refused(options, text):
    with pytest.raises(NetworkError, match=text):
        AsynchronousSpikingGamma((4, 3, 2), **options)


def test_bad_runs_are_refused(random_events):
    network = make(1, {"once_per_timestep": False})
    events = random_events(n_units=network.sizes[0])
    with pytest.raises(NetworkError, match="the readout does not spike"):
        network.run(events, stop=first_output())
    with pytest.raises(NetworkError, match="The events have 99 units"):
        network.run(random_events(n_units=99))
    with pytest.raises(NetworkError, match="layers one after the other"):
        network.brian2(events, record=True)
    network.max_spikes = 3
    with pytest.raises(NetworkError, match="Runaway excitation: .* Raise theta"):
        network.run(events)
