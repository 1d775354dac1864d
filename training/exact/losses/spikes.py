"""Losses of spike times."""

from __future__ import annotations

import numpy as np
from brian2 import Quantity, ms, second
from brian2.units.fundamentalunits import fail_for_dimension_mismatch
from scipy.special import log_softmax

from ....models.hybrid.samples import SampleSpikes
from ...errors import TrainingError
from .base import Partials, RunLoss, RunResult, checked_group, ranks
from .pseudospikes import Pseudospikes


def seconds(value: Quantity, name: str) -> float:
    """A positive time as a number.

    Raises
    ------
    DimensionMismatchError, TrainingError
    """
    fail_for_dimension_mismatch(value, second, f"{name} must be a time")
    if not float(value) > 0:
        raise TrainingError(f"{name} = {value} must be positive.")
    return float(value)


def spike_targets(indices, times) -> SampleSpikes:
    """Target spikes of one sample, given as to a `SpikeGeneratorGroup`."""
    fail_for_dimension_mismatch(times, second, "target times must be times")
    indices, times = np.atleast_1d(np.asarray(indices, int)), np.atleast_1d(np.asarray(times, float))
    if indices.shape != times.shape:
        raise TrainingError(f"Targets are {indices.size} neurons and {times.size} times; expected as many of each.")
    return SampleSpikes.of([(indices, times)])


def _flat_targets(targets: SampleSpikes, n_samples: int, n: int):
    """Neuron counted over all samples, and time, of every target; targets of one sample hold for all."""
    targets.check("targets", n)
    if targets.n_samples not in (1, n_samples):
        raise TrainingError(f"Targets are for {targets.n_samples} samples; the run has {n_samples}.")
    if targets.n_samples == n_samples:
        sample = np.repeat(np.arange(n_samples), np.diff(targets.offsets))
        return sample * n + targets.neurons, targets.times
    cells = (np.arange(n_samples)[:, None] * n + targets.neurons).ravel()
    return cells, np.tile(targets.times, n_samples)


class SpikeTimes(RunLoss):
    r"""Squared distance of every neuron's spikes from target times, the first from the first and so on.

    .. math:: L = \sum_{i,k} \left(\frac{t_{ik} - t^*_{ik}}{\tau}\right)^2

    A target without a spike counts as if the spike were at the end of the run, without a derivative, unless
    `pseudospikes` say when it would have come. Spikes beyond the targets cost nothing.

    Parameters
    ----------
    group : NeuronGroup or Subgroup
    indices : sequence of int
        Neuron of every target.
    times : Quantity, second
    tau : Quantity, second
        Time that counts as one.
    pseudospikes : Pseudospikes, optional
    """

    def __init__(self, group, indices, times, tau=1 * ms, pseudospikes: Pseudospikes | None = None):
        self.group, self.targets = checked_group(group, "SpikeTimes"), spike_targets(indices, times)
        self.tau, self.pseudospikes = seconds(tau, "tau"), pseudospikes

    def evaluate(self, run: RunResult, targets: SampleSpikes | None = None) -> Partials:
        """Value and derivatives; `targets` of one sample hold for all."""
        table = run.table(self.group)
        cells, goals = _flat_targets(self.targets if targets is None else targets, run.n_samples, table.n)
        depth = 1 + max(len(goals), len(table.times))
        wanted = cells * depth + ranks(cells, goals)
        found = table.cells * depth + ranks(table.cells, table.times)
        order = np.argsort(found)
        place = np.searchsorted(found, wanted, sorter=order)
        at = order[np.minimum(place, len(order) - 1)] if len(order) else np.zeros(len(wanted), int)
        met = found[at] == wanted if len(order) else np.zeros(len(wanted), bool)
        times = np.full(len(goals), run.duration)
        times[met] = table.times[at[met]]
        final = {}
        if self.pseudospikes is not None:
            counts = np.bincount(table.cells, minlength=run.n_samples * table.n)
            late = ranks(cells, goals) - counts[cells]
            times[~met], slopes = self.pseudospikes.times(run, self.group, cells[~met], late[~met])
        gap = (times - goals) / self.tau
        by_time = np.zeros(len(table.times))
        by_time[at[met]] = 2 * gap[met] / self.tau
        if self.pseudospikes is not None:
            final = self.pseudospikes.partials(run, self.group, cells[~met], 2 * gap[~met] / self.tau * slopes)
        losses = np.bincount(cells // table.n, gap**2, run.n_samples)
        return Partials(losses, table.partials(by_time), final)


class FirstSpikeCrossEntropy(RunLoss):
    r"""Cross entropy of first spike times: the class is the neuron that spikes first.

    .. math:: L = -\log\frac{e^{-t_y/\tau_0}}{\sum_k e^{-t_k/\tau_0}} + \alpha\,(e^{t_y/\tau_1} - 1)

    A silent neuron counts as one that spikes at the end of the run, without a derivative, unless `pseudospikes` say
    when it would have.

    Parameters
    ----------
    group : NeuronGroup or Subgroup
        One neuron a class.
    label : int or (n_samples,) array of int
    tau0, tau1 : Quantity, second
    alpha : float
        Weight of the penalty on a late correct spike.
    pseudospikes : Pseudospikes, optional

    References
    ----------
    Göltz et al. 2021, doi:10.1038/s42256-021-00388-x; Wunderlich & Pehle 2021, doi:10.1038/s41598-021-91786-z
    """

    def __init__(self, group, label=0, tau0=0.5 * ms, alpha=3e-3, tau1=6.4 * ms, pseudospikes=None):
        self.group, self.label = checked_group(group, "FirstSpikeCrossEntropy"), label
        self.tau0, self.tau1, self.alpha = seconds(tau0, "tau0"), seconds(tau1, "tau1"), float(alpha)
        self.pseudospikes = pseudospikes

    def evaluate(self, run: RunResult, targets=None) -> Partials:
        """Value and derivatives; `targets` are labels."""
        table = run.table(self.group)
        labels = label_array(self.label if targets is None else targets, run.n_samples, table.n)
        first = np.flatnonzero(ranks(table.cells, table.times) == 0)
        t = np.full(run.n_samples * table.n, run.duration)
        t[table.cells[first]] = table.times[first]
        silent = np.setdiff1d(np.arange(len(t)), table.cells[first])
        if self.pseudospikes is not None:
            t[silent], slopes = self.pseudospikes.times(run, self.group, silent, np.zeros(len(silent), int))
        t, rows = t.reshape(run.n_samples, table.n), np.arange(run.n_samples)
        logs = log_softmax(-t / self.tau0, axis=1)
        late = np.exp(t[rows, labels] / self.tau1)
        losses = -logs[rows, labels] + self.alpha * (late - 1)
        slope = -np.exp(logs)
        slope[rows, labels] += 1
        slope /= self.tau0
        slope[rows, labels] += self.alpha / self.tau1 * late
        slope = slope.ravel()
        by_time = np.zeros(len(table.times))
        by_time[first] = slope[table.cells[first]]
        final = {}
        if self.pseudospikes is not None:
            final = self.pseudospikes.partials(run, self.group, silent, slope[silent] * slopes)
        return Partials(losses, table.partials(by_time), final)


def label_array(labels, n_samples: int, n: int) -> np.ndarray:
    """One label a sample.

    Raises
    ------
    TrainingError
        If there are not as many as samples, or one is not a neuron.
    """
    labels = np.atleast_1d(np.asarray(labels))
    if labels.shape not in ((1,), (n_samples,)):
        raise TrainingError(f"There are {labels.shape} labels; the run has {n_samples} samples.")
    bad = labels[(labels < 0) | (labels >= n)]
    if len(bad) or not np.issubdtype(labels.dtype, np.integer):
        raise TrainingError(f"Label {(bad if len(bad) else labels)[0]} is none of the neurons 0 to {n - 1}.")
    return np.broadcast_to(labels, (n_samples,))


class SpikeCounts(RunLoss):
    """Squared distance of every neuron's number of spikes from a target number; **it has no timing gradient**.

    A number of spikes is constant until one appears or vanishes, so every exact derivative of it is zero. It measures;
    on its own it cannot be trained, and `value_and_grad` says so. What can be trained instead: `SpikeRate`,
    `WakeSilent`, or spike times.

    Parameters
    ----------
    group : NeuronGroup or Subgroup
    counts : int or (n,) array
    """

    timed = False

    def __init__(self, group, counts):
        self.group, self.counts = checked_group(group, "SpikeCounts"), np.asarray(counts, float)

    def evaluate(self, run: RunResult, targets=None) -> Partials:
        """Value alone."""
        table = run.table(self.group)
        found = np.bincount(table.cells, minlength=run.n_samples * table.n).reshape(run.n_samples, table.n)
        return Partials(((found - (self.counts if targets is None else targets)) ** 2).sum(1))


class VanRossum(RunLoss):
    r"""Van Rossum's distance of every neuron's spike train from a target train, squared.

    .. math::
        D^2 = \frac{1}{\tau}\int_0^\infty \left(\sum_k e^{-(t - t_k)/\tau} - \sum_l e^{-(t - t^*_l)/\tau}\right)^2 dt

    with every exponential from its spike on. A single spike too many or too few costs 1/2.

    Parameters
    ----------
    group : NeuronGroup or Subgroup
    indices : sequence of int
        Neuron of every target.
    times : Quantity, second
    tau : Quantity, second

    References
    ----------
    van Rossum 2001, Neural Computation 13:751
    """

    def __init__(self, group, indices, times, tau=10 * ms):
        self.group, self.targets = checked_group(group, "VanRossum"), spike_targets(indices, times)
        self.tau = seconds(tau, "tau")

    def evaluate(self, run: RunResult, targets: SampleSpikes | None = None) -> Partials:
        """Value and derivatives; `targets` of one sample hold for all."""
        table = run.table(self.group)
        cells, goals = _flat_targets(self.targets if targets is None else targets, run.n_samples, table.n)
        every = np.concatenate([table.cells, cells])
        times = np.concatenate([table.times, goals]) / self.tau
        sign = np.concatenate([np.ones(len(table.times)), -np.ones(len(goals))])
        order = np.lexsort((times, every))
        losses, slopes = np.zeros(run.n_samples), np.zeros(len(times))
        for part in np.split(order, np.flatnonzero(np.diff(every[order])) + 1):
            if len(part) == 0:
                continue
            gap = times[part][:, None] - times[part]
            kernel = sign[part][:, None] * sign[part] * np.exp(-np.abs(gap))
            losses[every[part[0]] // table.n] += 0.5 * kernel.sum()
            slopes[part] = -(np.sign(gap) * kernel).sum(1)
        return Partials(losses, table.partials(slopes[: len(table.times)] / self.tau))
