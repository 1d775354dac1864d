"""The coincidence factor on trains that can be counted by hand."""

import numpy as np
import pytest

from brian2grad.training.errors import TrainingError
from brian2grad.training.fit.coincidence import coincidence_factor, coincidences, mean_coincidence, reliability


def test_equal_trains_have_factor_one():
    train = np.array([0.1, 0.25, 0.4])
    assert coincidence_factor(train, train, 1.0) == pytest.approx(1, abs=1e-15)


def test_a_spike_is_matched_once():
    # two model spikes beside one recorded spike: one pair; a recorded spike between two: the later one stays free
    assert coincidences(np.array([0.100, 0.101]), np.array([0.1005])) == 1
    assert coincidences(np.array([0.100, 0.103]), np.array([0.1015, 0.1045])) == 2
    assert coincidences(np.array([0.1]), np.array([0.099, 0.101])) == 1


def test_the_window_itself_counts_and_more_does_not():
    assert coincidences(np.array([0.3]), np.array([0.302])) == 1
    assert coincidences(np.array([0.3]), np.array([0.3021])) == 0


def test_factor_by_hand():
    # 2 of 4 recorded spikes met by 3 spikes in 1 s: chance 2*3*0.002 = 0.012
    recorded, model = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.101, 0.25, 0.399])
    assert coincidence_factor(model, recorded, 1.0) == pytest.approx((2 - 0.012 * 4) / 3.5 / (1 - 0.012), rel=1e-14)


def test_too_many_spikes_do_not_pay():
    recorded = np.arange(0.05, 1, 0.05)
    many = np.sort(np.concatenate([recorded, recorded + 0.0015, recorded + 0.01]))
    assert coincidence_factor(many, recorded, 1.0) < 0.5 < coincidence_factor(recorded, recorded, 1.0)


def test_a_poisson_train_has_factor_zero_on_average():
    rng = np.random.default_rng(1)
    recorded = np.sort(rng.uniform(0, 10, 200))
    found = [coincidence_factor(np.sort(rng.uniform(0, 10, 150)), recorded, 10.0) for _ in range(300)]
    assert abs(np.mean(found)) < 0.01


def test_a_silent_model_and_silent_both():
    assert coincidence_factor(np.array([]), np.array([0.1]), 1.0) == 0
    assert coincidence_factor(np.array([]), np.array([]), 1.0) == 1


def test_means_over_repeats():
    a, b = np.array([0.1, 0.2]), np.array([0.1, 0.3])
    one = coincidence_factor(a, b, 1.0)
    assert mean_coincidence(a, [a, b], 1.0) == pytest.approx((1 + one) / 2)
    assert reliability([a, b], 1.0) == pytest.approx(one)
    assert reliability([a], 1.0) is None
    many = np.array([0.1, 0.3, 0.5, 0.7])
    both = [coincidence_factor(a, many, 1.0), coincidence_factor(many, a, 1.0)]
    assert both[0] != pytest.approx(both[1])  # each train is the model of the other once
    assert reliability([a, many], 1.0) == pytest.approx(np.mean(both))


def test_a_train_that_fills_time_is_refused():
    with pytest.raises(TrainingError, match="holds a spike by chance"):
        coincidence_factor(np.linspace(0, 1, 300), np.array([0.5]), 1.0)
