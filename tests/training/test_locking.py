"""Two processes never train in one run folder, and no death leaves it closed."""

import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import SpikingGammaNetwork, StepEvents
from brian2grad.training import RunError, Task, TrainingOptions, train
from brian2grad.training.locking import locked
from brian2grad.training.runs import Run

OPTIONS = TrainingOptions(epochs=3, batch_size=6)
SPAWN = multiprocessing.get_context("spawn")


def task():
    rng = np.random.default_rng(0)
    return Task(StepEvents.from_dense(rng.integers(0, 2, (12, 8, 6)), 1e-2), np.arange(12) % 2, 10.0)


def epochs(run, **options):
    network = SpikingGammaNetwork([6, 5, 2], K=2, tau=20 * ms, theta=0.5, dt=10 * ms, threads=1)
    return train(network, task(), OPTIONS, run=run, **options)


def hold(folder, connection):
    with locked(folder):
        connection.send(os.getpid())
        time.sleep(600)


@pytest.fixture
def holder(tmp_path):
    """A process that holds the folder until it is killed."""
    receiver, sender = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=hold, args=(tmp_path, sender))
    process.start()
    assert receiver.poll(60)
    assert receiver.recv() == process.pid
    yield process
    process.kill()
    process.join()


def test_a_second_process_is_refused_with_the_id_of_the_first(tmp_path, holder):
    with pytest.raises(RunError, match=rf"is being trained by process {holder.pid}; .* \(kill {holder.pid}\)\.$"):
        Run.create(tmp_path, {"run": {}})
    assert not (tmp_path / "config.toml").exists()
    for resume in (False, True):
        with pytest.raises(RunError, match=f"process {holder.pid}"):
            list(epochs(Run(tmp_path), resume=resume))


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_death_releases_the_folder(tmp_path, holder, end):
    os.kill(holder.pid, end)
    holder.join(30)
    assert (tmp_path / ".lock").read_text() == str(holder.pid)  # what is left of it closes nothing
    run = Run.create(tmp_path, {"run": {}})
    assert [record["epoch"] for record in epochs(run)] == [1, 2, 3]
    assert not (tmp_path / ".lock").exists()


def test_a_run_is_held_from_the_first_epoch_to_the_last(tmp_path):
    run = Run.create(tmp_path / "run", {"run": {}})
    running = epochs(run)
    assert next(running)["epoch"] == 1
    for other in (epochs(Run.open(run.folder), resume=True), epochs(run, resume=True)):
        with pytest.raises(RunError, match=f"is being trained by process {os.getpid()}"):
            next(other)
    running.close()  # interrupted
    assert [record["epoch"] for record in epochs(Run.open(run.folder), resume=True)] == [2, 3]
    assert [record["epoch"] for record in run.metrics()] == [1, 2, 3]


def test_the_configuration_is_that_of_the_process_that_trains(tmp_path):
    """Both made the folder before either had begun."""
    first, second = (Run.create(tmp_path, {"run": {"seed": seed}}) for seed in (1, 2))
    running = epochs(first)
    next(running)
    assert first.config["run"]["seed"] == 1
    with pytest.raises(RunError, match="is being trained"):
        next(epochs(second))
    running.close()
    assert second.config["run"]["seed"] == 1


def test_many_at_once_hold_it_one_by_one(tmp_path):
    inside, most, refused = [], [], []

    def enter():
        for _ in range(200):
            try:
                with locked(tmp_path):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except RunError:
                refused.append(1)

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) + len(refused) == 800


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(RunError, match=r"gone cannot be written \(No such file or directory\); choose another --out"):
        list(epochs(Run(tmp_path / "gone")))
