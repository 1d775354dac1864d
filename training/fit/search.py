"""The stages of a fit: likelihood, threshold, search in the metric of the spike times, exact gradient of these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from ...models.errors import NetworkError
from ..optimisers import Adam
from .coincidence import mean_coincidence
from .distance import dissimilarity
from .neurons.models import SPREAD
from .neurons.parameters import Coordinates
from .running import Running

MOST_RATE = 200.0  # spikes per second beyond which a model is no candidate
FAILED = 1e6  # loss where a model cannot be run at all
STEP = 1e-5  # of a coordinate, for differences of spike times


@dataclass(frozen=True)
class Scored:
    """How well spikes fit the recorded ones: the smooth loss, the coincidence factor, and the spikes."""

    loss: float
    gamma: float
    spikes: np.ndarray


class Judge:
    """Compares a model's spikes with those of the target."""

    def __init__(self, running: Running, tau: float):
        self.running, self.target, self.tau = running, running.target, tau
        self.repeats = self.target.scored_repeats

    def judge(self, spikes: np.ndarray) -> Scored:
        """Score spike times."""
        kept = self.target.scored(spikes)
        if len(kept) > MOST_RATE * self.target.scored_duration:
            return Scored(1.0, 0.0, spikes)
        gamma = mean_coincidence(kept, self.repeats, self.target.scored_duration)
        return Scored(dissimilarity(kept, self.repeats, self.tau)[0], gamma, spikes)

    def __call__(self, values: dict) -> Scored:
        """Run the model; one that cannot be run is a bad one."""
        try:
            return self.judge(self.running.spikes(values))
        except NetworkError:
            return Scored(FAILED, 0.0, np.zeros(0))

    def gradient(self, values: dict) -> tuple[Scored, dict[str, float]]:
        """The score and the exact gradient of its loss."""
        outcome, spikes = self.running.run(values)
        scored = self.judge(spikes)
        slopes = np.zeros(len(spikes))
        kept = (spikes >= self.target.scored_from) & (spikes < self.target.duration)
        slopes[kept] = dissimilarity(spikes[kept], self.repeats, self.tau)[1]
        return scored, self.running.gradient(outcome, slopes)


def cost_of(cost, values: dict) -> float:
    """Cost under teacher forcing, or `FAILED`."""
    try:
        return cost(values)[0]
    except NetworkError:
        return FAILED


def minimise(cost, start: dict, iterations: int, method: str = "SLSQP"):
    """Minimise a cost under teacher forcing (`Likelihood`, `VoltageDistance`) within the bounds.

    SciPy's SLSQP keeps a whole matrix of second derivatives: with parameters as stiff as those of filters it gets
    further than L-BFGS-B, the other method, does in twice as many passes.

    Returns
    -------
    values : dict
    cost : float
    """
    coordinates = cost.coordinates
    best = FAILED, coordinates.of(start)

    def slope(x):
        nonlocal best
        values = start | coordinates.values(x)
        try:
            value, by_value = cost(values)
        except NetworkError:
            return FAILED, np.zeros(len(x))
        if value < best[0]:
            best = value, x.copy()
        return value, coordinates.gradient(values, by_value)

    options = {"maxiter": iterations}
    if method == "L-BFGS-B":
        options |= {"maxfun": 2 * iterations, "maxcor": 20}
    minimize(slope, coordinates.of(start), jac=True, bounds=coordinates.bounds, method=method, options=options)
    return start | coordinates.values(best[1]), float(best[0])


def place_threshold(judge: Judge, values: dict, name: str) -> tuple[dict, Scored]:
    """The threshold at which the model without noise fits best, around that of the likelihood."""
    candidates = [values | {name: values[name] + s * values[SPREAD]} for s in np.arange(-3, 1.01, 0.25)]
    scores = [judge(one) for one in candidates]
    best = min(range(len(scores)), key=lambda k: scores[k].loss)
    return candidates[best], scores[best]


def spike_sensitivity(running: Running, coordinates: Coordinates, values: dict) -> np.ndarray:
    """How every spike time moves with every coordinate, (n_spikes, n) seconds; nan where a spike comes or goes."""
    x = coordinates.of(values)
    spikes = running.spikes(values)
    found = np.full((len(spikes), len(x)), np.nan)
    for k in range(len(x)):
        moved = x.copy()
        step = STEP if x[k] + STEP <= coordinates.bounds[k, 1] else -STEP
        moved[k] += step
        try:
            other = running.spikes(values | coordinates.values(moved))
        except NetworkError:
            continue
        if len(other) == len(spikes):
            found[:, k] = (other - spikes) / step
    return found


def spike_metric(sensitivity: np.ndarray, shift: float) -> np.ndarray:
    """Covariance of coordinates under which spikes move by about `shift` seconds, and no coordinate by more than 1.

    A spike that nearly was none moves far; the weight of such spikes is limited.
    """
    rows = np.where(np.isfinite(sensitivity), sensitivity, 0.0)
    norms = np.linalg.norm(rows, axis=1)
    if len(norms) == 0 or not norms.any():
        return np.eye(rows.shape[1]) * 0.01
    rows = rows / np.maximum(1, norms / np.median(norms))[:, None]
    stiffness, directions = np.linalg.eigh(rows.T @ rows / shift**2)
    return (directions / np.maximum(stiffness, 1.0)) @ directions.T


def evolve(judge: Judge, coordinates: Coordinates, values: dict, covariance, rng, generations: int, population: int):
    """Cross-entropy search around a point; yields the best candidate, its score and the mean after every generation.

    References
    ----------
    Rubinstein 1999, Methodol. Comput. Appl. Probab. 1:127
    """
    mean, low, high = coordinates.of(values), *coordinates.bounds.T
    weights = np.log(population / 4 + 0.5) - np.log(np.arange(1, population // 4 + 1))
    weights /= weights.sum()
    best = values, judge(values)
    for _ in range(generations):
        drawn = np.clip(rng.multivariate_normal(mean, covariance, size=population), low, high)
        drawn[0] = mean
        scores = [judge(values | coordinates.values(x)) for x in drawn]
        order = np.argsort([s.loss for s in scores], kind="stable")
        if scores[order[0]].loss < best[1].loss:
            best = values | coordinates.values(drawn[order[0]]), scores[order[0]]
        elite = drawn[order[: len(weights)]]
        gap = elite - mean
        covariance = 0.6 * covariance + 0.4 * (gap.T * weights) @ gap
        mean = weights @ elite
        yield *best, values | coordinates.values(mean)


def descend(judge: Judge, coordinates: Coordinates, values: dict, steps: int, rate: float = 0.02):
    """Adam on the exact gradient by the spike times; yields the best values and score after every step.

    The loss jumps where a spike comes or goes, so the best point counts, not the last.
    """
    at, (low, high) = {"x": coordinates.of(values)}, coordinates.bounds.T
    adam, best = Adam(rate, beta2=0.99), (values, judge(values))
    for k in range(1, steps + 1):
        now = values | coordinates.values(at["x"])
        try:
            scored, by_value = judge.gradient(now)
        except NetworkError:
            return
        if scored.loss < best[1].loss:
            best = now, scored
        adam.step(at, {"x": coordinates.gradient(now, by_value)}, 0.5 * (1 + np.cos(np.pi * k / steps)))
        at["x"] = np.clip(at["x"], low, high)
        yield best


def uncertainties(sensitivity: np.ndarray, error: float) -> np.ndarray:
    """Standard errors of coordinates by Gauss and Newton's normal equations, from an error of spike times (s).

    Spikes that nearly were none are weighted down as in `spike_metric`; infinite along directions that move no spike.
    """
    used = np.isfinite(sensitivity).all(0)
    rows = sensitivity[:, used]
    result = np.full(sensitivity.shape[1], np.inf)
    norms = np.linalg.norm(rows, axis=1)
    if not norms.any():
        return result
    rows = rows / np.maximum(1, norms / np.median(norms))[:, None]
    scale = np.maximum(np.linalg.norm(rows, axis=0), np.finfo(float).tiny)
    _, singular, directions = np.linalg.svd(rows / scale, full_matrices=False)
    free = singular > 1e-6 * singular[0]
    variance = ((directions[free].T / singular[free]) ** 2).sum(1)
    lost = (directions[~free] ** 2).sum(0) > 1e-3
    result[used] = np.where(lost, np.inf, error * np.sqrt(variance) / scale)
    return result
