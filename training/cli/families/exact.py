"""What the commands do with runs of networks trained by the exact gradient."""

from __future__ import annotations

import numpy as np

from ...errors import TrainingError
from ...exact.configuration import ExactConfiguration as Configuration
from ...exact.configuration import build, complete, evaluation_task, load_tasks, open_run
from ...exact.evaluation import ExactEvaluation, evaluate_exact, evaluate_exact_brian2
from ...exact.samples import SpikeTask
from .asked import Answer, Asked

__all__ = [
    "DATA", "Configuration", "build", "check", "complete", "described", "evaluate", "load_tasks", "nothing", "simulate",
    "spikes_written", "task_of",
]  # fmt: skip

DATA = ("name",)

_FOREIGN = ("scheduler", "forward_group", "noise", "seed")


def nothing(config: dict) -> None:
    """No rehearsal: what a network of Brian 2 objects refuses, it refuses when they are made, which takes a second."""


def check(asked: Asked) -> None:
    """Refuse what has no effect on such a run, before any work."""
    for name in _FOREIGN:
        if getattr(asked, name) is not None:
            raise TrainingError(f"--{name.replace('_', '-')} belongs to runs with forward steps; leave it out.")
    if asked.client is not None:
        raise TrainingError("Networks of your own objects stay in their process: leave --workers and --cluster out.")
    if asked.stop != "drained":
        raise TrainingError("--stop belongs to asynchronous runs; exact runs last as long as they were trained.")
    if asked.engine == "native" and asked.dt is not None:
        raise TrainingError("--dt belongs to --engine brian2: the compiled engine locates events in time.")


def task_of(asked: Asked) -> SpikeTask:
    """Samples in spike times."""
    return evaluation_task(asked.run.config, asked.data_name, asked.root, asked.limit)


def evaluate(asked: Asked, task: SpikeTask, on_sample=None) -> Answer:
    """Evaluate a run with located events, or in Brian 2 with a small time step."""
    network = open_run(asked.run, threads=asked.threads)
    if asked.engine == "native":
        return Answer(evaluate_exact(network, task, on_sample=on_sample), network)
    result, compilations = evaluate_exact_brian2(
        network, task, **asked.step(), device=asked.on_device, on_sample=on_sample
    )
    return Answer(result, network, compilations=compilations if asked.on_device == "cpp_standalone" else None)


def simulate(asked: Asked, task: SpikeTask, sample: int, echo, plot=None) -> None:
    """Run one sample in Brian 2 and show its spikes and what decided."""
    if plot is not None:
        raise TrainingError("--plot draws gamma and async runs; leave it out for exact runs.")
    network = open_run(asked.run, threads=asked.threads)
    one = SpikeTask(task.events.take([sample]), task.labels[[sample]], task.raw_events)
    result, _ = evaluate_exact_brian2(network, one, **asked.step(), device=asked.on_device)
    echo(f"sample {sample}, label {one.labels[0]}, device {asked.on_device}, dt {result.dt * 1e3:g} ms")
    echo(f"input spikes {len(one.events.spikes.times)}, spikes per group {', '.join(map(str, result.spikes[0]))}")
    what = "first spikes (ms)" if network.spiking else "largest potentials"
    shown = -1e3 * result.answers[0] if network.spiking else result.answers[0]
    echo(f"{what} {', '.join(f'{x:.4g}' for x in shown)}")
    echo(f"decision {result.predictions[0]}" if result.predictions[0] >= 0 else "no output spike")


def spikes_written(result: ExactEvaluation) -> np.ndarray:
    """Spikes per sample and group; the last one is the output."""
    return result.spikes


def described(report: dict) -> dict[str, str]:
    """Lines of a report that only these runs have."""
    latency = report["decision_latency"]
    decision = "no output spike"
    if latency["ms"]["first"] is not None:
        decision = f"after {latency['ms']['first']:.1f} ms and {latency['spikes']['first']:.0f} spikes (median)"
    return {"spikes": f"{report['spikes_per_neuron']:.3f} per neuron and sample", "decision": decision}
