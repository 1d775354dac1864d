"""Distance of a model's voltage from the recorded one, the model reset at recorded spikes, with its exact gradient."""

from __future__ import annotations

import numpy as np
from brian2 import Quantity, TimedArray, amp, mV, ohm, second, volt

from ...errors import TrainingError
from ..neurons.models import DELAY, FittingModel
from ..neurons.parameters import Coordinates, Parameter
from ..target import Target, averaged
from .cost import ForcedCost

BEFORE, AFTER = 2e-3, 6e-3  # seconds beside a spike in which the cell's own spike is seen, which no model has
OFFSET, SERIES = "offset", "series"  # what the electrode adds
_ALONE = (DELAY, "t_ref")  # spikes say these; the voltage beside them is not looked at


class VoltageDistance:
    """Mean square of recorded voltage minus model, mV squared; the electrode adds an offset and a series resistance.

    Parameters
    ----------
    model : FittingModel
        Whose threshold is that of a voltage.
    target : Target
        With voltages.
    bin_width : float
        Seconds from one observation to the next; input and voltage are averaged in between.
    repeats : int
        How many are used, at most.

    Raises
    ------
    TrainingError
        If there is no voltage, or the model has none.

    References
    ----------
    Mensi et al. 2012, J. Neurophysiol. 107:1756
    """

    def __init__(self, model: FittingModel, target: Target, bin_width: float = 1e-3, repeats: int = 3):
        membrane = membrane_of(model)
        if target.voltages is None:
            raise TrainingError("The recording has no voltage; leave --voltage out.")
        if membrane is None:
            raise TrainingError(
                f"'{model.name}': its threshold '{model.model.threshold}' is not that of a voltage that could be "
                "compared with a recorded one; leave --voltage out."
            )
        width = max(1, round(bin_width / target.dt))
        step = width * target.dt
        left_out = (*_ALONE, model.threshold, model.level)
        kept = [p for p in model.parameters if p.name not in left_out]
        added = [Parameter(OFFSET, 0.0, -0.05, 0.05, volt.dim, log=False)]
        drop, electrode = "", f"{OFFSET} : volt (constant)\ndseen/dt = seen_change(t) : volt"
        if target.current:
            added.append(Parameter(SERIES, 5e6, 1e5, 2e8, ohm.dim, log=True))
            drop = f" + {SERIES}*given"
            electrode += f"\n{SERIES} : ohm (constant)\ndgiven/dt = given_change(t) : amp"
        self.coordinates = Coordinates([*kept, *added])
        self.start = model.start | {p.name: p.start for p in added} | {DELAY: 0.0}
        text = {
            "on_grid": f"cost += (({membrane} + {OFFSET}{drop} - seen)/mV)**2",
            "on_spike": "", "more": electrode,
        }  # fmt: skip
        names, stimulus = self.coordinates.names, target.array(width)
        first_current, current = _slopes(target.stimulus, width, step)
        self.parts, self.n_observations, self.passes = [], 0, 0
        times = target.scored((np.arange(len(stimulus.values)) + 0.513) * step)
        for train, voltage in list(zip(target.repeats, target.voltages, strict=True))[:repeats]:
            first, changes = _slopes(voltage, width, step)
            namespace = {"mV": mV, "seen_change": TimedArray(changes * volt / second, dt=step * second)}
            values = {p.name: Quantity(p.start, dim=p.dim) for p in added} | {"seen": first * volt}
            if target.current:
                namespace["given_change"] = TimedArray(current * amp / second, dt=step * second)
                values["given"] = first_current * amp
            cost = ForcedCost(model, stimulus, target.duration, names, text | {"namespace": namespace}, values)
            far = beside(times, train)
            self.parts.append((cost, train[train > 0], far))
            self.n_observations += len(far)
        if not self.n_observations:
            raise TrainingError("Every instant of the recorded voltage lies beside a spike; leave --voltage out.")
        slopes = self(self.start)[1]  # parameters of the threshold move no voltage
        self.coordinates = Coordinates([p for p in self.coordinates.parameters if slopes[p.name]])

    @property
    def determined(self) -> list[str]:
        """Parameters of the model that move the voltage."""
        return [name for name in self.coordinates.names if name not in (OFFSET, SERIES)]

    def __call__(self, values: dict, threads: int | None = 1) -> tuple[float, dict]:
        """Value and derivatives by the parameters, SI."""
        values, total, slopes = values | {DELAY: 0.0}, 0.0, dict.fromkeys(self.coordinates.names, 0.0)
        for cost, train, times in self.parts:
            found, by_value = cost(values, [train], [times], threads)
            total += found
            slopes = {name: slope + by_value[name] for name, slope in slopes.items()}
        self.passes += 1
        return total / self.n_observations, {name: slope / self.n_observations for name, slope in slopes.items()}


def membrane_of(model: FittingModel) -> str | None:
    """The state of a model that is a membrane's voltage: what its threshold looks at."""
    name = model.model.threshold.split(">")[0].strip()
    return name if name in model.model.diff_eq_names and model.model[name].dim == volt.dim else None


def _slopes(values: np.ndarray, width: int, step: float) -> tuple[float, np.ndarray]:
    """Means around the ends of bins, as a first value and the slopes from one to the next: text knows no samples."""
    ends = averaged(np.concatenate([np.repeat(values[:1], width // 2), values]), width)
    return float(ends[0]), np.append(np.diff(ends), 0.0) / step


def beside(times: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Those instants that are not beside a spike."""
    if not len(train):
        return times
    k = np.searchsorted(train, times)
    after = np.where(k > 0, times - train[np.maximum(k - 1, 0)], np.inf)
    ahead = np.where(k < len(train), train[np.minimum(k, len(train) - 1)] - times, np.inf)
    return times[(after > AFTER) & (ahead > BEFORE)]
