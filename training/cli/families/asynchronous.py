"""What the commands do with runs of asynchronous networks; all in double precision."""

from __future__ import annotations

import functools

import numpy as np
from brian2 import ms

from ....models.asynchronous.network import AsynchronousNetwork
from ....models.order.schedulers import RandomScheduler, TimedScheduler
from ....models.order.stopping import DRAINED, Stop, first_output, parse_stop
from ...asynchronous.configuration import AsyncConfiguration as Configuration
from ...asynchronous.configuration import build, open_run
from ...asynchronous.engines import continuous, evaluate_async_brian2
from ...asynchronous.evaluation import AsyncEvaluation, evaluate_async, summary
from ...cluster.evaluation import evaluate_distributed
from ...configuration.tasks import complete, load_tasks, nothing
from ...data import load
from ...errors import TrainingError
from ...tasks import Task
from .asked import Answer, Asked

__all__ = [
    "DATA", "Configuration", "build", "check", "complete", "described", "evaluate", "load_tasks", "nothing", "simulate",
    "spikes_written", "task_of",
]  # fmt: skip

DATA = ("name", "dt_ms")

task_of = Asked.task


def check(asked: Asked) -> None:
    """Refuse what has no effect on such a run, or no meaning, before any work."""
    if asked.scheduler == "mixed":
        raise TrainingError("'mixed' draws an order for every batch of training; choose one of the others to run in.")
    name = _order_of(asked)
    if asked.noise is not None and name != "momentum":
        raise TrainingError(f"--noise belongs to --scheduler momentum; '{name}' order has none.")
    if name == "timed":
        for option in ("forward_group", "seed"):
            if getattr(asked, option) is not None:
                text = option.replace("_", "-")
                raise TrainingError(
                    f"--{text} has no effect in continuous time, which has no forward steps; leave it out."
                )
        if parse_stop(asked.stop) not in (DRAINED, first_output(scope="sample")):
            raise TrainingError("Continuous time has no forward steps: stop at 'drained' or 'first-output'.")


def evaluate(asked: Asked, task: Task, on_sample=None) -> Answer:
    """Evaluate a run under any order, stop rule and engine."""
    stop = parse_stop(asked.stop)
    network, settings = _opened(asked)
    compilations = None
    if isinstance(network.scheduler, TimedScheduler):
        result = _continuous(network, asked, task, stop)
    elif asked.engine == "brian2":
        result, compilations = evaluate_async_brian2(network, task, stop, asked.on_device, asked.seed, on_sample)
    else:
        run = evaluate_async
        if asked.client is not None:
            run = functools.partial(evaluate_distributed, client=asked.client)
        result = run(network, task, stop=stop, dtype="float64", seed=asked.seed, on_sample=on_sample)
    settings |= {"stop": asked.stop} | ({} if asked.seed is None else {"order_seed": asked.seed})
    return Answer(result, network, settings, compilations)


def simulate(asked: Asked, task: Task, sample: int, echo, plot=None) -> None:
    """Run one sample in Brian 2 and show its spikes in the order in which they were processed."""
    network, settings = _opened(asked)
    if isinstance(network.scheduler, TimedScheduler):
        raise TrainingError("simulate shows forward steps; continuous time has none: use another --scheduler.")
    events, label, stop = task.events.take([sample]), int(task.labels[sample]), parse_stop(asked.stop)
    result = network.brian2(events, device=asked.on_device, stop=stop, sample_ids=[sample])
    part, first = summary(network, result, np.array([label])), result.latency()
    echo(f"sample {sample}, label {label}, device {asked.on_device}, {settings['scheduler']} order")
    echo(f"input events (unit and step) {len(events.units)}, spikes per layer {', '.join(map(str, part['spikes'][0]))}")
    if np.isfinite(first.spikes[0]):
        echo(
            f"decision {part['predictions'][0]}, first output after {first.spikes[0]:.0f} spikes, "
            f"{first.forward_steps[0]:.0f} forward steps, {first.ms[0]:.0f} ms"
        )
    else:
        echo("no output spike")
    if plot is not None:
        from ...plots.asynchronous import async_figure
        from ...plots.style import save_figure

        many = network.run(task.events.take(slice(0, 200)), record=True, stop=stop)
        save_figure(async_figure(network, result, label, many, task.labels[:200]), plot)
        echo(f"plot: {plot}")


def spikes_written(result: AsyncEvaluation) -> np.ndarray:
    """Spikes per sample and layer; the last one is the output."""
    return result.spikes


def described(report: dict) -> dict[str, str]:
    """Lines of a report that only these runs have."""
    group = "" if report["forward_group"] is None else f", forward group {report['forward_group']}"
    order, latency = f"{report['scheduler']}{group}, {report['stop']}", report["decision_latency"]
    decision = f"no output spike ({order})"
    if latency["spikes"]["first"] is not None:
        steps = latency["forward_steps"]["first"]
        decision = f"first output after {latency['spikes']['first']:.0f} spikes"
        decision += "" if steps is None else f", {steps:.0f} forward steps"
        decision += f", {latency['ms']['first']:.1f} ms (median; {order})"
    return {"spikes": f"{report['spikes_per_neuron']:.3f} per neuron and sample", "decision": decision}


def _opened(asked: Asked) -> tuple[AsynchronousNetwork, dict]:
    """Network in the order asked for, and the order by its name; ``'all'``, or ``None`` in continuous time.

    Random order draws one key per waiting spike, so that Brian 2 and the compiled engine take the same groups.
    """
    name = _order_of(asked)
    threads = {"threads": asked.threads} if asked.engine == "native" else {}
    network = open_run(asked.run, **asked.order(), dtype="float64", **threads, **asked.step())
    if isinstance(network.scheduler, RandomScheduler):
        network.scheduler = RandomScheduler(keyed=True)
    group = "all" if network.forward_group is None or network.scheduler.ties else network.forward_group
    timed = isinstance(network.scheduler, TimedScheduler)
    return network, {"scheduler": name, "forward_group": None if timed else group}


def _order_of(asked: Asked) -> str:
    """Order asked for, else that of training; one that was drawn anew for every batch is read as random."""
    name = asked.scheduler or asked.run.config["network"].get("scheduler", "random")
    return "random" if name == "mixed" else name


def _continuous(network: AsynchronousNetwork, asked: Asked, task: Task, stop: Stop) -> AsyncEvaluation:
    """Evaluate in continuous time: recorded event times, axonal delays, leak between any two events."""
    speaker = asked.run.config["data"].get("held_out_speaker")
    archive = load(asked.data_name, asked.root, "validation", held_out_speaker=speaker)
    rest = network.dt if network.model.once_per_timestep else 0 * ms
    timed = TimedScheduler(axonal=0.1 * ms, refractory=rest)
    return continuous(network, archive, task, timed, stop, asked.engine, asked.on_device)
