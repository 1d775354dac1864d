"""What a model is fitted to: the input and the spikes of a recording, or of a part of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from brian2 import Quantity, TimedArray, amp, nA, pA, second, uA

from ..data.recordings import RecordingArchive
from ..errors import TrainingError

_CURRENTS = {"A": amp, "amp": amp, "uA": uA, "nA": nA, "pA": pA}


class Scale(NamedTuple):
    """How an input that is no current became plain numbers."""

    mean: float
    deviation: float
    logarithm: bool = True  # of the input, before mean and deviation were taken


@dataclass(frozen=True)
class Target:
    """Input and spikes, SI.

    Attributes
    ----------
    stimulus : (n,) array
        Ampere, or plain numbers.
    dt : float
    repeats : list of (m,) arrays
        Sorted spike times.
    scored_from : float
        What comes before is run, not scored.
    current : bool
        Whether the stimulus is a current.
    voltages : (n_repeats, n) array, optional
        Volt.
    """

    stimulus: np.ndarray
    dt: float
    repeats: list
    scored_from: float
    current: bool
    voltages: np.ndarray | None = None

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.stimulus) * self.dt

    def part(self, start: float, end: float) -> Target:
        """Run from the beginning to `end`, scored from `start`."""
        steps = round(end / self.dt)
        kept = [one[one < steps * self.dt] for one in self.repeats]
        voltages = None if self.voltages is None else self.voltages[:, :steps]
        return Target(self.stimulus[:steps], self.dt, kept, start, self.current, voltages)

    def array(self, width: int = 1) -> TimedArray:
        """The stimulus in Brian 2, averaged over `width` steps at a time."""
        means = averaged(self.stimulus, width)
        return TimedArray(Quantity(means, dim=amp.dim) if self.current else means, dt=width * self.dt * second)

    def scored(self, times: np.ndarray) -> np.ndarray:
        """Those times that count."""
        return times[(times >= self.scored_from) & (times < self.duration)]

    @property
    def scored_repeats(self) -> list:
        """Recorded spikes that count."""
        return [self.scored(one) for one in self.repeats]

    @property
    def scored_duration(self) -> float:
        """Seconds that count."""
        return self.duration - self.scored_from


def averaged(values: np.ndarray, width: int) -> np.ndarray:
    """Means over `width` values at a time, over what is left at the end."""
    starts = np.arange(0, len(values), width)
    return np.add.reduceat(values, starts) / np.diff(np.append(starts, len(values)))


def is_current(unit: str) -> bool:
    """Whether a recording's input is an injected current."""
    return unit.strip() in _CURRENTS


def target_of(recording: RecordingArchive, scale: Scale | None = None) -> tuple[Target, Scale | None]:
    """Input and spikes of a recording.

    A current is taken as it is. Anything else has no unit afterwards: where it is positive everywhere, such as the
    envelope of a sound, its logarithm is what counts; then its mean becomes 0 and its standard deviation 1.

    Parameters
    ----------
    recording : RecordingArchive
    scale : Scale, optional
        The one that was found when the model was fitted.

    Returns
    -------
    target : Target
    scale : Scale or None

    Raises
    ------
    TrainingError
        If the input is zero, or constant and no current, or was positive when the model was fitted and is not now.
    """
    values, scale_found = recording.input, None
    if is_current(recording.input_unit):
        values = values * float(_CURRENTS[recording.input_unit.strip()])
        if not values.any():
            raise TrainingError(f"'{recording.name}': its current is zero throughout; there is nothing to fit.")
    else:
        positive = bool(np.all(values > 0))
        logarithm = positive if scale is None else scale.logarithm
        if logarithm and not positive:
            raise TrainingError(f"'{recording.name}': its input must be positive, as that of the fitted recording was.")
        if logarithm:
            values = np.log(values)
        scale_found = scale or Scale(float(values.mean()), float(values.std()), logarithm)
        if not scale_found.deviation > 0:
            raise TrainingError(f"'{recording.name}': its input is constant; there is nothing to fit.")
        values = (values - scale_found.mean) / scale_found.deviation
    repeats = [np.asarray(recording.spike_times(k), float) for k in range(recording.n_repeats)]
    voltages = None if recording.voltage_mV is None else recording.voltage_mV * 1e-3
    target = Target(
        values, recording.dt_us * 1e-6, repeats, recording.scored_from_us * 1e-6, is_current(recording.input_unit),
        voltages,
    )  # fmt: skip
    return target, scale_found
