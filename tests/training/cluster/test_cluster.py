"""Work shared among processes: the same bits on any number of workers, and nothing lost when they are killed."""

import contextlib
import json
import os
import signal
import time

import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import AsynchronousNetwork, SpikingGammaNetwork, StepEvents
from brian2grad.models.gradients import Filter
from brian2grad.training.cluster.bag import run_bag
from brian2grad.training.cluster.connection import connected
from brian2grad.training.cluster.evaluation import evaluate_distributed, joined
from brian2grad.training.cluster.gradients import Batch, Distributed, SharedTask
from brian2grad.training.errors import TrainingError
from brian2grad.training.evaluation import evaluate_native
from brian2grad.training.loop import TrainingOptions, train
from brian2grad.training.tasks import Task

pytest.importorskip("distributed", reason="dask.distributed is not installed")


class Here:
    """A client without processes: what the sharing does, apart from dask."""

    def nthreads(self):
        return {}

    def submit(self, function, *arguments, pure=True):
        return function(*arguments)

    def gather(self, found):
        return found


def make_task(n=40, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    counts = rng.random((n, 10, 6)) < 0.1 + 0.3 * (labels[:, None, None] == (np.arange(6) < 3))
    return Task(StepEvents.from_dense(counts, 1e-3), labels, float(counts.sum() / n))


def make_network(kind=SpikingGammaNetwork, **options):
    options |= {"K": 2, "theta": 0.3, "threads": 1} if kind is SpikingGammaNetwork else {"V_th": 0.3, "threads": 1}
    return kind([6, 8, 2], dt=1 * ms, seed=1, **options)


def trained(client, task, kind=SpikingGammaNetwork, epochs=2, **options):
    network = make_network(kind)
    options = TrainingOptions(epochs=epochs, batch_size=16, **options)
    records = list(train(Distributed(network, task, client), SharedTask(task), options, validation=task))
    return network.parameters, records


def test_a_sum_of_shards_is_the_gradient_of_the_batch():
    task, network = make_task(), make_network(dtype="float64")
    whole = network.gradient(task.events, task.labels, rule=Filter())
    shared = Distributed(network, task, Here(), shards=7)
    [result] = shared.gradients(Batch(np.arange(len(task)), 0, {}), rule=Filter())
    assert result.loss == pytest.approx(whole.loss, rel=1e-12)
    assert result.n_spikes == whole.n_spikes
    np.testing.assert_array_equal(result.outputs, whole.outputs)
    for name, value in whole.gradients.items():
        np.testing.assert_allclose(result.gradients[name], value, rtol=1e-10, atol=1e-14)
    clip = 0.5 * np.sqrt(sum(float(np.vdot(g, g)) for g in whole.gradients.values()))
    [clipped] = shared.gradients(Batch(np.arange(len(task)), 0, {}), rule=Filter(clip=clip))
    assert clipped.norm == pytest.approx(2 * clip)
    np.testing.assert_allclose(2 * clipped.gradients["layer1.w"], result.gradients["layer1.w"])


def test_shards_draw_their_own_random_numbers():
    """Dropout of the first sample of two shards is not the same, and does not depend on who computes it."""
    task = make_task(2)
    task = Task(task.events.take([0, 0]), task.labels[[0, 0]], task.raw_events)
    network = AsynchronousNetwork([6, 8, 2], dt=1 * ms, seed=1, V_th=0.3, threads=1, input_dropout=0.5)
    [result] = Distributed(network, task, Here(), shards=2).gradients(Batch(np.arange(2), 0, {}))
    assert (result.outputs[0] != result.outputs[1]).any()


def test_a_rule_that_updates_on_the_way_is_refused():
    task, network = make_task(), make_network(AsynchronousNetwork)
    options = TrainingOptions(epochs=1, rule="online")
    with pytest.raises(ValueError, match="cannot be shared"):
        list(train(Distributed(network, task, Here()), SharedTask(task), options))


@pytest.mark.parametrize("kind", [SpikingGammaNetwork, AsynchronousNetwork])
def test_parts_of_an_evaluation_are_the_evaluation(kind):
    task, network = make_task(), make_network(kind)
    whole = evaluate_native(network, task)
    parts = [
        evaluate_native(network, Task(task.events.take(part), task.labels[part], 0.0))
        for part in np.array_split(np.arange(40), 3)
    ]
    together = joined(parts)
    assert together.accuracy == whole.accuracy
    assert together.decision_spikes.shape == whole.decision_spikes.shape
    assert (together.spikes.sum(axis=0) == whole.spikes.sum(axis=0)).all() or kind is AsynchronousNetwork


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "average"), [(SpikingGammaNetwork, 0.0), (SpikingGammaNetwork, 0.9), (AsynchronousNetwork, 0.0)]
)
def test_same_bits_on_any_number_of_workers(kind, average):
    task, found = make_task(), []
    for workers in (1, 2, 4):
        with connected(workers=workers) as client:
            found.append(trained(client, task, kind, drop=0.1, average=average))
            evaluation = evaluate_distributed(make_network(kind), task, client, part=7)
    first, records = found[0]
    assert records[-1]["loss"] < records[0]["loss"]
    for parameters, others in found[1:]:
        assert [r["loss"] for r in others] == [r["loss"] for r in records]
        for name, value in first.items():
            np.testing.assert_array_equal(parameters[name], value)
    assert len(evaluation.predictions) == len(task)


def slow_gradient(seconds):
    time.sleep(seconds)
    return {"pid": os.getpid()}


@pytest.mark.long
def test_killed_workers_lose_nothing(tmp_path):
    task = make_task()
    with connected(workers=2) as client:
        expected, _ = trained(client, task, epochs=5)
    with connected(workers=2) as client:
        killed = []
        network = make_network()
        shared = Distributed(network, task, client)
        rng = np.random.default_rng(3)
        options = TrainingOptions(epochs=5, batch_size=16)
        kill = lambda state: killed.append(kill_one(client, rng))  # noqa: E731
        list(train(shared, SharedTask(task), options, on_batch=kill))
        assert len([pid for pid in killed if pid]) >= 10
        for name, value in expected.items():
            np.testing.assert_array_equal(network.parameters[name], value)
        items = {f"run{k}": (0.5,) for k in range(6)}
        results = run_bag(client, slow_gradient, items, tmp_path, lambda *_: kill_one(client, rng))
    assert sorted(results) == sorted(items)
    assert len(list(tmp_path.glob("*.json"))) == 6


def kill_one(client, rng):
    pids = [nanny.pid for nanny in client.cluster.workers.values() if nanny.pid]
    if not pids:  # all are on their way up again
        return None
    pid = int(rng.choice(pids))
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return pid


class Counting:
    """A client that runs at once and counts."""

    calls = 0

    def submit(self, function, *arguments, pure=True):
        raise AssertionError("nothing is left to run")


def test_a_bag_skips_what_is_there_and_keeps_what_failed_apart(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"x": 1}))
    assert run_bag(Counting(), print, {"a": ()}, tmp_path) == {"a": {"x": 1}}
    with pytest.raises(TrainingError, match="no name of a file"):
        run_bag(Counting(), print, {"../a": ()}, tmp_path)


def test_nobody_at_the_address_is_one_line():
    with (
        pytest.raises(TrainingError, match="No scheduler answers at tcp://127.0.0.1:1 "),
        connected("tcp://127.0.0.1:1"),
    ):
        pass


def test_what_fails_while_connected_is_told_as_itself():
    from distributed import LocalCluster

    cluster = LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None)
    with cluster, pytest.raises(OSError, match="No space left"), connected(cluster.scheduler_address):
        raise OSError(28, "No space left on device")
