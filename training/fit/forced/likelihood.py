"""Likelihood of recorded spikes under teacher forcing, with its exact gradient."""

from __future__ import annotations

import copy

import numpy as np
from brian2 import Quantity

from ..neurons.models import DELAY, SPREAD, FittingModel, unit_text
from ..neurons.parameters import Coordinates, Parameter
from ..target import Target
from .cost import ForcedCost

SPREADS = 0.15, 0.005, 0.5


class Likelihood:
    """Negative log likelihood of a recording, per spike, when the rate is ``exp(margin/spread)`` per millisecond.

    Parameters
    ----------
    model : FittingModel
    target : Target
    bin_width : float
        Seconds over which the input is averaged, and from one observation of the rate to the next.
    repeats : int, optional
        How many repeats are used; default: all.

    References
    ----------
    Paninski 2004, Network 15:243; Mensi et al. 2012, J. Neurophysiol. 107:1756
    """

    def __init__(self, model: FittingModel, target: Target, bin_width: float = 5e-4, repeats: int | None = None):
        self.model, self.target = model, target
        width = max(1, round(bin_width / target.dt))
        stimulus = target.array(width)
        limits = next(p for p in model.parameters if p.name == model.threshold)
        start, low, high = (x * (limits.high - limits.low) for x in SPREADS)
        self.every = *model.parameters, Parameter(SPREAD, start, low, high, limits.dim, log=True)
        self.coordinates = self.fixing(model.threshold).coordinates  # which says what a volt is
        self.start = model.start | {SPREAD: start}
        x = f"{model.margin}/spread"
        text = {
            "on_grid": f"cost += {width * target.dt * 1e3!r}*exp({x})",
            "on_spike": f"cost -= {x}",
            "more": f"spread : {unit_text(limits.dim)} (constant)",
        }
        names = [p.name for p in self.every if p.name != DELAY]
        spread = {SPREAD: Quantity(start, dim=limits.dim)}
        self.cost = ForcedCost(model, stimulus, target.duration, names, text, spread)
        # a little off the middle: recorded times are whole steps, and an observation beside a spike must stay there
        times = (np.arange(len(stimulus.values)) + 0.513) * width * target.dt
        self.times = target.scored(times)
        chosen = target.repeats[: repeats or len(target.repeats)]
        self.repeats = [one[one > 0] for one in chosen]
        self.n_spikes = max(1, sum(len(target.scored(one)) for one in self.repeats))
        self.passes = 0

    def fixing(self, *names: str) -> Likelihood:
        """The same likelihood of all parameters but these."""
        other = copy.copy(self)
        other.coordinates, other.passes = Coordinates([p for p in self.every if p.name not in names]), 0
        return other

    def __call__(self, values: dict, threads: int | None = 1) -> tuple[float, dict]:
        """Value and derivatives by the parameters, `spread` and `delay`, all SI."""
        found, slopes = self.cost(values, self.repeats, [self.times] * len(self.repeats), threads)
        self.passes += 1
        return found / self.n_spikes, {name: slope / self.n_spikes for name, slope in slopes.items()}
