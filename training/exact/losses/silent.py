"""Options for neurons that are silent or spike too rarely; none of them is the gradient of the task's loss."""

from __future__ import annotations

import numpy as np
from brian2 import second
from brian2.units.fundamentalunits import fail_for_dimension_mismatch

from ....models.hybrid.losses import max_loss
from ...errors import TrainingError
from .base import Partials, RunLoss, RunResult, checked_group, ranks
from .states import maxima_of, maxima_partials


class SpikeRate(RunLoss):
    r"""Squared distance of every neuron's rate from a target, the rate measured up to its last spike.

    .. math:: L = \frac{1}{2}\sum_i (n_i/t_{i,n_i} - r)^2/r^2

    Within a spike pattern this rate changes with the last spike time, so that it has an exact gradient, which a number
    of spikes has not; where a spike appears the two rates differ little. A silent neuron has rate zero and no gradient:
    add `WakeSilent`.

    Parameters
    ----------
    group : NeuronGroup or Subgroup
    rate : Quantity, hertz
    """

    def __init__(self, group, rate):
        fail_for_dimension_mismatch(rate, 1 / second, "rate must be in hertz")
        if not float(rate) > 0:
            raise TrainingError(f"rate = {rate} must be positive.")
        self.group, self.rate = checked_group(group, "SpikeRate"), float(rate)

    def evaluate(self, run: RunResult, targets=None) -> Partials:
        """Value and derivatives."""
        table = run.table(self.group)
        counts = np.bincount(table.cells, minlength=run.n_samples * table.n)
        last = np.flatnonzero(ranks(table.cells, table.times) == counts[table.cells] - 1)
        rates, by_time = np.zeros(len(counts)), np.zeros(len(table.times))
        rates[table.cells[last]] = counts[table.cells[last]] / table.times[last]
        gap = (rates - self.rate) / self.rate
        by_time[last] = -gap[table.cells[last]] * rates[table.cells[last]] / table.times[last] / self.rate
        return Partials(0.5 * (gap**2).reshape(run.n_samples, -1).sum(1), table.partials(by_time))


class WakeSilent(RunLoss):
    r"""How far a neuron that never spikes stays below its threshold at its closest approach.

    .. math:: L = \sum_{i\ \mathrm{silent}} \left(\max_t m_i(t)\right)^2

    with m the expression, such as ``'(v - 1.1*V_th)/mV'``, which is negative below the threshold. The gradient of this
    term is exact; it is not the gradient of the task's loss.

    Parameters
    ----------
    text : str
        Negative for a silent neuron, without unit; aim above the threshold, as the gradient fades towards zero:
        ``'(v - 1.1*V_th)/mV'``.
    group : NeuronGroup or Subgroup
    """

    def __init__(self, text: str, group):
        self.group, self.reads = checked_group(group, "WakeSilent"), max_loss(text, group)

    def evaluate(self, run: RunResult, targets=None) -> Partials:
        """Value and derivatives."""
        table = run.table(self.group)
        counts = np.bincount(table.cells, minlength=run.n_samples * table.n).reshape(run.n_samples, table.n)
        gap = np.where(counts == 0, maxima_of(run, self.group), 0.0)
        return Partials((gap**2).sum(1), maxima=maxima_partials(run, self.group, 2 * gap))
