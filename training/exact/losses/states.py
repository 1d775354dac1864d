"""Losses of final states and of the largest value that an expression reaches."""

from __future__ import annotations

import numpy as np
from brian2 import Quantity
from brian2.units.fundamentalunits import fail_for_dimension_mismatch
from scipy.special import log_softmax

from ....models.hybrid.losses import max_loss, whole_group
from ...errors import TrainingError
from .base import Partials, RunLoss, RunResult, checked_group
from .spikes import label_array


class FinalState(RunLoss):
    """Squared distance of a state from targets at the end of the run.

    Parameters
    ----------
    group : NeuronGroup or Subgroup
    variable : str
    target : Quantity or array
        One value or one a neuron, in the unit of the variable.
    scale : Quantity or float
        Distance that counts as one.
    """

    def __init__(self, group, variable: str, target, scale=1.0):
        self.group, self.variable = checked_group(group, "FinalState"), variable
        self.target = in_unit(group, variable, target, "target")
        self.scale = float(in_unit(group, variable, scale, "scale"))

    def evaluate(self, run: RunResult, targets=None) -> Partials:
        """Value and derivatives."""
        gap = (run.state(self.group, self.variable) - (self.target if targets is None else targets)) / self.scale
        return Partials((gap**2).sum(1), final=final_partials(run, self.group, self.variable, 2 * gap / self.scale))


def in_unit(group, variable: str, value, name: str) -> np.ndarray:
    """Numbers in the SI unit of a variable.

    Raises
    ------
    DimensionMismatchError, TrainingError
    """
    if variable not in group.variables:
        raise TrainingError(f"'{group.name}' has no variable '{variable}'.")
    unit = Quantity(1.0, dim=group.variables[variable].dim)
    fail_for_dimension_mismatch(value, unit, f"{name} must be in the unit of '{variable}'")
    return np.asarray(value, float)


def final_partials(run: RunResult, group, variable: str, slopes) -> dict[str, np.ndarray]:
    """Derivatives by one final state of some neurons as derivatives by all of the group's."""
    whole, start, stop = whole_group(group)
    found = np.zeros_like(run.final[whole.name])
    found[:, start:stop, run.column(group, variable)] = slopes
    return {whole.name: found}


class FinalCrossEntropy(RunLoss):
    """Cross entropy of a state at the end of the run: the class is the neuron where it is largest.

    With a state that integrates a potential, ``ds/dt = exp(-t/T)*v/T`` for instance, this is loss shaping.

    Parameters
    ----------
    group : NeuronGroup or Subgroup
    variable : str
    label : int or (n_samples,) array of int
    scale : Quantity or float
        Difference of the state that counts as one.

    References
    ----------
    Nowotny, Turner & Knight 2022, arXiv 2212.01232 (loss shaping)
    """

    def __init__(self, group, variable: str, label=0, scale=1.0):
        self.group, self.variable = checked_group(group, "FinalCrossEntropy"), variable
        self.label, self.scale = label, float(in_unit(group, variable, scale, "scale"))

    def evaluate(self, run: RunResult, targets=None) -> Partials:
        """Value and derivatives; `targets` are labels."""
        values = run.state(self.group, self.variable)
        losses, slopes = cross_entropy(values / self.scale, self.label if targets is None else targets)
        return Partials(losses, final=final_partials(run, self.group, self.variable, slopes / self.scale))


class MaxOverTime(RunLoss):
    """Squared distance of the largest value that an expression reaches from targets.

    Parameters
    ----------
    text : str
        As in `max_loss`.
    group : NeuronGroup or Subgroup
    target : float or (n,) array
        In SI units of the expression.
    scale : float
        Distance that counts as one.
    """

    def __init__(self, text: str, group, target, scale=1.0):
        self.group, self.reads = checked_group(group, "MaxOverTime"), max_loss(text, group)
        self.target, self.scale = np.asarray(target, float), float(scale)

    def evaluate(self, run: RunResult, targets=None) -> Partials:
        """Value and derivatives."""
        gap = (maxima_of(run, self.group) - (self.target if targets is None else targets)) / self.scale
        return Partials((gap**2).sum(1), maxima=maxima_partials(run, self.group, 2 * gap / self.scale))


class MaxCrossEntropy(RunLoss):
    """Cross entropy of the largest value that an expression reaches: the class is the neuron where it is largest.

    Parameters
    ----------
    text : str
        As in `max_loss`, such as ``'v'``.
    group : NeuronGroup or Subgroup
    label : int or (n_samples,) array of int
    scale : Quantity or float
        Difference that counts as one.
    """

    def __init__(self, text: str, group, label=0, scale=1.0):
        self.group, self.reads = checked_group(group, "MaxCrossEntropy"), max_loss(text, group)
        self.label, self.scale = label, float(scale)

    def evaluate(self, run: RunResult, targets=None) -> Partials:
        """Value and derivatives; `targets` are labels."""
        values = maxima_of(run, self.group)
        losses, slopes = cross_entropy(values / self.scale, self.label if targets is None else targets)
        return Partials(losses, maxima=maxima_partials(run, self.group, slopes / self.scale))


def maxima_of(run: RunResult, group) -> np.ndarray:
    """Largest values of some neurons, (n_samples, n)."""
    whole, start, stop = whole_group(group)
    return run.maxima[whole.name][:, start:stop]


def maxima_partials(run: RunResult, group, slopes) -> dict[str, np.ndarray]:
    """Derivatives by the maxima of some neurons as derivatives by all of the group's."""
    whole, start, stop = whole_group(group)
    found = np.zeros_like(run.maxima[whole.name])
    found[:, start:stop] = slopes
    return {whole.name: found}


def cross_entropy(values: np.ndarray, labels) -> tuple[np.ndarray, np.ndarray]:
    """Cross entropy of (n_samples, n) scores, and its derivatives by them."""
    labels, rows = label_array(labels, *values.shape), np.arange(len(values))
    logs = log_softmax(values, axis=1)
    slopes = np.exp(logs)
    slopes[rows, labels] -= 1
    return -logs[rows, labels], slopes
