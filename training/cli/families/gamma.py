"""What the commands do with runs of SpikingGamma networks."""

from __future__ import annotations

import numpy as np
from brian2 import Quantity, ms, second

from ....models.asynchronous_gamma.network import AsynchronousSpikingGamma
from ...cluster.evaluation import evaluate_distributed
from ...configuration.tasks import complete, load_tasks, nothing
from ...errors import TrainingError
from ...evaluation import evaluate_brian2, evaluate_native
from ...gamma.configuration import GammaConfiguration as Configuration
from ...gamma.configuration import GammaOrder, build, open_run
from ...tasks import Task
from .asked import Answer, Asked

__all__ = [
    "DATA", "Configuration", "build", "check", "complete", "described", "evaluate", "load_tasks", "nothing", "simulate",
    "spikes_written", "task_of",
]  # fmt: skip

DATA = ("name", "dt_ms")

task_of = Asked.task


def check(asked: Asked) -> None:
    """Refuse what has no effect on such a run, before any work."""
    trained = asked.run.config["network"]
    ordered = asked.scheduler or asked.forward_group or any(name in trained for name in GammaOrder.model_fields)
    if asked.stop != "drained":
        raise TrainingError("--stop belongs to asynchronous runs; this one is a gamma run.")
    if asked.seed is not None and not ordered:
        raise TrainingError("--seed belongs to asynchronous runs; this one is a gamma run, layer by layer.")
    order = asked.scheduler or trained.get("scheduler", "random")
    if asked.noise is not None and order not in ("momentum", "mixed"):
        raise TrainingError(f"noise belongs to momentum order; leave it out for {order} order.")


def evaluate(asked: Asked, task: Task, on_sample=None) -> Answer:
    """Evaluate a run, layer by layer or in an order, on any engine."""
    network = _opened(asked)
    if asked.client is not None:
        result, compilations = evaluate_distributed(network, task, asked.client, on_sample=on_sample), None
    elif asked.engine == "native":
        result, compilations = evaluate_native(network, task, on_sample=on_sample), None
    else:
        result, compilations = evaluate_brian2(network, task, device=asked.on_device, on_sample=on_sample)
    return Answer(result, network, _order(network), compilations)


def simulate(asked: Asked, task: Task, sample: int, echo, plot=None) -> None:
    """Run one sample in Brian 2 and show its spikes, buckets, decoded signals and output."""
    network = _opened(asked)
    events, label = task.events.take([sample]), task.labels[sample]
    result = network.brian2(events, device=asked.on_device, record=True)
    decided = network.decisions(result.readout)[0]
    counts = ", ".join(str(n) for n in result.spike_counts[0])
    echo(f"sample {sample}, label {label if np.ndim(label) == 0 else 'per step'}, device {asked.on_device}")
    echo(f"input events (unit and step) {len(events.units)}, hidden spikes per layer {counts}")
    echo(f"decision {decided[-1]}, settled after {_settled(decided, network.dt) / ms:.0f} ms")
    if plot is not None:
        from ...plots.sample import simulation_figure
        from ...plots.style import save_figure

        save_figure(simulation_figure(network, events, result, label), plot)
        echo(f"plot: {plot}")


def spikes_written(result) -> np.ndarray:
    """Spikes per sample and layer; the readout does not spike."""
    return np.hstack([result.spikes, np.zeros((len(result.spikes), 1), np.int64)])


def described(report: dict) -> dict[str, str]:
    """Lines of a report that only these runs have."""
    latency, density = report["decision_latency"], f"{report['spikes_per_neuron']:.3f} per hidden neuron and sample"
    decision = "at every step"
    if latency["ms"]["first"] is not None:
        decision = f"settled after {latency['ms']['first']:.0f} ms and {latency['spikes']['first']:.0f} spikes (median)"
    order = {}
    if "scheduler" in report:
        order = {"order": f"{report['scheduler']}, forward group {report['forward_group']}"}
    return {"spikes": density, "decision": decision, **order}


def _opened(asked: Asked):
    options = asked.order() | asked.step()
    options |= {name: value for name in ("threads", "seed") if (value := getattr(asked, name)) is not None}
    return open_run(asked.run, **options)


def _order(network) -> dict:
    """Order of execution, where there is no layer barrier."""
    if not isinstance(network, AsynchronousSpikingGamma):
        return {}
    group = network.forward_group
    return {"scheduler": network.scheduler.name, "forward_group": "all" if group is None else group}


def _settled(decided: np.ndarray, dt) -> Quantity:
    changes = np.flatnonzero(decided[1:] != decided[:-1])
    return Quantity(float(dt) * (int(changes[-1]) + 2 if len(changes) else 1), dim=second.dim)
