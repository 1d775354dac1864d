"""Asynchronous networks that learn online: an update every few timesteps of an endless stream."""

from __future__ import annotations

import numpy as np

from ...models.asynchronous.network import AsynchronousNetwork
from ...models.checks import checked_units
from ...models.events import StepEvents
from ...models.gradients import accepted
from ..errors import TrainingError


class AsynchronousLearner:
    """Unlayered backprop through the last few timesteps of one or several streams, while they run.

    Membranes go on from timestep to timestep; the tape does not, so memory is constant in the length of the stream.
    What happened before the window is a constant to its gradient.

    Parameters
    ----------
    network : AsynchronousNetwork
    optimiser : Adam or SGD
    goal : AsyncLoss, optional
        It must look at single timesteps: kind ``'counts'`` or ``'membrane'``, without ``total``, ``first`` and
        ``haste``.
    rule : Unlayered, optional
        Gradient within a window.
    n_streams : int
        Streams side by side; an update uses the mean gradient.
    window : int
        Timesteps per update.

    Attributes
    ----------
    timesteps : int
        Since the beginning.
    state : (n_streams, N) array
        Membranes.
    """

    def __init__(
        self, network: AsynchronousNetwork, optimiser, *, goal=None, rule=None, n_streams: int = 1, window: int = 1
    ):
        if n_streams < 1 or window < 1:
            raise TrainingError(f"n_streams = {n_streams}, window = {window}: both must be at least 1.")
        self.goal = accepted(goal, network.goals_accepted, network, "goal")
        self.goal.require_timesteps()
        self.network, self.optimiser, self.rule = network, optimiser, rule
        self.n_streams, self.window = int(n_streams), int(window)
        self.timesteps, self.updates = 0, 0
        self.state = self._start = np.zeros((n_streams, network.n_neurons), network.dtype)
        self._parts: list[StepEvents] = []

    def restart(self, streams=slice(None)) -> None:
        """Put the membranes of some streams to rest: a new recording begins there. Waits for no window to fill."""
        if self._parts:
            raise TrainingError("A window is not full yet: restart between windows, or use window=1.")
        self.state = self.state.copy()
        self.state[streams] = 0
        self._start = self.state

    def step(self, events, labels) -> np.ndarray:
        """One timestep of every stream, and an update if a window is full.

        Parameters
        ----------
        events : StepEvents, or sequence of int arrays
            One timestep: `StepEvents` of one step, or the units that are active in each stream (once per event).
        labels : (n_streams,) array of int
            The same throughout a window.

        Returns
        -------
        (n_streams, n_out) array of int
            Output spikes of this timestep, before learning from it.
        """
        network = self.network
        self._parts.append(self._one_step(events))
        network.begin(self.updates, 0.0)
        first, full = self.timesteps - len(self._parts) + 1, len(self._parts) == self.window
        self.timesteps += 1
        if not full:
            part = {"state": self.state, "first_step": self.timesteps - 1}
            result = network.run(self._parts[-1], training=True, **network.batch_order(), **part)
            self.state = result.state
            return result.outputs[:, 0]
        found = network.gradient(
            StepEvents.concatenate(self._parts), labels, goal=self.goal, rule=self.rule, state=self._start,
            first_step=first,
        )  # fmt: skip
        self.optimiser.step(network.parameters, found.gradients, info=network.info)
        network.constrain()
        self._parts, self.updates = [], self.updates + 1
        self.state = self._start = found.outcome.state
        return found.outputs[:, -1]

    def _one_step(self, events) -> StepEvents:
        if not isinstance(events, StepEvents):
            streams = [checked_units(units, self.network.n_inputs, TrainingError) for units in events]
            rows, units = np.repeat(np.arange(len(streams)), [len(s) for s in streams]), np.concatenate(streams)
            shape = (len(streams), 1, self.network.n_inputs)
            events = StepEvents.from_triples(rows, np.zeros_like(rows), units, shape, self.network.dt)
        if events.n_steps != 1 or events.n_samples != self.n_streams:
            raise TrainingError(
                f"step() takes one timestep of {self.n_streams} streams, not {events.n_steps} of {events.n_samples}."
            )
        return events
