"""What is known about a trained parameter: optimisers, weight decay, constraints and files read it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from brian2 import Unit


@dataclass(frozen=True)
class ParameterInfo:
    """A parameter's unit, range, scale and whether it decays; the array itself holds plain numbers in this unit.

    Attributes
    ----------
    unit : Unit
        Without a prefix, such as `second`.
    lower, upper : float
        Range that `constrain` keeps it in.
    scale : {'absolute', 'relative'}
        ``'relative'``: an update is measured in units of the parameter's mean size, as for time constants, which in
        seconds are hundredths of the other parameters.
    size : float
        Of absolute scale: what an update is measured in.
    decays : bool
        Whether weight decay acts on it.
    """

    unit: Unit = Unit(1)
    lower: float = -math.inf
    upper: float = math.inf
    scale: str = "absolute"
    size: float = 1.0
    decays: bool = False

    def measure(self, value: np.ndarray) -> float:
        """What an update of a parameter with this value is measured in."""
        return float(np.mean(np.abs(value))) if self.scale == "relative" else self.size


def constrain(parameters: dict[str, np.ndarray], info: dict[str, ParameterInfo]) -> None:
    """Put values that left their range back to its border, in place."""
    for name, value in parameters.items():
        if info[name].lower > -math.inf or info[name].upper < math.inf:
            np.clip(value, info[name].lower, info[name].upper, out=value)
