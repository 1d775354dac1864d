"""A model's own spikes for a stimulus, in the compiled engine, and the exact gradient by their times."""

from __future__ import annotations

import numpy as np
from brian2 import DimensionMismatchError

from ...models.hybrid.engine import HybridEngine
from ...models.hybrid.losses import final_loss
from ...models.hybrid.network import build
from ...models.hybrid.used import mark_used
from ..errors import TrainingError
from .calling_off import CanBeCalledOff
from .neurons.models import DELAY, STIMULUS, FittingModel
from .target import Target


class Running(CanBeCalledOff):
    """One neuron that runs freely.

    Parameters
    ----------
    model : FittingModel
    target : Target
    tolerance : float
        Relative error of a step of nonlinear flows.
    """

    def __init__(self, model: FittingModel, target: Target, tolerance: float = 1e-7):
        self.model, self.target = model, target
        group, namespace = model.group(target.array(), name="neuron*")
        self.group = group.name
        try:
            group.equations.check_units(group, namespace)
        except DimensionMismatchError:
            kind = "a current" if target.current else "a plain number"
            raise TrainingError(
                f"'{model.name}': units do not agree in {model.input} = {model.drive}, where the recorded input is "
                f"{kind}; give another drive, such as '{STIMULUS}(t)/nA'."
            ) from None
        self.names = [p.name for p in model.parameters if p.name != DELAY]
        wrt = [(self.group, name) for name in self.names]
        state = list(model.model.diff_eq_names)[0]
        mark_used([group])
        network = build([group], final_loss(f"0*{state}", group), wrt, namespace)
        self.engine = HybridEngine(network, target.duration, tolerance)
        self.passes = self.gradients = 0

    def run(self, values: dict):
        """Outcome of the engine, and the spike times, late by the delay."""
        self.go_on()
        known = self.engine.network.values
        given = {(self.group, k): np.array([v]) for k, v in values.items() if (self.group, k) in known}
        outcome = self.engine.run(given, threads=1)
        self.passes += 1
        return outcome, outcome.spikes[self.group].times + values.get(DELAY, 0.0)

    def spikes(self, values: dict) -> np.ndarray:
        """Spike times, seconds."""
        return self.run(values)[1]

    def gradient(self, outcome, slopes: np.ndarray) -> dict[str, float]:
        """Derivatives by all parameters from those by the spike times."""
        self.gradients += 1
        found = outcome.backward({self.group: slopes}, wanted=[(self.group, name) for name in self.names])
        return {name: float(found[self.group, name].sum()) for name in self.names} | {DELAY: float(slopes.sum())}
