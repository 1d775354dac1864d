"""Learning from an endless stream, one step at a time, in memory that does not grow."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from brian2 import NetworkOperation

from ...models.checks import checked_units
from ...models.events import StepEvents
from ...models.gamma.stream import GammaStream
from ...models.gamma.windows import default_window
from ..errors import TrainingError
from ..optimisers import Adam


class OnlineLearner:
    """A SpikingGamma network that predicts and learns while its input arrives.

    Every step is run once. After each window of steps the errors of the last two windows run back through the gamma
    memory, the older window gives a gradient, and the optimiser makes one update (rule `online`). Time and memory
    per step do not depend on how long the stream has been running. A copy, or what is read back from a pickle, starts a
    new stream with the same network, optimiser and accumulated gradient.

    Parameters
    ----------
    network : SpikingGammaNetwork
        Learns in place.
    optimiser : Adam or SGD, optional
    window : int, optional
        Steps between updates, and the lag of the gradient; by default as long as the network's memory.
    loss : {'cross_entropy', 'squared_error'}
    update_every : int
        Windows whose gradients are accumulated for one update.

    Examples
    --------
    >>> learner = OnlineLearner(network)                        # doctest: +SKIP
    >>> prediction = learner.step([3, 17, 17], target=2)        # doctest: +SKIP
    """

    def __init__(self, network, optimiser=None, *, window=None, loss="cross_entropy", update_every=1):
        if loss not in ("cross_entropy", "squared_error"):
            raise TrainingError(f"loss '{loss}' is unknown; use 'cross_entropy' or 'squared_error'.")
        if update_every < 1:
            raise TrainingError(f"update_every = {update_every} must be at least 1.")
        self.network, self.loss, self.update_every = network, loss, int(update_every)
        self.optimiser = Adam(1e-3) if optimiser is None else optimiser
        self.window = default_window(network) if window is None else int(window)
        self._changed, self._windows, self._gradient = True, 0, None
        self._stream = self._open()
        self.steps = 0
        self.spikes = 0

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name not in ("_stream", "_layers")}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._stream, self._changed = self._open(), True

    def _open(self) -> GammaStream:
        self._layers = self.network.layer_parameters()
        return GammaStream(self.network.engine(), self._layers, 1, self.window)

    def step(self, events, target=None) -> np.ndarray:
        """Take the events of one time step, predict, and learn from the target.

        Parameters
        ----------
        events : sequence of int, or (units, counts)
            Input units with an event in this step (a unit may occur several times; its counts, of either sign, add up).
        target : int or (n_out,) array, optional
            Class (-1: none) or values; without a target the step is only run.

        Returns
        -------
        (n_out,) array
            Readout of this step, before learning from it.
        """
        result = self._stream.advance(
            self._layers, self._step_events(events), changed=self._changed, **self._request(target)
        )
        self._changed = False
        self.steps += 1
        self.spikes += int(result.spikes.sum())
        if self._stream.filled == self.window:
            self._learn(flush=False)
        return result.readout[0, 0]

    @property
    def changed(self) -> bool:
        """Whether the last step ended with an update of the parameters."""
        return self._changed

    def finish(self) -> None:
        """End the stream: learn from what has not been used yet and start afresh."""
        self._learn(flush=True)
        self._stream.close()
        self._stream = self._open()
        self._changed = True

    def _step_events(self, events) -> StepEvents:
        n_units = self.network.sizes[0]
        counted = isinstance(events, tuple)
        if counted and not (len(events) == 2 and all(np.ndim(part) == 1 for part in events)):
            raise TrainingError(
                f"events = {events!r}: a tuple is (units, counts), two arrays; give units alone as a list."
            )
        units, counts = events if counted else (events, None)
        units = checked_units(units, n_units, TrainingError)
        if counts is None:
            units, counts = np.unique(units, return_counts=True)
        counts = np.asarray(counts)
        if counts.shape != units.shape:
            raise TrainingError(f"{len(units)} units have {len(counts)} counts; expected one each.")
        if counts.dtype.kind not in "iuf" or not np.isfinite(counts).all():
            raise TrainingError(f"counts = {counts!r}; expected finite numbers.")
        ptr = np.array([0, len(units)], np.int64)
        return StepEvents(ptr, units, counts, n_units, 1, 1, float(self.network.dt))

    def _request(self, target) -> dict:
        # Weight 1/window: an update is the mean gradient of a window, whatever the time step.
        request = {"loss": self.loss, "weight": np.full((1, 1), 1 / self.window)}
        if self.loss == "cross_entropy":
            n_out, label = self.network.sizes[-1], -1 if target is None else target
            if not isinstance(label, Integral) or not -1 <= label < n_out:
                raise TrainingError(f"target {target!r}: expected a class from 0 to {n_out - 1}, or -1 for none.")
            request["labels"] = np.full((1, 1), int(label))
        else:
            n_out = self.network.sizes[-1]
            values = np.zeros(n_out) if target is None else np.asarray(target, float).reshape(-1)
            if values.shape != (n_out,):
                raise TrainingError(f"target has {values.size} values, the network {n_out} outputs.")
            request["targets"] = values[None, None]
            if target is None:
                request["weight"] = np.zeros((1, 1))
        return request

    def _learn(self, flush: bool) -> None:
        run = self._stream.reverse(self._layers, flush=flush, train_tau=self.network.train_tau)
        gradient = self.network.named_gradients(run)
        if self._gradient is None:
            self._gradient = gradient
        else:
            for name, value in gradient.items():
                self._gradient[name] += value
        self._windows += 1
        if self._windows % self.update_every == 0 or flush:
            self.optimiser.step(self.network.parameters, self._gradient)
            self.network.constrain()
            self._gradient, self._changed = None, True
            self._layers = self.network.layer_parameters()


class LearningOperation(NetworkOperation):
    """The same learner inside a Brian 2 run: learns at the end of every time step and changes Brian 2's weights.

    Add it to the `Network` of a `BrianGamma`. It feeds the input events of the step to
    the learner, and after each update copies the new parameters to the synapses and neurons.

    Parameters
    ----------
    brian : BrianGamma
    learner : OnlineLearner
        Of the same network.
    target : callable
        Gives the target of step k (class, values or None).
    """

    def __init__(self, brian, learner: OnlineLearner, target):
        self.brian, self.learner, self.target = brian, learner, target
        self.predictions: list[np.ndarray] = []
        super().__init__(self._advance, clock=brian.input.clock, when="end", order=1, name="learning*")

    def _advance(self) -> None:
        step = self.learner.steps
        jumps = self.brian.counts.values[step]
        units = np.flatnonzero(jumps)
        self.predictions.append(self.learner.step((units, jumps[units]), self.target(step)))
        if self.learner.changed:
            self.brian.set_parameters()
