"""Evaluation of networks trained by the exact gradient: accuracy, spikes, latencies, on both engines."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from brian2 import Quantity, ms

from ...models.hybrid.brian.run import run_brian2
from ..evaluation import evaluate_native
from ..metrics import SpikingAnswers
from ..tasks import check_labels
from .samples import SpikeTask, first_spikes, sample_of
from .trainable import TrainableNetwork, decided

DT = 0.01 * ms  # of Brian 2, unless another is asked for


@dataclass(repr=False)
class ExactEvaluation(SpikingAnswers):
    """Result of running a network over a task.

    Attributes
    ----------
    predictions : (n_samples,) array of int
        -1 where no output spikes.
    labels : (n_samples,) array of int
    answers : (n_samples, n_outputs) array
        What decided: minus the first spike time in seconds, or the largest potential in SI units.
    spikes : (n_samples, n_groups) array of int
        Of every group with a threshold, and of the outputs, which come last.
    latency : dict of str to (n_samples, 2) array
        ``spikes`` and ``ms`` until the first output spike and until that of the labelled class, infinite where there is
        none. Potentials decide at the end of the run.
    operations : (n_samples,) array
        Weights added.
    seconds, duration : float
    dt : float or None
        Time step of Brian 2.
    n_neurons : int
    """

    predictions: np.ndarray
    labels: np.ndarray
    answers: np.ndarray
    spikes: np.ndarray
    latency: dict
    operations: np.ndarray
    seconds: float
    duration: float
    dt: float | None
    n_neurons: int

    def medians(self) -> dict:
        """Medians of the decision latency over the samples that decided; there are no forward steps."""
        return {"forward_steps": {"first": None, "correct": None}, **super().medians()}

    def report(self, network, task) -> dict:
        """The JSON object that ``evaluate --json`` prints, without where and how it ran."""
        return {
            **self.shared_report(task),
            "synaptic_operations": float(self.operations.mean()),
            "decided": float((self.predictions >= 0).mean()),
            "decision_latency": self.medians(),
            "seconds": self.seconds,
            "dt_ms": None if self.dt is None else self.dt * 1e3,
        }


def evaluate_exact(network: TrainableNetwork, task: SpikeTask, *, batch=500, on_sample=None) -> ExactEvaluation:
    """Run a task through the compiled engine.

    Parameters
    ----------
    network : TrainableNetwork
    task : SpikeTask
    batch : int
    on_sample : callable, optional
        Called with the number of samples done.
    """
    return _evaluated(network, task, network.forward, None, batch, on_sample)


def evaluate_exact_brian2(
    network: TrainableNetwork,
    task: SpikeTask,
    *,
    dt: Quantity | None = None,
    device="runtime",
    batch=100,
    on_sample=None,
) -> tuple[ExactEvaluation, int]:
    """Run a task in Brian 2; the trained values are written into the network's own objects first.

    Parameters
    ----------
    network, task, batch, on_sample
        As in `evaluate_exact`; samples of a batch run side by side.
    dt : Quantity, second, optional
        0.01 ms by default.
    device : {'runtime', 'cpp_standalone'}

    Returns
    -------
    ExactEvaluation
    int
        Compilations of C++ standalone.
    """
    network.apply()
    dt, compiled = DT if dt is None else dt, []

    def run(events):
        outcome = run_brian2(
            network.objects, {network.inputs.name: events.spikes}, network.duration, dt, readout=network.readout,
            namespace=network.namespace, device=device, progress=on_sample,
        )  # fmt: skip
        compiled.append(outcome.compilations or 0)
        failed.update(outcome.failed)
        return outcome

    failed: dict = {}
    if device == "cpp_standalone":  # which runs them one after another and says how many are done
        evaluation = _evaluated(network, task, run, float(dt), max(1, len(task)), None)
        evaluation.predictions[list(failed)] = -1
    else:
        evaluation = _evaluated(network, task, run, float(dt), batch, on_sample)
    return evaluation, sum(compiled)


def _evaluated(network, task, run, dt, batch, on_sample) -> ExactEvaluation:
    check_labels(task.labels, network.sizes[-1])
    began, parts = time.perf_counter(), []
    for first in range(0, len(task), batch):
        chosen = slice(first, first + batch)
        events = task.events.take(chosen)
        parts.append(_summary(network, events, run(events), task.labels[chosen]))
        if on_sample:
            on_sample(min(first + batch, len(task)))
    answers, spikes, by_spikes, by_ms, operations = (np.concatenate(values) for values in zip(*parts, strict=True))
    return ExactEvaluation(
        decided(answers), task.labels, answers, spikes, {"spikes": by_spikes, "ms": by_ms}, operations,
        time.perf_counter() - began, float(network.duration), dt, network.n_spiking,
    )  # fmt: skip


def _summary(network, events, outcome, labels) -> tuple:
    model, n, outputs = network.problem.network, len(labels), network.outputs.name
    spikes = {network.inputs.name: events.spikes, **outcome.spikes}
    groups = [name for name in outcome.spikes if name != outputs and model.groups[name].functions.spikes]
    empty = np.zeros(n, int)
    counts = [np.diff(outcome.spikes[g].offsets) if g in outcome.spikes else empty for g in (*groups, outputs)]
    fan_out = {name: 0 for name in spikes}
    for pathway in model.pathways:
        if pathway.source in fan_out:
            size = model.groups[pathway.source].n if pathway.source in model.groups else len(network.inputs)
            fan_out[pathway.source] = fan_out[pathway.source] + np.bincount(pathway.i, minlength=size)
    operations = np.zeros(n)
    for name, every in fan_out.items():
        if np.ndim(every):
            operations += np.bincount(sample_of(spikes[name]), every[spikes[name].neurons], n)
    decision = np.full((n, 2), float(network.duration))
    if network.spiking:
        times, _ = first_spikes(outcome.spikes[outputs], len(network.outputs))
        decision = np.stack([times.min(axis=1), times[np.arange(n), labels]], axis=1)
    before = np.zeros((n, 2))
    for name in (*groups, outputs):
        if name in outcome.spikes:
            sample, t = sample_of(outcome.spikes[name]), outcome.spikes[name].times
            for column in range(2):
                before[:, column] += np.bincount(sample[t <= decision[sample, column]], minlength=n)
    before[np.isinf(decision)] = np.inf
    return network.answers(outcome), np.stack(counts, axis=1), before, decision * 1e3, operations


@evaluate_native.register
def _(network: TrainableNetwork, task: SpikeTask, *, dtype=None, on_sample=None):
    return evaluate_exact(network, task, on_sample=on_sample)
