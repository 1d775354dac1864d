"""Spikes beyond the end of a run, for neurons that owe one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from brian2 import Quantity, second
from brian2.units.fundamentalunits import fail_for_dimension_mismatch

from ....models.hybrid.losses import whole_group
from ...errors import TrainingError
from .base import RunResult


@dataclass(frozen=True)
class Pseudospikes:
    r"""Spikes that would come after the end of the run if a constant drive took the neuron to its threshold.

    .. math:: t_k = T + \frac{V_{th} - v(T)}{s} + k\,\frac{V_{th} - V_r}{s}, \quad k = 0, 1, ...

    They are as early as the neuron ends close to its threshold, so that a spike that is missing pulls the neuron up. A
    loss that takes them is that of a longer run than the simulated one; its gradient is exact for that.

    Parameters
    ----------
    variable : str
        State that reaches the threshold.
    threshold, reset : Quantity or float
    speed : Quantity
        Slope of the ramp, in the unit of the variable per second.

    References
    ----------
    Klos & Memmesheimer 2023, arXiv 2309.14523
    """

    variable: str
    threshold: Quantity
    reset: Quantity
    speed: Quantity

    def __post_init__(self):
        wanted = 1 * Quantity(self.threshold) / second
        fail_for_dimension_mismatch(self.speed, wanted, "speed must be in the unit of the threshold per second")
        if not float(self.speed) > 0 or not float(self.threshold) > float(self.reset):
            raise TrainingError("Pseudospikes need speed > 0 and a threshold above the reset.")

    def times(self, run: RunResult, group, cells, number) -> tuple[np.ndarray, float]:
        """Time of the pseudospike of a number (from 0) of neurons counted over all samples, and its slope by v(T)."""
        v = run.state(group, self.variable).ravel()[cells]
        rise, speed = float(self.threshold) - float(self.reset), float(self.speed)
        return run.duration + (float(self.threshold) - v + number * rise) / speed, -1 / speed

    def partials(self, run: RunResult, group, cells, slopes) -> dict[str, np.ndarray]:
        """Derivatives by the final states of the whole group."""
        whole, start, stop = whole_group(group)
        found, own = np.zeros_like(run.final[whole.name]), np.zeros(run.n_samples * (stop - start))
        np.add.at(own, cells, slopes)
        found[:, start:stop, run.column(group, self.variable)] = own.reshape(run.n_samples, -1)
        return {whole.name: found}
