"""Gamma, the coincidence factor of two spike trains, and how reliable a cell is by it."""

from __future__ import annotations

import numpy as np

from ..errors import TrainingError

WINDOW = 2e-3  # seconds
_ROUNDING = 1e-9  # seconds: times in whole microseconds whose difference is the window itself count


def coincidences(model: np.ndarray, recorded: np.ndarray, window: float = WINDOW) -> int:
    """Largest number of disjoint pairs of spikes, one of each train, that are at most `window` apart.

    Parameters
    ----------
    model, recorded : (n,) arrays
        Sorted times, seconds.
    window : float
        Seconds.
    """
    i = j = found = 0
    while i < len(model) and j < len(recorded):
        gap = model[i] - recorded[j]
        if abs(gap) <= window + _ROUNDING:
            i, j, found = i + 1, j + 1, found + 1
        elif gap < 0:
            i += 1
        else:
            j += 1
    return found


def coincidence_factor(model, recorded, duration: float, window: float = WINDOW) -> float:
    r"""Coincidence factor of a model's spikes with recorded ones; every spike is matched at most once.

    .. math::
        \Gamma = \frac{N_{coinc} - 2 \nu \Delta N_{rec}}{\frac{1}{2}(N_{rec} + N_{model})}\,
        \frac{1}{1 - 2 \nu \Delta}, \qquad \nu = N_{model}/T

    It is 1 for equal trains, 0 on average for a Poisson train of the model's rate.

    Parameters
    ----------
    model, recorded : (n,) arrays
        Sorted times, seconds.
    duration : float
        T, seconds.
    window : float
        Half width of the window, seconds.

    Returns
    -------
    float

    Raises
    ------
    TrainingError
        If the model spikes so often that every window would hold a spike by chance.

    References
    ----------
    Kistler, Gerstner & van Hemmen 1997, Neural Computation 9:1015; Jolivet et al. 2008, J. Neurosci. Methods 169:417
    """
    total = len(model) + len(recorded)
    if total == 0:
        return 1.0
    chance = 2 * window * len(model) / duration
    if chance >= 1:
        raise TrainingError(
            f"The model spikes {len(model)} times in {duration:g} s: every window of {2e3 * window:g} ms holds a spike "
            "by chance, and the coincidence factor says nothing. Bound the model's parameters."
        )
    return float((coincidences(model, recorded, window) - chance * len(recorded)) / (0.5 * total) / (1 - chance))


def mean_coincidence(model, repeats, duration: float, window: float = WINDOW) -> float:
    """Mean of `coincidence_factor` over the repeats of a recording."""
    return float(np.mean([coincidence_factor(model, one, duration, window) for one in repeats]))


def reliability(repeats, duration: float, window: float = WINDOW) -> float | None:
    """Mean coincidence factor of every repeat with every other one; ``None`` for a single repeat."""
    if len(repeats) < 2:
        return None
    return float(
        np.mean([
            coincidence_factor(a, b, duration, window)
            for k, a in enumerate(repeats) for m, b in enumerate(repeats) if k != m
        ])
    )  # fmt: skip
