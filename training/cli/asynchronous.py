"""What ``evaluate`` and ``simulate`` do with asynchronous runs."""

from __future__ import annotations

import time

import numpy as np
from brian2 import ms

from ...models.asynchronous.network import AsynchronousNetwork
from ...models.order.schedulers import RandomScheduler, TimedScheduler
from ...models.order.stopping import DRAINED, Stop, parse_stop
from ..asynchronous.configuration import open_async
from ..asynchronous.evaluation import AsyncEvaluation, evaluate_async, joined, summary
from ..data import load
from ..errors import TrainingError
from ..tasks import Task


def open_order(run, scheduler=None, forward_group=None, noise=None, **overrides):
    """Network of a run in the order it was trained in, or in another, as the commands use it.

    Random order draws one key per waiting spike, so that Brian 2 and the compiled engine take the same groups.

    Returns
    -------
    network : AsynchronousNetwork
    settings : dict
        ``scheduler`` by its name and ``forward_group``: ``'all'``, or ``None`` in continuous time.
    """
    if scheduler == "mixed":
        raise TrainingError("'mixed' draws an order for every batch of training; choose one of the others to run in.")
    name = scheduler or run.config.get("network", {}).get("scheduler", "random")
    name = "random" if name == "mixed" else name
    if noise is not None and name != "momentum":
        raise TrainingError(f"--noise belongs to --scheduler momentum; '{name}' order has none.")
    network = open_async(
        run, scheduler=scheduler, forward_group=forward_group, noise=noise, dtype="float64", **overrides
    )
    if isinstance(network.scheduler, RandomScheduler):
        network.scheduler = RandomScheduler(keyed=True)
    group = "all" if network.forward_group is None or network.scheduler.ties else network.forward_group
    timed = isinstance(network.scheduler, TimedScheduler)
    return network, {"scheduler": name, "forward_group": None if timed else group}


def evaluate_run(
    run, task: Task, *, scheduler=None, forward_group=None, noise=None, stop="drained", engine="native",
    device="runtime", threads=None, data=None, data_root=None, seed=None, on_sample=None, **overrides,
) -> tuple[AsyncEvaluation, AsynchronousNetwork, int | None]:  # fmt: skip
    """Evaluate an asynchronous run under any order, stop rule and engine; all in double precision.

    Returns
    -------
    evaluation : AsyncEvaluation
    network : AsynchronousNetwork
    compilations : int or None
        Of C++ standalone.
    """
    rule = parse_stop(stop)
    network, settings = open_order(run, scheduler, forward_group, noise, threads=threads, **overrides)
    compilations = None
    if isinstance(network.scheduler, TimedScheduler):
        result = evaluate_timed(network, run, task, rule, data, data_root, engine, device)
    elif engine == "brian2":
        result, compilations = evaluate_async_brian2(network, task, rule, device, seed, on_sample)
    else:
        result = evaluate_async(network, task, stop=rule, dtype="float64", seed=seed, on_sample=on_sample)
    result.settings = settings | {"stop": str(stop)} | ({} if seed is None else {"order_seed": seed})
    return result, network, compilations


def evaluate_async_brian2(network, task: Task, stop, device, seed, on_sample) -> tuple[AsyncEvaluation, int]:
    """Evaluate in Brian 2, one tick per forward step; the groups are those of the compiled engine."""
    run = network.brian2(
        task.events, device=device, stop=stop, progress=on_sample,
        **({} if seed is None else {"seed": seed}),
    )  # fmt: skip
    part = summary(network, run, task.labels)
    return joined(network, task, [part], run.seconds), run.compilations


def evaluate_timed(network, run, task: Task, stop, data, data_root, engine="native", device="runtime"):
    """Evaluate in continuous time: recorded event times, axonal delays, leak between any two events."""
    if stop not in (DRAINED, parse_stop("first-output")):
        raise TrainingError("Continuous time has no forward steps: stop at 'drained' or 'first-output'.")
    data = data or run.config["data"]["name"]
    archive = load(data, data_root, "validation", held_out_speaker=run.config["data"].get("held_out_speaker"))
    rest = network.dt if network.model.once_per_timestep else 0 * ms
    return continuous(network, archive, task, TimedScheduler(axonal=0.1 * ms, refractory=rest), stop, engine, device)


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
    archive = archive[: len(task)].until(task.events.n_steps * task.events.dt)
    began = time.perf_counter()
    if engine == "brian2":
        result = network.brian2(archive, mode="event", device=device, scheduler=scheduler, stop=stop)
    else:
        result = network.run(archive, scheduler=scheduler, stop=stop)
    return joined(network, task, [summary(network, result, task.labels)], time.perf_counter() - began)


def simulate_run(run, task: Task, sample: int, *, scheduler=None, forward_group=None, stop="drained", device=None,
                 plot=None, echo=None, **overrides) -> None:  # fmt: skip
    """Run one sample in Brian 2 and show its spikes in the order in which they were processed."""
    network, settings = open_order(run, scheduler, forward_group, **overrides)
    if isinstance(network.scheduler, TimedScheduler):
        raise TrainingError("simulate shows forward steps; continuous time has none: use another --scheduler.")
    events, label = task.events.take([sample]), int(task.labels[sample])
    result = network.brian2(events, device=device or "runtime", stop=parse_stop(stop), sample_ids=[sample])
    part = summary(network, result, np.array([label]))
    first = result.latency()
    echo(f"sample {sample}, label {label}, device {device or 'runtime'}, {settings['scheduler']} order")
    echo(f"input events (unit and step) {len(events.units)}, spikes per layer {', '.join(map(str, part['spikes'][0]))}")
    if np.isfinite(first.spikes[0]):
        echo(
            f"decision {part['predictions'][0]}, first output after {first.spikes[0]:.0f} spikes, "
            f"{first.forward_steps[0]:.0f} forward steps, {first.ms[0]:.0f} ms"
        )
    else:
        echo("no output spike")
    if plot is not None:
        from ..plots.asynchronous import async_figure
        from ..plots.gamma import save_figure

        some = task.events.take(slice(0, 200))
        many = network.run(some, record=True, stop=parse_stop(stop))
        save_figure(async_figure(network, result, label, many, task.labels[:200]), plot)
        echo(f"plot: {plot}")
