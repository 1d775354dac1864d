"""Van Rossum's distance from repeats, by hand, by quadrature and by differences."""

import numpy as np
import pytest

from brian2grad.training.fit.distance import dissimilarity, van_rossum

TAU = 5e-3


def test_one_spike_too_many_costs_a_half():
    assert van_rossum(np.array([0.1]), [np.array([])], TAU)[0] == pytest.approx(0.5)
    assert van_rossum(np.array([]), [np.array([0.1])], TAU)[0] == pytest.approx(0.5)
    assert van_rossum(np.array([0.1, 0.9]), [np.array([0.1])], TAU)[0] == pytest.approx(0.5)


def test_two_spikes_apart_by_hand():
    gap = 2e-3
    found, slopes = van_rossum(np.array([0.1 + gap]), [np.array([0.1])], TAU)
    assert found == pytest.approx(1 - np.exp(-gap / TAU))
    assert slopes[0] == pytest.approx(np.exp(-gap / TAU) / TAU)


def test_the_integral_of_the_definition():
    rng = np.random.default_rng(3)
    model, repeats = np.sort(rng.uniform(0, 0.1, 6)), [np.sort(rng.uniform(0, 0.1, n)) for n in (5, 8)]
    t = np.linspace(0, 0.25, 500_001)
    filtered = lambda train: sum(np.where(t >= s, np.exp(-np.maximum(t - s, 0) / TAU), 0) for s in train)  # noqa: E731
    truth = np.mean([np.trapezoid((filtered(model) - filtered(r)) ** 2, t) / TAU for r in repeats])
    assert van_rossum(model, repeats, TAU)[0] == pytest.approx(truth, rel=1e-4)


@pytest.mark.parametrize("measure", [van_rossum, dissimilarity])
def test_slopes_against_differences(measure):
    rng = np.random.default_rng(4)
    model, repeats = np.sort(rng.uniform(0, 0.1, 7)), [np.sort(rng.uniform(0, 0.1, n)) for n in (5, 8, 0)]
    slopes = measure(model, repeats, TAU)[1]
    for k in range(len(model)):
        step = np.zeros(len(model))
        step[k] = 1e-7
        truth = (measure(model + step, repeats, TAU)[0] - measure(model - step, repeats, TAU)[0]) / 2e-7
        assert slopes[k] == pytest.approx(truth, rel=1e-6)


def test_dissimilarity_by_hand():
    train, far = np.array([0.1, 0.5]), np.array([0.3])
    assert dissimilarity(train, [train], TAU)[0] == pytest.approx(0, abs=1e-12)
    assert dissimilarity(far, [train], TAU)[0] == pytest.approx(1)
    assert dissimilarity(np.array([0.1]), [train], TAU)[0] == pytest.approx(1 - 2 / 3)
    assert dissimilarity(np.array([]), [np.array([])], TAU)[0] == 0
