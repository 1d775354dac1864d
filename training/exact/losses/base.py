"""What a loss reads of a run, what it gives back, and how losses add up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from brian2 import NeuronGroup
from brian2.groups.subgroup import Subgroup

from ....models.hybrid.adjoint import loss_value
from ....models.hybrid.losses import MAX, Loss, whole_group
from ....models.hybrid.maxima import find_maxima
from ....models.hybrid.samples import SampleSpikes
from ...errors import TrainingError


@dataclass(frozen=True)
class RunResult:
    """What a run gave, for one sample or many; by the name of the group, in SI units.

    Attributes
    ----------
    losses : (n_samples,) array
        Of the losses written as text.
    spikes : dict of str to SampleSpikes
    final : dict of str to (n_samples, n, n_states) array
    maxima : dict of str to (n_samples, n) array
        Of the expressions that `max_loss` names.
    states : dict of str to tuple of str
        Names along the last axis of `final`.
    duration : float
    """

    losses: np.ndarray
    spikes: dict[str, SampleSpikes]
    final: dict[str, np.ndarray]
    maxima: dict[str, np.ndarray]
    states: dict[str, tuple[str, ...]]
    duration: float

    @classmethod
    def of_tape(cls, tape) -> RunResult:
        """Result of a run of the oracle."""
        spikes = {name: [(i, t) for t, owner, i in tape.spikes if owner == name] for name in tape.network.groups}
        return cls(
            np.array([loss_value(tape)]),
            {name: SampleSpikes.of([tuple(zip(*found, strict=True)) or ([], [])]) for name, found in spikes.items()},
            {name: tape.final(name)[None] for name in tape.cells},
            {name: np.array([[top.value for top in tops]]) for name, tops in find_maxima(tape).items()},
            {name: group.states for name, group in tape.network.groups.items()},
            tape.duration,
        )

    @classmethod
    def of_outcome(cls, outcome) -> RunResult:
        """Result of a run of the compiled engine."""
        groups = outcome.engine.network.groups
        states = {name: group.states for name, group in groups.items()}
        return cls(outcome.losses, outcome.spikes, outcome.final, outcome.maxima, states, outcome.engine.duration)

    @property
    def n_samples(self) -> int:
        return len(self.losses)

    def state(self, group, variable: str) -> np.ndarray:
        """Final values of a state.

        Returns
        -------
        (n_samples, n) array
        """
        whole, start, stop = whole_group(group)
        return self.final[whole.name][:, start:stop, self.column(group, variable)]

    def column(self, group, variable: str) -> int:
        """Place of a state along the last axis of `final`."""
        name = whole_group(group)[0].name
        if name not in self.states:
            raise TrainingError(f"The loss reads '{name}', which is not in the network.")
        if variable not in self.states[name]:
            raise TrainingError(f"'{name}' has no state '{variable}'; it has {', '.join(self.states[name])}.")
        return self.states[name].index(variable)

    def table(self, group) -> SpikeTable:
        """Spikes of a group or a part of one."""
        whole, start, stop = whole_group(group)
        if whole.name not in self.spikes:
            raise TrainingError(f"The loss reads '{whole.name}', which is not in the network.")
        spikes = self.spikes[whole.name]
        sample = np.repeat(np.arange(self.n_samples), np.diff(spikes.offsets))
        own = np.flatnonzero((spikes.neurons >= start) & (spikes.neurons < stop))
        return SpikeTable(
            whole.name,
            stop - start,
            len(spikes.times),
            own,
            sample[own],
            spikes.neurons[own] - start,
            spikes.times[own],
        )


@dataclass(frozen=True)
class SpikeTable:
    """Spikes of some neurons with the places they have among those of the whole group.

    Attributes
    ----------
    name : str
        Whole group.
    n : int
        Neurons.
    total : int
        Spikes of the whole group.
    places, sample, neuron, times : (n_spikes,) arrays
    """

    name: str
    n: int
    total: int
    places: np.ndarray
    sample: np.ndarray
    neuron: np.ndarray
    times: np.ndarray

    @property
    def cells(self) -> np.ndarray:
        """Number of the neuron when those of all samples are counted on."""
        return self.sample * self.n + self.neuron

    def partials(self, slopes) -> dict[str, np.ndarray]:
        """Derivatives by these spike times as derivatives by all of the group."""
        found = np.zeros(self.total)
        found[self.places] = slopes
        return {self.name: found}


def ranks(cells: np.ndarray, times: np.ndarray) -> np.ndarray:
    """How many spikes of the same neuron come before each."""
    order = np.lexsort((times, cells))
    ordered = cells[order]
    found = np.empty(len(cells), int)
    found[order] = np.arange(len(cells)) - np.searchsorted(ordered, ordered)
    return found


@dataclass
class Partials:
    """Value of a loss and its derivatives by what the run gave.

    Attributes
    ----------
    losses : (n_samples,) array
    spike_times, final, maxima : dict of str to array
        In the shapes of the result's arrays; what is missing is zero.
    """

    losses: np.ndarray
    spike_times: dict[str, np.ndarray] = field(default_factory=dict)
    final: dict[str, np.ndarray] = field(default_factory=dict)
    maxima: dict[str, np.ndarray] = field(default_factory=dict)

    def __add__(self, other: Partials) -> Partials:
        tables = [
            {k: a.get(k, 0.0) + b.get(k, 0.0) for k in {**a, **b}}
            for a, b in zip(self._tables(), other._tables(), strict=True)
        ]
        return Partials(self.losses + other.losses, *tables)

    def _tables(self):
        return self.spike_times, self.final, self.maxima

    def scaled(self, factor: float) -> Partials:
        """All of it times a number."""
        return Partials(self.losses * factor, *({k: v * factor for k, v in t.items()} for t in self._tables()))


class RunLoss:
    """A loss of a run's result; losses add up with ``+`` and scale with ``*``.

    Attributes
    ----------
    reads : Loss
        Expressions whose maximum over time is wanted.
    timed : bool
        Whether it has any derivative.
    """

    reads = Loss(())
    timed = True

    def evaluate(self, run: RunResult, targets=None) -> Partials:
        """Value and derivatives.

        Parameters
        ----------
        run : RunResult
        targets : optional
            In place of the targets that the loss was made with.
        """
        raise NotImplementedError

    def __add__(self, other):
        return LossSum.of(self, other)

    def __radd__(self, other):
        return LossSum.of(other, self)

    def __mul__(self, factor: float):
        return LossSum(((float(factor), self),))

    __rmul__ = __mul__


@dataclass(frozen=True)
class LossSum(RunLoss):
    """Weighted losses of results beside one written as text.

    Attributes
    ----------
    parts : tuple of (float, RunLoss)
    text : Loss
    """

    parts: tuple[tuple[float, RunLoss], ...]
    text: Loss = Loss(())

    @classmethod
    def of(cls, *losses):
        """Sum of losses of any kind; ``NotImplemented`` for anything else."""
        parts, text = (), Loss(())
        for loss in losses:
            if isinstance(loss, LossSum):
                parts, text = parts + loss.parts, text + loss.text
            elif isinstance(loss, RunLoss):
                parts += ((1.0, loss),)
            elif isinstance(loss, Loss):
                text += loss
            else:
                return NotImplemented
        return cls(parts, text)

    def __mul__(self, factor: float):
        if self.text.terms:
            raise TrainingError("A loss written as text takes its factor inside the text, as in '2*v**2'.")
        return LossSum(tuple((float(factor) * weight, loss) for weight, loss in self.parts))

    __rmul__ = __mul__

    @property
    def reads(self) -> Loss:
        return sum((loss.reads for _, loss in self.parts), Loss(()))

    @property
    def timed(self) -> bool:
        return bool(self.text.terms) or any(loss.timed for _, loss in self.parts)

    @property
    def every_term(self) -> Loss:
        """Text losses and the maxima that the others read, each group's once."""
        terms = {(t.kind, t.text, id(t.group)): t for t in (*self.text.terms, *self.reads.terms)}
        return Loss(tuple(terms.values()))

    @property
    def only_text(self) -> bool:
        return not self.parts and not any(t.kind == MAX for t in self.text.terms)

    def evaluate(self, run: RunResult, targets=None) -> Partials:
        """Value and derivatives, text losses and the maxima that they name included."""
        total = Partials(np.array(run.losses, float))
        for name in {whole_group(t.group)[0].name for t in self.text.terms if t.kind == MAX}:
            total += Partials(run.maxima[name].sum(1), maxima={name: np.ones_like(run.maxima[name])})
        for weight, loss in self.parts:
            total += loss.evaluate(run, targets).scaled(weight)
        return total


@dataclass(frozen=True)
class FunctionLoss(RunLoss):
    """A loss that a Python function computes.

    Parameters
    ----------
    function : callable
        Takes a `RunResult`; returns the value (a number, or one a sample) and a dict with any of ``'spike_times'``,
        ``'final'``, ``'maxima'``: derivatives by group name, in the shapes of the result's arrays.
    maxima : Loss
        `max_loss` terms whose values it reads.
    """

    function: Callable
    maxima: Loss = Loss(())

    @property
    def reads(self) -> Loss:
        return self.maxima

    def evaluate(self, run: RunResult, targets=None) -> Partials:
        """Value and derivatives as the function gives them, their shapes checked."""
        name = getattr(self.function, "__name__", "the function")
        try:
            value, partials = self.function(run)
        except (TypeError, ValueError) as error:
            raise TrainingError(
                f"Loss '{name}' must take a RunResult and return (value, partials); it failed with: {error}."
            ) from error
        losses = np.broadcast_to(np.asarray(value, float), (run.n_samples,)).copy()
        wanted = {"spike_times": {n: s.times for n, s in run.spikes.items()}, "final": run.final, "maxima": run.maxima}
        tables = {}
        for kind, table in dict(partials).items():
            if kind not in wanted:
                raise TrainingError(f"Loss '{name}' returns '{kind}'; partials are by spike_times, final or maxima.")
            for group, found in table.items():
                if group not in wanted[kind]:
                    raise TrainingError(f"Loss '{name}': {kind} has no group '{group}'; it has {sorted(wanted[kind])}.")
                if np.shape(found) != wanted[kind][group].shape:
                    raise TrainingError(
                        f"Loss '{name}': {kind}['{group}'] has shape {np.shape(found)}; expected "
                        f"{wanted[kind][group].shape}."
                    )
            tables[kind] = {group: np.asarray(found, float) for group, found in table.items()}
        return Partials(losses, **tables)


def checked_group(group, loss: str):
    """A whole group or a part of one.

    Raises
    ------
    TrainingError
        For anything else.
    """
    if not isinstance(group, NeuronGroup | Subgroup):
        raise TrainingError(f"{loss} reads a NeuronGroup or a part of one, not {type(group).__name__}.")
    return group
