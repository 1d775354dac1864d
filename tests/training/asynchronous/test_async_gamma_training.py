"""Training SpikingGamma networks in asynchronous order: the loop, runs on disk and the command line."""

import json

import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import AsynchronousSpikingGamma, StepEvents
from brian2grad.models.order.orders import MixedOrder
from brian2grad.models.order.schedulers import FifoScheduler, RandomScheduler
from brian2grad.training import EventArchive, TrainingOptions, train
from brian2grad.training.cli.main import main
from brian2grad.training.runs import Run
from brian2grad.training.tasks import Task


def toy_task(n=60, n_steps=12, seed=0):
    """Two classes, told apart by which half of the units is active, early in one and late in the other."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    rate = np.full((n, n_steps, 8), 0.05)
    rate[labels == 0, :6, :4] = 0.5
    rate[labels == 1, 4:, 4:] = 0.5
    events = StepEvents.from_dense(rng.random(rate.shape) < rate, 10e-3)
    return Task(events, labels, len(events.units) / n)


def network(**order):
    return AsynchronousSpikingGamma([8, 12, 10, 2], K=3, tau=20 * ms, theta=0.3, seed=1, threads=1, **order)


def options(epochs):
    return TrainingOptions(epochs=epochs, batch_size=10, learning_rate=5e-3, schedule="constant")


def test_learns_in_random_order_and_resumes_with_the_same_numbers(tmp_path):
    task = toy_task()
    whole = network(forward_group=1)
    records = list(train(whole, task, options(6), validation=task, run=Run.create(tmp_path / "a", {})))
    assert records[-1]["loss"] < 0.8 * records[0]["loss"]
    assert records[-1]["validation_accuracy"] >= 0.85
    run, half = Run.create(tmp_path / "b", {}), network(forward_group=1)
    list(train(half, task, options(3), run=run))
    rest = network(forward_group=1)
    list(train(rest, task, options(6), run=run, resume=True))
    for name, value in whole.parameters.items():
        np.testing.assert_array_equal(rest.parameters[name], value)


def test_mixed_order_draws_a_scheduler_for_every_batch():
    mixed = network(order=MixedOrder((RandomScheduler(), FifoScheduler()), (1, 4)))
    drawn = set()
    for iteration in range(20):
        mixed.begin(iteration, 0.0)
        order = mixed.batch_order()
        drawn.add((order["scheduler"].name, order["forward_group"]))
    assert len(drawn) == 4
    assert next(train(mixed, toy_task(20), options(1)))["loss"] > 0


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as status:
        main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status.value.code, captured.out, captured.err


@pytest.mark.long
def test_command_line_trains_and_evaluates_in_any_order(tmp_path, capsys):
    rng = np.random.default_rng(0)
    samples = []
    for k in range(40):
        times = np.sort(rng.integers(0, 100, 60)).astype(np.uint32)
        samples.append(((rng.integers(0, 10, 60) + 6 * (k % 2)).astype(np.uint16), times))
    archive, run = tmp_path / "toy.npz", tmp_path / "run"
    labels = (np.arange(40) % 2).astype(np.uint8)
    EventArchive.from_samples(samples, labels, n_units=16, time_unit_us=1000).save(archive)
    command = ["train", "gamma", "--data", archive, "--hidden", "12,10", "--epochs", 3, "--theta", 0.3, "--quiet"]
    code, _, err = call(capsys, *command, "--scheduler", "random", "--forward-group", 2, "--out", run)
    assert code == 0, err

    def evaluated(*options):
        code, out, err = call(capsys, "evaluate", run, "--data", archive, "--json", *options)
        assert code == 0, err
        return json.loads(out)

    assert len({evaluated("--seed", seed)["spikes_per_neuron"] for seed in range(1, 6)}) > 1
    trained, layered = evaluated(), evaluated("--scheduler", "layered")
    assert (trained["scheduler"], trained["forward_group"]) == ("RandomScheduler", 2)
    all_at_once = evaluated("--forward-group", "all")
    same = ("accuracy", "spikes_per_neuron", "synaptic_operations")
    assert [layered[name] for name in same] == [all_at_once[name] for name in same]
    assert trained["spikes_per_neuron"] != layered["spikes_per_neuron"]
    for order in ("layered", "fifo"):
        brian = evaluated("--scheduler", order, "--engine", "brian2", "--limit", 5)
        assert brian["spikes_per_neuron"] == evaluated("--scheduler", order, "--limit", 5)["spikes_per_neuron"]
    for options, text in (
        (["--scheduler", "timed"], "does not run SpikingGamma"),
        (["--stop", "first-output"], "--stop belongs to asynchronous runs"),
        (["--noise", "0.1"], "noise belongs to momentum order"),
    ):
        code, _, err = call(capsys, "evaluate", run, "--data", archive, *options)
        assert code == 2
        assert text in " ".join(err.split())
    code, _, err = call(capsys, "simulate", run, "--data", archive)
    assert (code, "--scheduler layered" in " ".join(err.split())) == (2, True)
    code, out, _ = call(capsys, "simulate", run, "--data", archive, "--scheduler", "layered")
    assert (code, "hidden spikes per layer" in out) == (0, True)
