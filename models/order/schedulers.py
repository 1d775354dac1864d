"""Schedulers: which of the waiting spikes of an asynchronous network are delivered next.

A scheduler is a small object. Its ``key`` is an expression as text; the spikes with the smallest keys are
taken, and the engine compiles it. Without a key, its method ``select`` is called at every forward step, in
Python::

    class OldestOfTheDeepestLayer(Scheduler):
        def select(self, queue, forward_group):
            order = np.lexsort((queue.arrival, -queue.layer))
            return queue.sources[order[:forward_group]]

Variables of a key: ``P`` (membrane value at the latest spike of this timestep, 0 for input units),
``arrival`` (running number of the enqueueing), ``layer`` (0 for the input), ``multiplicity``, ``i`` (the
source), ``rand()`` (uniform on [0, 1), drawn anew for every waiting spike at every forward step), and the
scheduler's own numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from brian2 import Quantity, second
from brian2.units.fundamentalunits import have_same_dimensions

from ..errors import NetworkError
from .keys import KeyScheduler, QueueView, Scheduler

__all__ = [
    "FifoScheduler",
    "KeyScheduler",
    "LayerSynchronous",
    "LifoScheduler",
    "MomentumScheduler",
    "PerCoreScheduler",
    "QueueView",
    "RandomScheduler",
    "ReplayScheduler",
    "Scheduler",
    "TimedScheduler",
    "momentum_noise",
]


@dataclass(frozen=True)
class RandomScheduler(Scheduler):
    """RS: a uniformly drawn group at every forward step.

    Parameters
    ----------
    keyed : bool
        Draw one key per waiting spike and take the smallest, the literal rule of the paper: replayable by a
        dense simulation, but its cost grows with the queue. By default the same distribution is drawn at O(1)
        per spike.
    """

    keyed: bool = False
    key: ClassVar[str] = "rand()"


@dataclass(frozen=True)
class MomentumScheduler(Scheduler):
    """MS: the neurons that were furthest up when they spiked go first.

    Parameters
    ----------
    noise : float or callable
        Amplitude of the uniform number added to every key at every forward step: a tie-breaker if small, a
        regulariser if large. A callable is given the training iteration; see `momentum_noise`.
    """

    noise: object = 1e-6
    key: ClassVar[str] = "-(P + noise*rand())"

    def __post_init__(self):
        self.numbers()

    def numbers(self, counter=0):
        value = float(self.noise(counter) if callable(self.noise) else self.noise)
        if not (np.isfinite(value) and value >= 0):
            raise NetworkError(f"The momentum noise is {value} at iteration {counter}; it must be 0 or more.")
        return {"noise": value}


@dataclass(frozen=True)
class momentum_noise:  # noqa: N801 - used like a function
    """Noise schedule ``start * gamma**((n - offset)//step)``; before `offset` it is `start`."""

    start: float
    gamma: float = 1.0
    step: int = 1
    offset: int = 0

    def __call__(self, n: int) -> float:
        return self.start * self.gamma ** (max(0, n - self.offset) // self.step)


@dataclass(frozen=True)
class FifoScheduler(Scheduler):
    """First in, first out; spikes of one forward step in the order of their neurons."""

    key: ClassVar[str] = "arrival"


@dataclass(frozen=True)
class LifoScheduler(Scheduler):
    """Last in, first out."""

    key: ClassVar[str] = "-arrival"


@dataclass(frozen=True)
class LayerSynchronous(Scheduler):
    """All waiting spikes of the foremost layer at once: on a chain of layers, ordinary layered execution."""

    key: ClassVar[str] = "layer"
    ties: ClassVar[bool] = True


@dataclass(frozen=True)
class PerCoreScheduler(Scheduler):
    """P cores side by side: each serves a forward group of its own neurons at every forward step.

    Parameters
    ----------
    cores : int
    assignment : (N,) array of int or {'block', 'cyclic'}
        Core of every neuron; ``'block'`` gives each core a contiguous part. Input units that are not
        prioritised are spread in the same way.
    order : Scheduler
        How each core orders its own queue.
    """

    cores: int = 1
    assignment: object = "block"
    order: Scheduler = field(default_factory=FifoScheduler)

    def __post_init__(self):
        if int(self.cores) != self.cores or self.cores < 1:
            raise NetworkError(f"cores = {self.cores}: there must be at least one core.")
        if not isinstance(self.order, Scheduler) or self.order.cores != 1:
            raise NetworkError("order must be a scheduler of one core, such as FifoScheduler().")

    @property
    def key(self):
        return self.order.key

    @property
    def ties(self):
        return self.order.ties

    def numbers(self, counter=0):
        return self.order.numbers(counter)

    def select(self, queue, forward_group):
        return self.order.select(queue, forward_group)

    def core_of(self, network):
        return np.concatenate([self._assigned(n) for n in (network.n_inputs, network.n_neurons)])

    def _assigned(self, n: int) -> np.ndarray:
        if isinstance(self.assignment, str):
            if self.assignment not in ("block", "cyclic"):
                raise NetworkError(f"assignment = '{self.assignment}'; it is 'block', 'cyclic' or an array.")
            index = np.arange(n)
            return index % self.cores if self.assignment == "cyclic" else index * self.cores // max(n, 1)
        cores = np.asarray(self.assignment)
        if cores.shape != (n,):
            return np.arange(n) % self.cores  # input units: the assignment speaks of neurons
        return cores


class ReplayScheduler(Scheduler):
    """Repeats the groups of a recorded run, whoever chose them.

    Parameters
    ----------
    tape : Tape
        Of a run with ``record=True`` on the same samples, in the same order.
    """

    def __init__(self, tape):
        self.tape = tape

    def select(self, queue, forward_group):
        row = queue.sample * self.tape.steps.shape[1] + queue.timestep
        step = self.tape.step_ptr[row] + queue.step + 1
        if step == self.tape.step_ptr[row + 1]:
            return queue.sources  # a last group without targets is followed by no step
        return self.tape.received_into(step)


@dataclass(frozen=True)
class TimedScheduler(Scheduler):
    """Continuous time: no forward steps, every spike travels for its physical delay (see
    ``engine/timed.py``).

    Parameters
    ----------
    axonal : Quantity, second
        From the spike to the branching of the axon, one value or one per neuron.
    synaptic : Quantity, second, or sequence
        From there to the target, one value or one entry per projection: a value, or an array of the shape of
        its weights (for sparse weights one value per stored weight).
    service : Quantity, second
        Time for which a core is busy with one spike; spikes wait for their core in the order in which they
        occurred.
    cores : int
        Cores of the service; neurons are assigned in contiguous blocks.
    refractory : Quantity, second
        Absolute refractory period: arrivals within it are lost and the membrane stays at the reset value.
    """

    axonal: object = field(default_factory=lambda: Quantity(1e-3, dim=second.dim))
    synaptic: object = field(default_factory=lambda: Quantity(0.0, dim=second.dim))
    service: object = field(default_factory=lambda: Quantity(0.0, dim=second.dim))
    cores: int = 1
    refractory: object = field(default_factory=lambda: Quantity(0.0, dim=second.dim))

    def __post_init__(self):
        for name in ("axonal", "service", "refractory"):
            value = getattr(self, name)
            if not have_same_dimensions(value, second):
                raise NetworkError(f"{name} = {value!r} must be a time such as 1*ms.")
            if not (np.asarray(value, dtype=float) >= 0).all() or not np.isfinite(np.asarray(value)).all():
                raise NetworkError(f"{name} = {value!r} must not be negative or infinite.")
