"""The stages of a fit on costs and spike times that are known in closed form."""

from types import SimpleNamespace

import numpy as np
import pytest
from brian2 import ms

from brian2grad.models.errors import NetworkError
from brian2grad.training.fit.neurons.models import SPREAD
from brian2grad.training.fit.neurons.parameters import Coordinates, parameter
from brian2grad.training.fit.search import (
    Scored,
    descend,
    evolve,
    minimise,
    place_threshold,
    spike_metric,
    spike_sensitivity,
    uncertainties,
)

COORDINATES = Coordinates([parameter("x", 1.0, -2.0, 2.0), parameter("tau", 10 * ms, 1 * ms, 100 * ms)])
START = {"x": 1.0, "tau": 10e-3, "kept": 7.0}


def bowl(values, at=(0.3, 30e-3)):
    """A cost with its smallest value, 0, at a point, and its derivatives."""
    x, u = values["x"] - at[0], np.log(values["tau"] / at[1])
    return x**2 + u**2, {"x": 2 * x, "tau": 2 * u / values["tau"]}


class Cost:
    """What `minimise` is given: remembers where it was asked."""

    coordinates = COORDINATES

    def __init__(self, function):
        self.function, self.asked = function, []

    def __call__(self, values):
        self.asked.append(values)
        return self.function(values)


@pytest.mark.parametrize("method", ["SLSQP", "L-BFGS-B"])
def test_a_cost_is_minimised_in_coordinates(method):
    values, cost = minimise(Cost(bowl), START, 50, method)
    assert values["x"] == pytest.approx(0.3, abs=1e-3)
    assert values["tau"] == pytest.approx(30e-3, rel=1e-3)
    assert values["kept"] == 7.0
    assert cost == pytest.approx(0, abs=1e-6)
    edge, _ = minimise(Cost(lambda v: bowl(v, (9.0, 30e-3))), START, 50, method)
    assert edge["x"] == 2.0


def test_the_best_point_counts_and_not_the_last():
    """A gradient with the wrong sign leads away from the start, and a model that cannot be run is no point at all."""

    def uphill(values):
        value, slopes = bowl(values)
        if len(cost.asked) == 2:
            raise NetworkError("cannot be run")
        return value, {name: -slope for name, slope in slopes.items()}

    cost = Cost(uphill)
    values, found = minimise(cost, START, 5)
    assert len(cost.asked) > 2
    assert COORDINATES.of(values) == pytest.approx(COORDINATES.of(START), rel=1e-12)
    assert found == pytest.approx(bowl(START)[0], rel=1e-12)


def test_the_threshold_is_looked_for_below_more_than_above():
    values, best = {"V_th": 10.0, SPREAD: 2.0}, 5.5

    def judge(candidate):
        asked.append(candidate["V_th"])
        return Scored(abs(candidate["V_th"] - best), 0.0, np.zeros(0))

    asked = []
    found, scored = place_threshold(judge, values, "V_th")
    assert (found["V_th"], scored.loss) == (5.5, 0.0)
    np.testing.assert_allclose(asked, np.arange(4.0, 12.1, 0.5))


def spikes_of(values):
    if values["x"] > 2:
        raise AssertionError("beyond the bound")
    return np.array([0.1 + 0.03 * values["x"], 0.2 + 0.5 * values["tau"]])


@pytest.mark.parametrize("x", [1.0, 2.0])  # at its bound a coordinate is moved the other way
def test_how_spikes_move_with_coordinates(x):
    found = spike_sensitivity(SimpleNamespace(spikes=spikes_of), COORDINATES, START | {"x": x})
    slopes = [p.slope(START[p.name]) for p in COORDINATES.parameters]
    np.testing.assert_allclose(found, np.diag([0.03, 0.5] * np.array(slopes)), rtol=1e-4, atol=1e-9)


def test_a_spike_that_comes_or_goes_has_no_sensitivity():
    def spikes(values):
        if values["tau"] != START["tau"]:
            raise NetworkError("cannot be run")
        return np.zeros(2 if values["x"] == START["x"] else 3)

    assert np.isnan(spike_sensitivity(SimpleNamespace(spikes=spikes), COORDINATES, START)).all()


def test_the_metric_lets_spikes_move_by_the_shift():
    sensitivity = np.array([[0.02, 0.0], [0.02, 0.0], [0.0, 1e-6], [0.0, 0.02]])
    covariance = spike_metric(sensitivity, 1e-3)
    assert np.sqrt(covariance[0, 0]) == pytest.approx(1e-3 / (0.02 * np.sqrt(2)))
    assert np.sqrt(covariance[1, 1]) == pytest.approx(1e-3 / 0.02, rel=1e-4)
    np.testing.assert_allclose(spike_metric(np.full((2, 2), np.nan), 1e-3), 0.01 * np.eye(2))


def scored(values):
    return Scored(bowl(values)[0], 0.0, np.zeros(0))


def test_evolution_keeps_the_mean_among_the_drawn_and_weighs_the_best_quarter():
    asked, rng = [], np.random.default_rng(0)

    def judge(values):
        asked.append(COORDINATES.of(values))
        return scored(values)

    population = 12
    generations = list(evolve(judge, COORDINATES, START, 0.2 * np.eye(2), rng, 6, population))
    drawn = np.array(asked[1:]).reshape(6, population, 2)  # the first is the start
    mean = COORDINATES.of(START)
    weights = np.log(3.5) - np.log([1, 2, 3])
    for k, (best, score, now) in enumerate(generations):
        np.testing.assert_allclose(drawn[k, 0], mean)
        losses = [scored(COORDINATES.values(x)).loss for x in drawn[k]]
        mean = weights @ drawn[k][np.argsort(losses, kind="stable")[:3]] / weights.sum()
        np.testing.assert_allclose(COORDINATES.of(now), mean)
        assert score.loss == scored(best).loss <= min(losses)
        assert best["kept"] == 7.0
    assert generations[-1][1].loss < 0.5 * scored(START).loss


class Descent:
    """A judge with a gradient of a chosen sign."""

    def __init__(self, sign, at=(0.3, 30e-3)):
        self.sign, self.at, self.asked = sign, at, []

    def __call__(self, values):
        return Scored(bowl(values, self.at)[0], 0.0, np.zeros(0))

    def gradient(self, values):
        self.asked.append(values)
        if len(self.asked) == 60:
            raise NetworkError("cannot be run")
        return self(values), {name: self.sign * slope for name, slope in bowl(values, self.at)[1].items()}


def test_descent_yields_the_best_point_so_far():
    steps = list(descend(Descent(1), COORDINATES, START, 50, rate=0.3))
    assert len(steps) == 50
    losses = [score.loss for _, score in steps]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.02 * scored(START).loss
    away = list(descend(Descent(-1), COORDINATES, START, 20))
    np.testing.assert_allclose([COORDINATES.of(values) for values, _ in away], [COORDINATES.of(START)] * 20, rtol=1e-12)


def test_descent_stays_within_the_bounds_and_ends_where_nothing_runs():
    judge = Descent(1, at=(9.0, 10e-3))
    best, _ = list(descend(judge, COORDINATES, START, 100, rate=0.5))[-1]
    assert len(judge.asked) == 60
    assert best["x"] == 2.0


def test_descent_turns_at_a_bound_at_once():
    """Coordinates that had left the bounds would take as many steps to come back."""

    class Turning(Descent):
        def gradient(self, values):
            self.at = (9.0 if len(self.asked) < 30 else -9.0, 10e-3)
            return super().gradient(values)

    judge = Turning(1)
    list(descend(judge, COORDINATES, START, 59, rate=0.2))
    assert judge.asked[29]["x"] == 2.0
    inside = next(k for k, values in enumerate(judge.asked[30:]) if values["x"] < 2.0)
    assert inside < 10


def test_uncertainty_of_what_moves_spikes():
    sensitivity = np.array([[0.02, 0.0], [0.02, 0.0], [0.0, 0.01], [0.0, 0.01]])
    found = uncertainties(sensitivity, 1e-3)
    median = 0.015  # spikes that move further count as if they moved so far
    np.testing.assert_allclose(found, [1e-3 / (median * np.sqrt(2)), 1e-3 / (0.01 * np.sqrt(2))], rtol=1e-9)
    assert np.isinf(uncertainties(np.zeros((2, 2)), 1e-3)).all()
