"""Behaviour of asynchronous networks: acceptance vectors, schedulers, stop rules, refusals, files."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from brian2 import ms, second
from scipy import sparse

from brian2grad.models.asynchronous.connectivity import Connectivity, general, layered
from brian2grad.models.asynchronous.convolution import conv2d
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
    momentum_noise,
)
from brian2grad.models.order.stopping import first_output, further_steps, spike_budget, step_budget


def step_events(frames):
    """Events of dense counts (n_samples, T, n_in)."""
    return StepEvents.from_dense(frames, 1e-3)


def ones(*sizes):
    return layered(sizes, [np.ones(pair) for pair in zip(sizes[:-1], sizes[1:], strict=True)])


@pytest.fixture(scope="module")
def example():
    """A network that spikes in every layer, and four samples for it."""
    rng = np.random.default_rng(3)
    network = AsynchronousNetwork(
        [30, 20, 20, 5], tau_m=2 * ms, V_th=0.4, dt=1 * ms, forward_group=2, seed=1, dtype="float64"
    )
    return network, step_events(rng.poisson(0.3, (4, 6, 30)))


# -- acceptance vectors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("V_th", "tau_m", "totals"),
    [
        (1.0, 1 * ms, [14, 14, 14, 14, 14]),
        (3.5, 1e9 * second, [0, 6, 0, 14, 0]),  # the third hidden spike reaches outputs that already rest
        (2.0, 1e-8 * ms, [0, 0, 0, 0, 0]),  # strictly above
    ],
)
@pytest.mark.parametrize("compat", [None, "asynctorch"])
def test_totals_of_the_published_tests(V_th, tau_m, totals, compat):
    network = AsynchronousNetwork(
        ones(2, 3, 4), tau_m=tau_m, V_th=V_th, dt=1 * ms, forward_group=2, compat=compat, dtype="float64"
    )
    run = network.run(step_events(np.ones((2, 5, 2))), record=True)
    assert run.counters["spikes"].sum(axis=0).tolist() == totals


def test_last_output_spike_is_the_third_network_spike():
    net = layered([1, 2, 1], [np.full((1, 2), 0.9), np.full((2, 1), 0.9)])
    network = AsynchronousNetwork(net, V_th=0.5, dt=1 * ms, forward_group=1)
    run = network.run(step_events(np.ones((1, 1, 1))), record=True)
    assert run.spikes.neuron.tolist()[-1] == 2
    assert run.latency().spikes.tolist() == [3]
    assert run.latency().forward_steps.tolist() == [2]
    assert run.latency().ms.tolist() == [1]


# -- schedulers ----------------------------------------------------------------------------------------


class Copy(Scheduler):
    """The slow path of a compiled scheduler."""

    def __init__(self, scheduler):
        self.scheduler = scheduler
        self.ties = scheduler.ties
        self.cores = scheduler.cores

    def core_of(self, network):
        return self.scheduler.core_of(network)

    def select(self, queue, forward_group):
        return self.scheduler.select(queue, forward_group)


@pytest.mark.parametrize(
    "scheduler",
    [
        RandomScheduler(keyed=True),
        MomentumScheduler(),
        MomentumScheduler(noise=0.5),
        FifoScheduler(),
        LifoScheduler(),
        LayerSynchronous(),
        pytest.param(KeyScheduler("-layer + noise*rand()", noise=0.7), marks=pytest.mark.long),
        KeyScheduler("rand()*exp(-P)"),
        PerCoreScheduler(3, "cyclic"),
        PerCoreScheduler(2, order=MomentumScheduler()),
    ],
    ids=lambda s: s.name,
)
def test_compiled_scheduler_does_what_its_python_does(scheduler, example):
    network, events = example
    fast = network.run(events, scheduler=scheduler, record="tape")
    slow = network.run(events, scheduler=Copy(scheduler), record="tape")
    for name in ("spikes", "spike_ptr", "group", "group_ptr", "received", "membrane"):
        np.testing.assert_array_equal(getattr(fast.tape, name), getattr(slow.tape, name))


def test_random_groups_are_uniform_subsets():
    """Fast random order: of six waiting neurons every pair is drawn equally often."""
    n = 6000
    network = AsynchronousNetwork(ones(1, 6, 1), V_th=0.5, dt=1 * ms, forward_group=2, threads=1)
    tape = network.run(step_events(np.ones((n, 1, 1))), record="tape").tape
    pairs = np.array([tape.received_into(k + 1) for k in tape.step_ptr[:-1]]) - 1
    code = pairs[:, 0] * 6 + pairs[:, 1]
    _, counts = np.unique(code, return_counts=True)
    assert len(counts) == 15
    chi_square = ((counts - n / 15) ** 2 / (n / 15)).sum()
    assert chi_square < 36  # 14 degrees of freedom, p = 0.001


def test_first_in_first_out_delivers_in_the_order_of_spikes(example):
    network, events = example
    run = network.run(events, scheduler=FifoScheduler(), forward_group=1, record="tape")
    tape = run.tape
    for row in range(tape.steps.size):
        steps = range(tape.step_ptr[row] + 1, tape.step_ptr[row + 1])  # the first one receives the input
        delivered = np.concatenate([tape.received_into(k) for k in steps] or [[]]) - network.n_inputs
        spiked = tape.spikes[tape.spike_ptr[tape.step_ptr[row]] : tape.spike_ptr[tape.step_ptr[row + 1]]]
        assert delivered.tolist() == spiked[: len(delivered)].tolist()


def test_noise_schedule():
    noise = momentum_noise(start=1.0, gamma=0.5, step=10, offset=5)
    assert [noise(n) for n in (0, 5, 14, 15, 25)] == [1, 1, 1, 0.5, 0.25]
    assert MomentumScheduler(noise).numbers(25) == {"noise": 0.25}


class Twice(Scheduler):
    def select(self, queue, forward_group):
        return np.repeat(queue.sources[:1], 2)


class Stranger(Scheduler):
    def select(self, queue, forward_group):
        return np.setdiff1d(np.arange(30, 75), queue.sources)[:1]


class Nothing(Scheduler):
    def select(self, queue, forward_group):
        return queue.sources[:0]


class Greedy(Scheduler):
    def select(self, queue, forward_group):
        return queue.sources


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [(Twice(), "twice"), (Stranger(), "not queued"), (Nothing(), "nothing"), (Greedy(), "forward group holds")],
)
def test_wrong_choices_are_refused(scheduler, message, example):
    network, events = example
    with pytest.raises(NetworkError, match=message):
        network.run(events, scheduler=scheduler)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KeyScheduler("P +"), "cannot be read"),
        (lambda: KeyScheduler("age"), "uses age"),
        (lambda: KeyScheduler("sorted(P)"), "calls sorted"),
        (lambda: KeyScheduler("P + a", a=np.nan), "a = nan in the key 'P . a' must be finite"),
        (lambda: AsynchronousNetwork([4, 3], scheduler="random"), "'random' is no scheduler; pass an object"),
        (lambda: AsynchronousNetwork([4, 3]).run(step_events(np.ones((1, 1, 4))), scheduler=Twice), "no scheduler"),
        (lambda: MomentumScheduler(-1), "0 or more"),
        (lambda: PerCoreScheduler(0), "at least one core"),
        (lambda: TimedScheduler(axonal=1), "must be a time"),
    ],
)
def test_wrong_schedulers_are_refused(make, message):
    with pytest.raises(NetworkError, match=message):
        make()


# -- stop rules ----------------------------------------------------------------------------------------


def test_stop_rules(example):
    network, events = example
    drained = network.run(events, record=True)
    first = network.run(events, stop=first_output())
    answered = drained.outputs.sum(axis=2) > 0
    assert answered.any()
    np.testing.assert_array_equal(first.counters["stopped"].astype(bool)[:, 0], answered[:, 0])
    steps = first.first[..., 1].max(axis=2)[:, 0]
    np.testing.assert_array_equal(first.counters["forward_steps"][answered[:, 0], 0], steps[answered[:, 0]])
    later = network.run(events, stop=further_steps(3))
    assert (later.counters["forward_steps"][:, 0] <= first.counters["forward_steps"][:, 0] + 3).all()
    budget = network.run(events, stop=step_budget(2))
    assert budget.counters["forward_steps"].max() == 2
    spikes = network.run(events, stop=spike_budget(5, scope="sample"), forward_group=1)
    assert (spikes.counters["spikes"].sum(axis=1) >= 5).all()
    assert (spikes.counters["forward_steps"][:, -1] == 0).all()


def test_queue_after_a_forced_stop(example):
    network, events = example
    flushed = network.run(events, stop=step_budget(3, leftover="flush"))
    carried = network.run(events, stop=step_budget(3, leftover="carry"))
    assert flushed.counters["queue_left"].max() > 0
    total = lambda run: run.counters["delivered"].sum()  # noqa: E731
    assert total(carried) >= total(flushed)
    assert carried.counters["queue_max"].max() > flushed.counters["queue_max"].max()


def test_further_steps_only_add_spikes(example):
    network, events = example
    runs = [network.run(events, stop=further_steps(M)).counters["spikes"].sum() for M in (0, 1, 2, 4, 100)]
    assert runs == sorted(runs)
    assert runs[-1] == network.run(events).counters["spikes"].sum()
    assert first_output() == further_steps(0)


@pytest.mark.parametrize("stop", ["soon", further_steps, -1])
def test_unknown_stop_rules_are_refused(stop, example):
    network, events = example
    with pytest.raises(NetworkError):
        network.run(events, stop=stop)


# -- reproducibility -----------------------------------------------------------------------------------


@pytest.mark.threads
def test_replay_from_the_seed_whatever_threads_and_batch(example):
    network, events = example
    options = {"record": "tape", "training": True}
    network = AsynchronousNetwork(
        network.connectivity, tau_m=2 * ms, V_th=0.4, dt=1 * ms, refractory_dropout=0.5, spike_dropout=0.2, threads=1
    )
    many = AsynchronousNetwork(
        network.connectivity, tau_m=2 * ms, V_th=0.4, dt=1 * ms, refractory_dropout=0.5, spike_dropout=0.2, threads=3
    )
    one = network.run(events, **options)
    for other in (network.run(events, **options), many.run(events, **options)):
        np.testing.assert_array_equal(one.tape.spikes, other.tape.spikes)
        np.testing.assert_array_equal(one.tape.group, other.tape.group)
    part = network.run(events.take([2]), sample_ids=[2], **options)
    np.testing.assert_array_equal(part.counts[0], one.counts[2])
    assert not np.array_equal(network.run(events, seed=9, **options).tape.spikes, one.tape.spikes)


def test_dropouts_act_in_training_only(example):
    _, events = example
    make = lambda **dropout: AsynchronousNetwork(  # noqa: E731
        [30, 20, 20, 5], tau_m=2 * ms, V_th=0.4, dt=1 * ms, forward_group=1, seed=1, **dropout
    )
    plain = make().run(events).counters["spikes"].sum()
    for name, more in (("refractory_dropout", True), ("spike_dropout", False), ("input_dropout", False)):
        network = make(**{name: 0.5})
        assert network.run(events).counters["spikes"].sum() == plain
        assert (network.run(events, training=True).counters["spikes"].sum() > plain) == more


def test_save_and_load(tmp_path, example):
    network, events = example
    network.save(tmp_path / "net.h5")
    again = AsynchronousNetwork.load(tmp_path / "net.h5")
    np.testing.assert_array_equal(network.forward(events), again.forward(events))
    rows = sparse.random_array((40, 40), density=0.1, rng=np.random.default_rng(0))
    recurrent = AsynchronousNetwork(general(np.ones((3, 40)), rows, 4), tau_m=np.full(40, 3) * ms, sigma=1)
    recurrent.save(tmp_path / "recurrent.h5")
    again = AsynchronousNetwork.load(tmp_path / "recurrent.h5", scheduler=FifoScheduler())
    for mine, theirs in zip(recurrent.connectivity.dense(), again.connectivity.dense(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    (tmp_path / "bad.h5").write_bytes(b"nonsense")
    for name in ("bad.h5", "missing.h5"):
        with pytest.raises(NetworkError, match=name):
            AsynchronousNetwork.load(tmp_path / name)


# -- connectivity and refusals -------------------------------------------------------------------------


def test_sparse_rows_do_what_dense_rows_do(example):
    network, events = example
    rows = network.connectivity.with_weights([sparse.csr_array(w) for w in network.weights])
    other = AsynchronousNetwork(rows, tau_m=2 * ms, V_th=0.4, dt=1 * ms, forward_group=2, seed=1, dtype="float64")
    dense, thin = network.run(events, record="tape"), other.run(events, record="tape")
    np.testing.assert_array_equal(dense.tape.spikes, thin.tape.spikes)
    np.testing.assert_array_equal(dense.counters["synaptic_operations"], thin.counters["synaptic_operations"])


def test_convolution_and_pooling_fold_into_weights():
    rng = np.random.default_rng(0)
    image, kernel = rng.normal(size=(2, 7, 6)), rng.normal(size=(3, 2, 3, 3))
    weights, shape = conv2d(image.shape, kernel, stride=1, padding=1, pool=2)
    assert shape == (3, 3, 3)
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    full = np.array(
        [[[(padded[:, y : y + 3, x : x + 3] * k).sum() for x in range(6)] for y in range(7)] for k in kernel]
    )
    expected = full[:, :6, :6].reshape(3, 3, 2, 3, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(image.ravel() @ weights, expected.ravel())
    with pytest.raises(NetworkError, match="kernel"):
        conv2d((1, 4, 4), kernel)


def bad_indices():
    rows = sparse.csr_array(np.ones((4, 3)))
    rows.indices[0] = 7
    return rows


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Connectivity([3]), "at least one layer"),
        (lambda: Connectivity([4, 3]).connect(0, 1, np.ones((3, 4))), "n_pre, n_post"),
        (lambda: Connectivity([4, 3]).connect(1, 0, np.ones((3, 4))), "never a target"),
        (lambda: Connectivity([4, 3]).connect(0, 1, np.full((4, 3), np.nan)), "finite"),
        (lambda: Connectivity([4, 3]).connect(0, 1, bad_indices()), "only 3 units"),
        (lambda: layered([4, 3, 2], [np.ones((4, 3))]), "1 weight matrices"),
        (lambda: AsynchronousNetwork([4, 3], tau_m=np.ones(2) * ms), "2 values for 3 neurons"),
        (lambda: AsynchronousNetwork([4, 3], compat="torch"), "compat"),
        (lambda: AsynchronousNetwork([4, 3], spike_dropout=1.5), "spike_dropout"),
        (lambda: AsynchronousNetwork([4, 3]).run(step_events(np.ones((1, 1, 5)))), "10 steps|0.001|units"),
        (lambda: AsynchronousNetwork([5, 3], dt=1 * ms, forward_group=0).run(step_events(np.ones((1, 1, 5)))), ">= 1"),
        (
            lambda: AsynchronousNetwork([5, 3], dt=1 * ms, forward_group="few").run(step_events(np.ones((1, 1, 5)))),
            "'few'; it is",
        ),
    ],
)
def test_malformed_networks_and_input_are_refused(make, message):
    with pytest.raises(NetworkError, match=message):
        make()


@pytest.mark.threads
def test_runaway_excitation_stops():
    net = general(np.ones((1, 3)), np.ones((3, 3)), 1)
    network = AsynchronousNetwork(net, V_th=0.5, dt=1 * ms, refractory=False)
    events = step_events(np.ones((2, 2, 1)))
    with pytest.raises(NetworkError, match="Runaway excitation: sample 0"):
        network.run(events)
    assert network.run(events, stop=spike_budget(50)).counters["spikes"].max() < 60
    timed = SimpleNamespace(units=[0], times=[0], offsets=[0, 1], n_units=1, time_unit_us=1)
    with pytest.raises(NetworkError, match="Runaway excitation"):
        network.run(timed, scheduler=TimedScheduler())


def test_counters(example):
    """Counters follow from the tape."""
    network, events = example
    run = network.run(events, record="tape")
    tape, rows = run.tape, np.repeat(np.arange(24), run.tape.steps.ravel())
    per_row = lambda ptr: np.bincount(rows, np.diff(ptr), 24).reshape(4, 6)  # noqa: E731
    np.testing.assert_array_equal(per_row(tape.spike_ptr), run.counters["spikes"])
    np.testing.assert_array_equal(per_row(tape.received_ptr), run.counters["threshold_tests"])
    np.testing.assert_array_equal(run.outputs.sum(axis=1), run.counts[..., -5:].sum(axis=1))
    fanout = np.concatenate([np.count_nonzero(w, axis=1) for w in network.weights] + [np.zeros(5, int)])
    assert run.counters["synaptic_operations"].sum() >= fanout[tape.group].sum()
    assert (run.queue_mean <= run.counters["queue_max"]).all()


def test_a_network_travels_between_processes(example):
    network, events = example
    expected = network.forward(events)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(network)).forward(events), expected)
