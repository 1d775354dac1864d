"""A cost of one neuron that is reset at the recorded spikes (teacher forcing), with its exact gradient."""

from __future__ import annotations

import numpy as np

from ....models.hybrid.engine import HybridEngine
from ....models.hybrid.losses import final_loss
from ....models.hybrid.network import TIMES, build
from ....models.hybrid.samples import SampleSpikes
from ....models.hybrid.used import mark_used
from ..calling_off import CanBeCalledOff
from ..neurons.models import DELAY, FittingModel, forced


class ForcedCost(CanBeCalledOff):
    """Sum of a cost over repeats, every repeat a sample of one network.

    Parameters
    ----------
    model : FittingModel
    stimulus : TimedArray
    duration : float
        Seconds.
    names : list of str
        Constants by which it is differentiated.
    text : dict
        ``on_grid``, ``on_spike``, ``more``, ``namespace`` of `forced`.
    start : dict of str to Quantity
        Values of what ``more`` adds, the first of its states too.
    """

    def __init__(self, model: FittingModel, stimulus, duration: float, names: list, text: dict, start: dict):
        objects, namespace = forced(model, stimulus, **text)
        for name, value in start.items():
            setattr(objects[0], name, value)
        self.names = names
        self.group, self.recorded, self.grid = (o.name for o in objects[:3])
        wrt = [(self.group, name) for name in names]
        mark_used(objects)
        network = build(objects, final_loss("cost", objects[0]), wrt, namespace)
        self.engine = HybridEngine(network, duration)
        # what only the threshold reads is no value of a neuron that is reset from outside: nothing depends on it
        self.read = [name for name in names if (self.group, name) in network.values]

    def __call__(self, values: dict, trains: list, times: list, threads: int | None = 1) -> tuple[float, dict]:
        """Cost and derivatives by `names` and by a delay of the neuron's answer, all SI.

        Parameters
        ----------
        values : dict of str to float
            Constants, and the delay.
        trains, times : list of (n,) arrays
            Recorded spikes and instants of observation of every repeat, seconds.
        threads : int, optional
        """
        self.go_on()
        delay = values.get(DELAY, 0.0)
        shifted = lambda every: [one[one > delay] - delay for one in every]  # noqa: E731
        of = lambda every: SampleSpikes.of([(np.zeros(len(one), int), one) for one in shifted(every)])  # noqa: E731
        known = self.engine.network.values
        given = {(self.group, k): np.array([v]) for k, v in values.items() if (self.group, k) in known}
        outcome = self.engine.run(given, {self.recorded: of(trains), self.grid: of(times)}, threads)
        timed = (self.recorded, TIMES), (self.grid, TIMES)
        found = outcome.backward(wanted={*((self.group, name) for name in self.read), *timed})
        slopes = dict.fromkeys(self.names, 0.0) | {name: found[self.group, name].sum() for name in self.read}
        return outcome.losses.sum(), slopes | {DELAY: -sum(found[key].sum() for key in timed)}
