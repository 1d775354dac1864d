"""Evaluation of asynchronous networks: accuracy, spike density, operations and decision latency under any order."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from ...models.checks import OWN
from ...models.order.outcome import Outcome
from ...models.order.stopping import DRAINED
from ..errors import TrainingError
from ..metrics import SpikingAnswers
from ..tasks import Task, check_labels

# Counters that are kept, and how those of a sample's timesteps come together.
COUNTED = {
    **dict.fromkeys(("spikes", "synaptic_operations", "threshold_tests", "forward_steps", "delivered"), np.sum),
    "queue_max": np.max,
}


@dataclass(repr=False)
class AsyncEvaluation(SpikingAnswers):
    """Result of running an asynchronous network over a task.

    Attributes
    ----------
    predictions : (n_samples,) array of int
        Output with the most spikes until the stop; -1 where none spiked.
    labels : (n_samples,) array of int
    spikes : (n_samples, n_layers) array of int
        Hidden layers and, last, the output.
    latency : dict of str to (n_samples, 2) array
        ``spikes``, ``forward_steps`` and ``ms`` until the first output spike and until the first of the labelled class;
        infinite where there is none.
    counted : dict of str to (n_samples,) array
        Sums over timesteps (``queue_max``: the maximum).
    seconds, duration, dt : float
    n_neurons, n_classes : int
    """

    predictions: np.ndarray
    labels: np.ndarray
    spikes: np.ndarray
    latency: dict
    counted: dict
    seconds: float
    duration: float
    dt: float
    n_neurons: int
    n_classes: int
    settings: dict = field(default_factory=dict)

    def mean(self, name: str) -> float | None:
        """Mean of a counter over samples; ``None`` where the engine has no such count."""
        value = float(np.mean(self.counted[name]))
        return None if np.isnan(value) else value

    def report(self, network, task: Task) -> dict:
        """The JSON object that ``evaluate --json`` prints, without where and how it ran."""
        return {
            **self.shared_report(task),
            **{
                name: self.mean(name)
                for name in ("synaptic_operations", "threshold_tests", "forward_steps", "queue_max")
            },
            "decided": float(np.isfinite(self.latency["spikes"][:, 0]).mean()),
            "decision_latency": self.medians(),
            "seconds": self.seconds,
            "dt_ms": self.dt * 1e3,
            **self.settings,
        }


def evaluate_async(
    network, task: Task, *, scheduler=None, forward_group=OWN, stop=DRAINED, dtype=None, batch=200, seed=None,
    first_sample=0, on_sample=None,
) -> AsyncEvaluation:  # fmt: skip
    """Run a task through the compiled engine, without the dropouts of training.

    Parameters
    ----------
    network : AsynchronousNetwork
    task : Task
    scheduler, forward_group, dtype, seed
        Instead of the network's own.
    stop : Stop
    batch : int
    first_sample : int
        Number of the task's first sample, on which the random order depends, where it is a part of another task.
    on_sample : callable, optional
        Called with the number of samples done.
    """
    if task.per_step:
        raise TrainingError("This data set has a label for every step; asynchronous networks answer once per sample.")
    check_labels(task.labels, network.sizes[-1])
    began, parts = time.perf_counter(), []
    for first in range(0, len(task), batch):
        ids = np.arange(first, min(first + batch, len(task)))
        result = network.run(
            task.events.take(ids), record=True, scheduler=scheduler, forward_group=forward_group,
            stop=stop, dtype=dtype, seed=seed, sample_ids=first_sample + ids,
        )  # fmt: skip
        parts.append(summary(network, result, task.labels[ids]))
        if on_sample:
            on_sample(int(ids[-1]) + 1)
    return joined(network, task, parts, time.perf_counter() - began)


def summary(network, outcome: Outcome, labels) -> dict:
    """What is kept of the run of a batch; nan for what the engine does not count."""
    sizes = network.connectivity.sizes[1:]
    layer = np.repeat(np.arange(len(sizes)), sizes)
    spikes, n = outcome.spike_list, len(labels)
    per_layer = np.bincount(spikes.sample * len(sizes) + layer[spikes.neuron], minlength=n * len(sizes))
    totals = outcome.outputs.sum(axis=1)
    latencies = outcome.latency(), outcome.latency(labels)
    uncounted = np.full((n, 1), np.nan)
    names = ("spikes", "forward_steps", "ms")
    return {
        "predictions": np.where(totals.any(axis=1), totals.argmax(axis=1), -1),
        "spikes": per_layer.reshape(n, len(sizes)),
        **{f"latency.{name}": np.stack([getattr(found, name) for found in latencies], axis=1) for name in names},
        **{
            f"counted.{name}": together(outcome.counters.get(name, uncounted), axis=1)
            for name, together in COUNTED.items()
        },
    }


def joined(network, task: Task, parts: list, seconds: float) -> AsyncEvaluation:
    """Evaluation of all batches together."""
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    group = lambda prefix: {k.split(".")[1]: v for k, v in whole.items() if k.startswith(prefix)}  # noqa: E731
    return AsyncEvaluation(
        whole["predictions"], task.labels, whole["spikes"], group("latency."), group("counted."), seconds,
        task.events.n_steps * task.events.dt, task.events.dt, network.n_neurons, network.connectivity.n_outputs,
    )  # fmt: skip
