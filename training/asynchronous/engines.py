"""Asynchronous networks evaluated in Brian 2, clock-driven, and in continuous time."""

from __future__ import annotations

import time

from ...models.order.schedulers import TimedScheduler
from ...models.order.stopping import Stop
from ..tasks import Task, check_labels
from .evaluation import AsyncEvaluation, joined, summary


def evaluate_async_brian2(network, task: Task, stop: Stop, device, seed, on_sample) -> tuple[AsyncEvaluation, int]:
    """Evaluate in Brian 2, one tick per forward step; the groups are those of the compiled engine."""
    check_labels(task.labels, network.sizes[-1])
    run = network.brian2(
        task.events, device=device, stop=stop, progress=on_sample, **({} if seed is None else {"seed": seed})
    )
    return joined(network, task, [summary(network, run, task.labels)], run.seconds), run.compilations


def continuous(network, archive, task: Task, scheduler: TimedScheduler, stop: Stop, engine="native", device="runtime"):
    """Evaluate the first samples of an archive in continuous time.

    Parameters
    ----------
    network : AsynchronousNetwork
    archive : EventArchive
        What `task` was made of.
    task : Task
    scheduler : TimedScheduler
    stop : Stop
        Drained, or the first output.
    engine : {'native', 'brian2'}
    device : str
        Of Brian 2.

    Returns
    -------
    AsyncEvaluation
    """
    check_labels(task.labels, network.sizes[-1])
    archive = archive[: len(task)].until(task.events.n_steps * task.events.dt)
    began = time.perf_counter()
    if engine == "brian2":
        result = network.brian2(archive, mode="event", device=device, scheduler=scheduler, stop=stop)
    else:
        result = network.run(archive, scheduler=scheduler, stop=stop)
    return joined(network, task, [summary(network, result, task.labels)], time.perf_counter() - began)
