"""The course of one neuron between two of its events, and where on it the threshold is crossed."""

from __future__ import annotations

import math

import numpy as np
from scipy.integrate import DOP853
from scipy.optimize import brentq, minimize_scalar

from ..errors import NetworkError

RTOL = 1e-13
SAMPLES = 12  # of the threshold function in every integrator step, so that it cannot rise and fall unseen
EMPTY = 1e-130  # absolute tolerance of a variable that has no size yet; its square still is a number


class Flight:
    """Solution from `start` on; callable at any time up to `end`.

    Attributes
    ----------
    start, end : float
    crossing : float or None
        Time at which the threshold function rises through zero; the flight then ends there.
    armed_since : float
        Time from which on a rise of the threshold function counts as a spike.
    last : numpy.ndarray
        State at `end`.
    nearest : float
        Largest value of the threshold function at a maximum that stays below zero; ``-inf`` if there is none.
    """

    def __init__(self, rate, start: float, state, end: float, scale, margin=None, slope=None, armed: bool = True):
        self.armed_since = start if armed else math.inf
        self.start, self.end = start, end
        self.rate, self.scale = rate, np.asarray(scale, float)
        self.crossing, self.nearest = None, -math.inf
        self.times, self.pieces = [start], []
        self.last = self.first = np.array(state, float)
        if end > start:
            with np.errstate(over="ignore", invalid="ignore"):  # a trial step may overflow; it is then taken shorter
                self._integrate(margin, slope, armed)

    def _solver(self, t, x, end):
        return DOP853(self.rate, t, x, end, rtol=RTOL, atol=np.maximum(self.scale * RTOL, EMPTY))

    def _integrate(self, margin, slope, armed):
        solver = self._solver(self.start, self.first, self.end)
        while solver.status == "running":
            before, state = solver.t, solver.y.copy()
            message = solver.step()
            if solver.status == "failed" or not np.isfinite(solver.y).all():
                raise NetworkError(
                    f"The integration fails at t = {solver.t:.9g} s, state {state}: {message or 'it is not finite'}. "
                    "The equations grow without bound there; lower the threshold or mend the equations."
                )
            piece = solver.dense_output()
            found = None
            if margin is not None:
                found, armed = self._cross(margin, piece, before, solver.t, armed)
            if found is not None:
                self.last, self.end = self._polish(margin, slope, before, state, found, solver.t)
                self.crossing = self.end
                self.times.append(max(self.end, before))
                self.pieces.append(piece)
                return
            self.times.append(solver.t)
            self.pieces.append(piece)
        self.last = solver.y.copy()

    def _cross(self, margin, piece, a, b, armed):
        """First upward crossing in a step by samples of the interpolant, refined by bracketing."""
        times = np.linspace(a, b, SAMPLES + 1)
        g = [margin(t, x) for t, x in zip(times.tolist(), piece(times).T.tolist(), strict=True)]
        for k in range(SAMPLES):
            if not armed:
                armed = g[k + 1] <= 0
                self.armed_since = times[k + 1] if armed else math.inf
                continue
            if g[k] <= 0 < g[k + 1]:
                return self._root(margin, piece, times[k], times[k + 1]), armed
            if 0 < k and g[k - 1] < g[k] >= g[k + 1]:
                top = minimize_scalar(
                    lambda t: -margin(t, piece(t)), bounds=(times[k - 1], times[k + 1]), method="bounded",
                    options={"xatol": 1e-12 * (b - a)},
                )  # fmt: skip
                if top.fun < 0:
                    return self._root(margin, piece, times[k - 1], top.x), armed
                self.nearest = max(self.nearest, -top.fun)
        return None, armed

    @staticmethod
    def _root(margin, piece, a, b):
        if margin(a, piece(a)) == 0:
            return a
        return brentq(lambda t: margin(t, piece(t)), a, b, xtol=1e-18, rtol=4 * np.finfo(float).eps)

    def _polish(self, margin, slope, t, x, found, end):
        """Integrate to the crossing itself and correct what the interpolant left, by Newton steps."""
        x = self._advance(t, x, found)
        for _ in range(3):
            rise = slope(found, x)
            step = -margin(found, x) / rise if rise > 0 else 0.0
            if abs(step) > 1e-6 * (end - t) or step == 0:
                break
            x = x + step * np.asarray(self.rate(found, x))
            found += step
        return x, found

    def _advance(self, t, x, end):
        if end <= t:
            return np.array(x, float)
        solver = self._solver(t, x, end)
        while solver.status == "running":
            solver.step()
        return solver.y.copy()

    def __call__(self, t: float) -> np.ndarray:
        """State at a time of the flight, from the interpolant."""
        if not self.pieces:
            return self.first
        k = min(max(int(np.searchsorted(self.times, t, side="right")) - 1, 0), len(self.pieces) - 1)
        return self.pieces[k](t)

    def cut(self, t: float) -> np.ndarray:
        """End the flight early, at an event; return the state there, integrated rather than interpolated."""
        if t >= self.end:
            return self.last
        k = min(max(int(np.searchsorted(self.times, t, side="right")) - 1, 0), len(self.pieces) - 1)
        begin = self.first if k == 0 else self.pieces[k - 1](self.times[k])
        with np.errstate(over="ignore", invalid="ignore"):
            self.last = self._advance(self.times[k], begin, t)
        self.times, self.pieces = [*self.times[: k + 1], t], self.pieces[: k + 1]
        self.end, self.crossing = t, None
        return self.last
