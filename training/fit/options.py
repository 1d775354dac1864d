"""How a fit proceeds: its stages and their sizes."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ..errors import TrainingError

VOLTAGE = "voltage"
METHODS = ("SLSQP", "L-BFGS-B")
STAGES = ("likelihood", "threshold", "search", "gradient")


@dataclass(frozen=True)
class FitOptions:
    """How a fit proceeds.

    Attributes
    ----------
    starts : int
        From how many points, the model's own and others drawn around it, where no voltage says what the membrane is.
    iterations : int
        Of the costs under teacher forcing, at most, for each start.
    repeats : int
        Of the recording, in the likelihood.
    bin_ms : float, optional
        Over which the likelihood averages the input, ms; by default 1, or 1/16 of the median interval between spikes.
    kept : int
        Starts that go on after the threshold.
    searches : int
        Searches from each of these; the best two points of all go on.
    generations, population : int
        Of the search in the metric of the spike times; 0 generations leave it out.
    steps : int
        Along the exact gradient by the spike times.
    tau_ms : float, optional
        Time constant of the smoothed spike trains that are compared, ms; by default 4, or 1/4 of the median interval.
    shift_ms : float
        By how much the search moves spikes at first, ms.
    voltage : bool, optional
        Begin with the distance from the recorded voltage; by default where there is one, and the model has one.
    method : {'SLSQP', 'L-BFGS-B'}
        Of SciPy, for the costs under teacher forcing.
    """

    starts: int = 2
    iterations: int = 80
    repeats: int = 3
    bin_ms: float | None = None
    kept: int = 1
    searches: int = 2
    generations: int = 8
    population: int = 24
    steps: int = 40
    tau_ms: float | None = None
    shift_ms: float = 2.0
    voltage: bool | None = None
    method: str = METHODS[0]

    def __post_init__(self):
        for name, value in asdict(self).items():
            if value is None or isinstance(value, bool | str):
                continue
            least = 0 if name in ("generations", "steps", "iterations") else 1 if isinstance(value, int) else 0
            if not value >= least or (isinstance(value, float) and not 0 < value < 1e3):
                raise TrainingError(f"{name} = {value!r} is too small or too large.")
        if self.method not in METHODS:
            raise TrainingError(f"method = {self.method!r:.60}; there are {' and '.join(METHODS)}.")
        if 0 < self.generations and self.population < 8:
            raise TrainingError(f"population = {self.population}; take at least 8.")

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages in their order."""
        return ((VOLTAGE,) if self.voltage else ()) + STAGES

    def widths(self, repeats: list) -> tuple[float, float]:
        """Bin of the likelihood and time constant of smoothed trains for recorded spikes, seconds."""
        gaps = np.concatenate([np.diff(one) for one in repeats])
        median = float(np.median(gaps)) if len(gaps) else np.inf
        chosen = self.bin_ms and self.bin_ms * 1e-3, self.tau_ms and self.tau_ms * 1e-3
        return chosen[0] or min(1e-3, median / 16), chosen[1] or min(4e-3, median / 4)
