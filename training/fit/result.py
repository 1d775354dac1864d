"""What a fit gives: parameters with units and uncertainty, Brian 2 objects, and how well they predict a recording."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from brian2 import NeuronGroup, Quantity, second

from ...equations.display import Displayed
from ..data.recordings import RecordingArchive
from ..errors import TrainingError
from .coincidence import mean_coincidence, reliability
from .distance import van_rossum
from .neurons.models import DELAY, FittingModel
from .running import Running
from .target import Scale, is_current, target_of

VAN_ROSSUM = 10e-3  # seconds, of the distance that is reported


@dataclass(frozen=True)
class Estimate:
    """A fitted parameter: SI values, and its standard error by the timing of the spikes (infinite: it moves none)."""

    name: str
    unit: str
    start: float
    end: float
    low: float
    high: float
    error: float | None


@dataclass(frozen=True, eq=False, repr=False)
class FitResult(Displayed):
    """A fitted neuron.

    Attributes
    ----------
    model : FittingModel
    values : dict of str to float
        Every constant and the delay, SI.
    errors : dict of str to float
        Standard errors, SI.
    scale : Scale or None
        Of an input that is no current.
    records : list of dict
        One for every stage.
    seed : int
    origin : str
        Name of the ready neuron, or ``MODEL.py:OBJECT``.
    """

    model: FittingModel
    values: dict
    errors: dict
    scale: Scale | None
    records: list = field(default_factory=list)
    seed: int = 1
    origin: str = ""

    @property
    def estimates(self) -> list[Estimate]:
        """The report: every parameter with unit, start, end, bounds and standard error."""
        return [
            Estimate(p.name, p.unit, p.start, self.values[p.name], p.low, p.high, self.errors.get(p.name))
            for p in self.model.parameters
        ]

    def summary(self) -> dict:
        """Model, agreement with what was fitted, and every parameter with its standard error and start."""
        rows = {"model": self.origin or self.model.name}
        if self.records:
            gradients, runs = (sum(record[word] for record in self.records) for word in ("gradients", "runs"))
            rows["fit"] = f"gamma {self.records[-1]['gamma']:.3f} after {gradients} gradients and {runs} runs"
        for e, p in zip(self.estimates, self.model.parameters, strict=True):
            end, start = (Quantity(x, dim=p.dim) for x in (e.end, e.start))
            unit = 1.0 if p.dim.is_dimensionless else end.get_best_unit()
            known = e.error is not None and np.isfinite(e.error)
            error = f" +- {e.error / float(unit):.2g}" if known else ""
            word = "" if p.dim.is_dimensionless else f" {unit}"
            rows[p.name] = f"{float(end / unit):.4g}{error}{word} (from {float(start / unit):.4g})"
        return rows

    def __getitem__(self, name: str) -> Quantity:
        """Value of a constant, or of the delay, with its unit."""
        dim = second.dim if name == DELAY else getattr(self.model.constants[name], "dim", None)
        return Quantity(self.values[name], dim=dim)

    def _target(self, recording):
        if is_current(recording.input_unit) != (self.scale is None):
            fitted = "a current" if self.scale is None else "no current"
            raise TrainingError(
                f"'{recording.name}': its input is in '{recording.input_unit}', that of the fitted recording was "
                f"{fitted}; give a recording of the same kind."
            )
        return target_of(recording, self.scale)[0]

    def group(self, recording: RecordingArchive, **arguments) -> NeuronGroup:
        """A `NeuronGroup` of one neuron with the fitted values, driven by a recording's input, ready to run.

        Parameters
        ----------
        recording : RecordingArchive
        **arguments
            Of `NeuronGroup`.
        """
        stimulus = self._target(recording).array()
        return self.model.group(stimulus, self.values, delayed=True, **arguments)[0]

    def spikes(self, recording: RecordingArchive) -> Quantity:
        """Spike times for a recording's input, from the compiled engine."""
        target = self._target(recording)
        return Quantity(Running(self.model, target).spikes(self.values), dim=second.dim)

    def evaluate(self, recording: RecordingArchive) -> dict:
        """How well the model predicts a recording, where it is scored.

        Returns
        -------
        dict
            ``gamma`` (mean over the repeats), ``gamma_reliability`` (of the cell against its own repeats, ``None`` with
            one), ``gamma_ratio``, ``n_spikes``, ``spikes_recorded`` (mean a repeat), ``van_rossum`` (tau 10 ms, mean a
            repeat), ``seconds`` (of the run).
        """
        target = self._target(recording)
        running = Running(self.model, target)
        begun = time.perf_counter()
        spikes = target.scored(running.spikes(self.values))
        seconds = time.perf_counter() - begun
        repeats, duration = target.scored_repeats, target.scored_duration
        gamma, own = mean_coincidence(spikes, repeats, duration), reliability(repeats, duration)
        return {
            "gamma": gamma,
            "gamma_reliability": own,
            "gamma_ratio": gamma / own if own else None,
            "n_spikes": len(spikes),
            "spikes_recorded": float(np.mean([len(one) for one in repeats])),
            "van_rossum": van_rossum(spikes, repeats, VAN_ROSSUM)[0],
            "seconds": seconds,
        }
