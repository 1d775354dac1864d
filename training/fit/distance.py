"""Distance of a spike train from the repeats of a recording, and its derivative by the times of the spikes."""

from __future__ import annotations

import numpy as np


def _kernel_sums(at: np.ndarray, times: np.ndarray, tau: float) -> tuple[np.ndarray, np.ndarray]:
    """Sums of ``exp(-|at - t|/tau)`` over sorted `times`, those before and those after every instant of sorted `at`.

    A time that is equal counts on both sides with one half.
    """
    before, after = np.zeros(len(at)), np.zeros(len(at))
    # recursion over both trains in one order; the sums stay below the number of spikes, however long the trains are
    for sums, sign in ((before, 1), (after, -1)):
        a, b = (at, times) if sign > 0 else (-at[::-1], -times[::-1])
        sums_ = np.zeros(len(a))
        if len(a) and len(b):
            first = np.searchsorted(b, a, "left")
            filtered = _filtered(b, tau)
            late = first > 0
            sums_[late] = filtered[first[late] - 1] * np.exp(-(a[late] - b[first[late] - 1]) / tau)
            sums_ += 0.5 * (np.searchsorted(b, a, "right") - first)
        sums[:] = sums_ if sign > 0 else sums_[::-1]
    return before, after


def _filtered(times: np.ndarray, tau: float) -> np.ndarray:
    """Sum of the exponentials of a train at every one of its spikes, that spike included."""
    found, value = np.empty(len(times)), 0.0
    for k, decay in enumerate(np.exp(-np.diff(times, prepend=times[:1]) / tau)):
        value = value * decay + 1
        found[k] = value
    return found


def van_rossum(model: np.ndarray, repeats: list[np.ndarray], tau: float) -> tuple[float, np.ndarray]:
    r"""Van Rossum's distance, squared, of a train from every repeat, on average; with its derivative.

    .. math::
        D^2 = \frac{1}{\tau}\int_0^\infty \left(\sum_k e^{-(t - t_k)/\tau} - \sum_l e^{-(t - s_l)/\tau}\right)^2 dt

    with every exponential from its spike on: a spike too many or too few costs 1/2.

    Parameters
    ----------
    model : (n,) array
        Sorted times of the model's spikes, seconds.
    repeats : list of (m,) arrays
        Sorted times of the recorded spikes of every repeat, seconds.
    tau : float
        Seconds.

    Returns
    -------
    distance : float
    slopes : (n,) array
        Derivative by every time in `model`, 1/second.

    References
    ----------
    van Rossum 2001, Neural Computation 13:751
    """
    n = len(repeats)
    before, after = _kernel_sums(model, model, tau)
    own = (before + after).sum()
    slopes = 2 * (after - before)
    every = np.sort(np.concatenate(repeats))
    met_before, met_after = _kernel_sums(model, every, tau)
    slopes -= 2 * (met_after - met_before) / n
    among = sum(np.add(*_kernel_sums(one, one, tau)).sum() for one in repeats)
    distance = 0.5 * (own - 2 * (met_before + met_after).sum() / n + among / n)
    return float(distance), 0.5 * slopes / tau


def dissimilarity(model: np.ndarray, repeats: list[np.ndarray], tau: float) -> tuple[float, np.ndarray]:
    r"""One minus the normalised overlap of a smoothed train with the smoothed repeats; with its derivative.

    .. math:: 1 - \frac{2 \langle f, \bar g\rangle}{\langle f, f\rangle + \overline{\langle g, g\rangle}}

    with exponentials of time constant `tau`. It lies between 0 and 1, costs too few and too many spikes alike, and is
    to the coincidence factor what a smooth function is to a count.

    Parameters
    ----------
    model, repeats, tau
        As in `van_rossum`.

    Returns
    -------
    value : float
    slopes : (n,) array
        1/second.
    """
    n = len(repeats)
    before, after = _kernel_sums(model, model, tau)
    own, own_slopes = (before + after).sum(), 2 * (after - before)
    every = np.sort(np.concatenate(repeats))
    met_before, met_after = _kernel_sums(model, every, tau)
    met, met_slopes = (met_before + met_after).sum() / n, (met_after - met_before) / n
    whole = own + sum(np.add(*_kernel_sums(one, one, tau)).sum() for one in repeats) / n
    if whole == 0:
        return 0.0, np.zeros(0)
    return float(1 - 2 * met / whole), (2 * met * own_slopes / whole - 2 * met_slopes) / whole / tau
