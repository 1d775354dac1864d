"""Parameters of a fit: bounds, and coordinates in which all of them are of one size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from brian2.units.fundamentalunits import DimensionMismatchError, Quantity, get_dimensions, get_unit_for_display

from ...errors import TrainingError


@dataclass(frozen=True)
class Parameter:
    """A number that is fitted, within bounds; SI values.

    Attributes
    ----------
    name : str
    start, low, high : float
    dim : Dimension
    log : bool
        Whether its logarithm is the coordinate: for scales and times, which span decades.
    """

    name: str
    start: float
    low: float
    high: float
    dim: object
    log: bool

    @property
    def unit(self) -> str:
        """Unit as text, ``'1'`` for plain numbers."""
        return "1" if self.dim.is_dimensionless else str(get_unit_for_display(self.dim))

    def to_coordinate(self, value):
        """Coordinate of a value: 0 at the lower bound; 4 is one logarithm, or the width of the bounds."""
        if self.log:
            return 4 * np.log(value / self.low)
        return 4 * (value - self.low) / (self.high - self.low)

    def to_value(self, coordinate):
        """Value of a coordinate."""
        if self.log:
            return self.low * np.exp(coordinate / 4)
        return self.low + coordinate / 4 * (self.high - self.low)

    def slope(self, value):
        """Derivative of the value by the coordinate."""
        return value / 4 if self.log else (self.high - self.low) / 4


def parameter(name: str, start, low, high, log: bool | None = None) -> Parameter:
    """Make a parameter of quantities; positive bounds that span a factor of three or more make a logarithmic one.

    Raises
    ------
    TrainingError
        If units differ, a bound is not finite, or the start lies outside.
    """
    dim = get_dimensions(start)
    try:
        for value in (low, high):
            if get_dimensions(value) != dim:
                raise DimensionMismatchError("bound", dim, get_dimensions(value))
    except DimensionMismatchError:
        raise TrainingError(f"'{name}': start {start} and bounds {low}, {high} have different units.") from None
    numbers = [float(start), float(low), float(high)]
    if not all(math.isfinite(x) for x in numbers) or not numbers[1] <= numbers[0] <= numbers[2]:
        raise TrainingError(f"'{name}': start {start} must lie within finite bounds, {low} to {high}.")
    if not numbers[1] < numbers[2]:
        raise TrainingError(f"'{name}': the lower bound {low} must be below the upper one {high}.")
    if log is None:
        log = numbers[1] > 0 and numbers[2] >= 3 * numbers[1]
    return Parameter(name, *numbers, dim, log)


class Coordinates:
    """The coordinates of several parameters as one vector."""

    def __init__(self, parameters):
        self.parameters = tuple(parameters)
        self.names = [p.name for p in self.parameters]

    def __len__(self):
        return len(self.parameters)

    @property
    def bounds(self) -> np.ndarray:
        """(n, 2) array of the bounds."""
        return np.array([[p.to_coordinate(p.low), p.to_coordinate(p.high)] for p in self.parameters]).reshape(-1, 2)

    def of(self, values: dict) -> np.ndarray:
        """Vector of named values, moved into the bounds."""
        return np.array([p.to_coordinate(min(max(values[p.name], p.low), p.high)) for p in self.parameters])

    def values(self, vector) -> dict[str, float]:
        """Named values of a vector, exactly within the bounds."""
        return {
            p.name: float(min(max(p.to_value(x), p.low), p.high))
            for p, x in zip(self.parameters, vector, strict=True)
        }  # fmt: skip

    def gradient(self, values: dict, by_value: dict) -> np.ndarray:
        """Derivative by the coordinates from that by the values."""
        return np.array([by_value[p.name] * p.slope(values[p.name]) for p in self.parameters])

    def random(self, rng) -> dict[str, float]:
        """Values drawn evenly in the coordinates."""
        return self.values(rng.uniform(*self.bounds.T))

    def quantity(self, name: str, value: float) -> Quantity:
        """A value with its unit."""
        return Quantity(value, dim=self.parameters[self.names.index(name)].dim)
