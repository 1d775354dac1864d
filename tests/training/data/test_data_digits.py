"""The embedded digits: simulated camera, split, cache and linear separability."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from brian2grad.training.data import DataError, EventCamera, digits, simulate_digits


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("BRIAN2GRAD_CACHE", raising=False)
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "brian2grad" / "data"


@pytest.fixture(scope="module")
def recorded(cache):
    return digits("all")


def counts(archive):
    samples = np.repeat(np.arange(len(archive)), np.diff(archive.offsets))
    place = samples * archive.n_units + archive.units
    return np.bincount(place, minlength=len(archive) * archive.n_units).reshape(len(archive), -1)


def ramp(levels, **camera):
    """Record one pixel whose log intensity follows the levels, 1000 us apart, with nothing random."""
    quiet = EventCamera(width=1, height=1, mismatch=0, start_spread=0, noise_rate=0, dark=1e-6, **camera)
    frames = [np.full((1, 1, 1), np.exp(level)) for level in levels]
    return quiet.record(frames, 1000, np.random.default_rng(0))


def test_camera_sends_on_events_at_interpolated_crossings():
    units, times, offsets = ramp([0, 1], threshold=0.3)
    np.testing.assert_array_equal(units, [1, 1, 1])
    np.testing.assert_allclose(times, [300, 600, 900], atol=1)
    np.testing.assert_array_equal(offsets, [0, 3])


def test_camera_remembers_the_level_of_the_last_event():
    units, times, _ = ramp([0, 0.2, 0.4, 0.4, 0.25, -0.1], threshold=0.3)
    np.testing.assert_array_equal(units, [1, 0])  # up through 0.3, then down through 0.0
    np.testing.assert_allclose(times, [1500, 4714], atol=2)


def test_digits_are_recordings_of_the_promised_size(recorded):
    n_events = np.diff(recorded.offsets)
    assert len(recorded) == 1797
    assert recorded.n_units == 1152
    assert 1000 < n_events.mean() < 2500
    assert n_events.min() > 500
    assert 299_000 < recorded.times.max() < 300_000
    assert np.bincount(recorded.times // 1000).max() < 0.02 * len(recorded.times)  # no synchronous burst
    on = (recorded.units >= 576).mean()
    assert 0.4 < on < 0.6


def test_split_is_fixed_stratified_and_complete(recorded):
    train, validation = digits("train"), digits("validation")
    assert (len(train), len(validation)) == (1437, 360)
    assert np.ptp(np.bincount(validation.labels)) <= 2
    joined = np.sort(np.concatenate([np.diff(train.offsets), np.diff(validation.offsets)]))
    np.testing.assert_array_equal(joined, np.sort(np.diff(recorded.offsets)))
    assert digits("validation").sha256 == validation.sha256


def test_simulation_is_deterministic_and_equals_the_cached_copy(recorded, cache):
    assert [path.name for path in cache.iterdir()] == ["digits-v3-seed0.npz"]
    assert simulate_digits(0).sha256 == recorded.sha256


def test_unusable_cache_is_passed_over(recorded, cache, tmp_path, monkeypatch):
    broken = tmp_path / "brian2grad"
    broken.write_text("a file where the folder should be")
    monkeypatch.delenv("BRIAN2GRAD_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert digits("all").sha256 == recorded.sha256
    assert broken.read_text().startswith("a file")


def test_linear_classifier_on_event_counts_exceeds_90_percent(recorded):
    train, validation = digits("train"), digits("validation")
    fitted = RidgeClassifier(100).fit(counts(train), train.labels)
    assert fitted.score(counts(validation), validation.labels) > 0.9


def test_unknown_split_is_refused():
    with pytest.raises(DataError, match="digits: no split 'test'"):
        digits("test")
