"""Evaluation of a network on a task: accuracy, sparsity, operations and latency, on any engine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from ..models.asynchronous.network import AsynchronousNetwork
from .asynchronous.evaluation import evaluate_async
from .metrics import Answers
from .tasks import Task, check_labels


@dataclass(repr=False)
class Evaluation(Answers):
    """Result of running a network over a task.

    Attributes
    ----------
    predictions, labels : (n_samples,) or (n_samples, n_steps) arrays of int
        One column per step where every step has a label.
    spikes : (n_samples, n_hidden_layers) array of int
    decision_steps : (n_samples, 2) array of float
        Step after which the decision no longer changes, and after which it is correct for good (nan: never).
    decision_spikes : (n_samples, 2) array of float
        Network spikes up to those steps.
    seconds : float
    n_hidden : int
    duration : float
        Length of a sample in seconds.
    """

    predictions: np.ndarray
    labels: np.ndarray
    spikes: np.ndarray
    decision_steps: np.ndarray
    decision_spikes: np.ndarray
    seconds: float
    n_hidden: int
    duration: float
    dt: float
    n_classes: int

    @property
    def n_spiking(self) -> int:
        """The hidden neurons: the readout does not spike."""
        return self.n_hidden

    @property
    def decision_ms(self) -> np.ndarray:
        """Time until the decision no longer changes, and is correct for good, in milliseconds; nan: never."""
        return self.decision_steps * self.dt * 1e3

    def latency(self) -> dict:
        """Medians of the decision latency, for the final (``first``) and the correct decision."""
        result: dict = {"spikes": {}, "forward_steps": {}, "ms": {}}
        for column, name in enumerate(("first", "correct")):
            steps, spikes = self.decision_steps[:, column], self.decision_spikes[:, column]
            steps, spikes = steps[~np.isnan(steps)], spikes[~np.isnan(spikes)]
            middle = float(np.median(steps)) if len(steps) else None
            result["forward_steps"][name] = middle
            result["ms"][name] = None if middle is None else middle * self.dt * 1e3
            result["spikes"][name] = float(np.median(spikes)) if len(spikes) else None
        return result

    def report(self, network, task: Task) -> dict:
        """The JSON object that ``evaluate --json`` prints, without where and how it ran."""
        return {
            **self.shared_report(task),
            "synaptic_operations": synaptic_operations(network, task, self.spikes),
            "decision_latency": self.latency(),
            "seconds": self.seconds,
            "dt_ms": self.dt * 1e3,
        }


def synaptic_operations(network, task: Task, spikes: np.ndarray) -> float:
    """Weights added per sample: those of every input event and spike (times K with per-synapse buckets).

    Of a hidden layer's spikes the mean fan-out of its neurons is taken: at the border of a map it is smaller.
    """
    fan_in, *hidden, _ = network.plan.fan_out()
    per_sample = fan_in[task.events.units].sum() / len(task)
    return float(network.rows_per_event() * (per_sample + sum(spikes.mean(axis=0) * [f.mean() for f in hidden])))


@singledispatch
def evaluate_native(network, task: Task, *, dtype="float64", batch=200, on_sample=None) -> Evaluation:
    """Evaluate in the compiled engine.

    Parameters
    ----------
    network : SpikingGammaNetwork or AsynchronousNetwork
    task : Task
    dtype : {'float32', 'float64'}
        In float64 spikes equal Brian 2's one for one.
    batch : int
    on_sample : callable, optional
        Called with the number of samples done.

    Returns
    -------
    Evaluation or AsyncEvaluation

    Raises
    ------
    TrainingError
        If a label has no output.
    """
    check_labels(task.labels, network.sizes[-1])
    began = time.perf_counter()
    readouts, spikes, per_step = [], [], []
    for first in range(0, len(task), batch):
        result = network.forward(task.events.take(slice(first, first + batch)), dtype=dtype, record=True)
        readouts.append(result.readout)
        spikes.append(result.spikes)
        per_step.extend(_cumulative([steps for steps, *_ in layers], task.events.n_steps) for layers in result.recorded)
        if on_sample:
            on_sample(min(first + batch, len(task)))
    took = time.perf_counter() - began
    return summarise(network, task, np.concatenate(readouts), np.concatenate(spikes), np.array(per_step), took)


@evaluate_native.register
def _(network: AsynchronousNetwork, task: Task, *, dtype=None, on_sample=None):
    return evaluate_async(network, task, on_sample=on_sample)


def evaluate_brian2(network, task: Task, *, device="runtime", on_sample=None) -> tuple[Evaluation, int]:
    """Evaluate in Brian 2; returns the evaluation and the number of C++ compilations. A failed sample has no answer."""
    check_labels(task.labels, network.sizes[-1])
    run = network.brian2(task.events, device=device, progress=on_sample)
    per_step = np.array([_cumulative([steps for steps, _ in layers], task.events.n_steps) for layers in run.spikes])
    evaluation = summarise(network, task, run.readout, run.spike_counts, per_step, run.seconds)
    evaluation.predictions[list(run.failed)] = -1
    return evaluation, run.compilations


def _cumulative(layers, n_steps) -> np.ndarray:
    """Network spikes up to and including each step."""
    steps = np.concatenate(layers) if layers else np.zeros(0, int)
    return np.bincount(steps, minlength=n_steps)[:n_steps].cumsum()


def summarise(network, task: Task, readout, spikes, cumulative_spikes, seconds: float) -> Evaluation:
    """Predictions and decision latencies from readouts (n_samples, n_steps, n_out) and spike counts."""
    labels = task.labels
    n, T = readout.shape[:2]
    if task.per_step:
        predictions = readout.argmax(axis=2)
        decision_steps = np.full((n, 2), np.nan)
    else:
        decisions = network.decisions(readout)
        predictions = decisions[:, -1]
        changed = decisions[:, :-1] != decisions[:, 1:]
        last_change = np.where(changed.any(axis=1), T - 1 - changed[:, ::-1].argmax(axis=1), 0)
        decision_steps = np.stack([last_change + 1.0, last_change + 1.0], axis=1)
        decision_steps[predictions != labels, 1] = np.nan
    at = np.nan_to_num(decision_steps, nan=1).astype(int) - 1
    decision_spikes = np.take_along_axis(cumulative_spikes, at, axis=1).astype(float)
    decision_spikes[np.isnan(decision_steps)] = np.nan
    return Evaluation(
        predictions, labels, spikes, decision_steps, decision_spikes, seconds,
        sum(network.sizes[1:-1]), T * task.events.dt, task.events.dt, network.sizes[-1],
    )  # fmt: skip
