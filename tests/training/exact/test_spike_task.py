"""Labelled spike times: subsets, and how they are varied while learning."""

import numpy as np
import pytest

from brian2grad.models.hybrid.samples import SampleSpikes
from brian2grad.training import EventArchive
from brian2grad.training.errors import TrainingError
from brian2grad.training.exact.samples import Samples, SpikeTask, spike_task

SIDE = 5


def image_task(n=1000):
    """Every sample is one spike, in the middle of a square image."""
    middle = SIDE * (SIDE // 2) + SIDE // 2
    spikes = SampleSpikes(np.full(n, middle, np.int32), np.linspace(0, 1e-2, n), np.arange(n + 1))
    return SpikeTask(Samples(spikes, SIDE * SIDE, 1e-2), np.zeros(n, int), 1.0)


@pytest.mark.parametrize("shift", [1, 2, 4])
def test_a_shift_moves_whole_samples_by_up_to_as_many_pixels_on_either_side(shift):
    task = image_task()
    moved = task.batch(np.arange(1000), np.random.default_rng(0), shift=shift).spikes
    y, x = np.divmod(moved.neurons, SIDE)
    reached = min(shift, SIDE // 2)  # what leaves the image is dropped, on every side
    for place in (x, y):
        assert set(place - SIDE // 2) == set(range(-reached, reached + 1))
    assert len(set(zip(x, y, strict=True))) == (2 * reached + 1) ** 2  # both directions on their own
    assert (len(x) < 1000) == (shift > SIDE // 2)
    assert np.diff(moved.offsets).sum() == len(x)
    np.testing.assert_array_equal(moved.times, task.events.spikes.times[np.diff(moved.offsets) > 0])


def test_spikes_of_a_sample_move_together():
    spikes = SampleSpikes.of([([6, 7, 12], [0, 1e-3, 2e-3])] * 20)
    task = SpikeTask(Samples(spikes, 25, 2e-3), np.zeros(20, int), 3.0)
    moved = task.batch(np.arange(20), np.random.default_rng(1), shift=1).spikes
    for sample in range(20):
        neurons, times = moved[sample]
        steps = neurons - np.array([6, 7, 12])[np.isin([0, 1e-3, 2e-3], times)]
        assert len(set(steps)) == 1


def test_dropped_spikes_are_as_many_as_asked_for():
    task = image_task(4000)
    kept = task.batch(np.arange(4000), np.random.default_rng(2), drop=0.2)
    assert len(kept) == 4000
    assert len(kept.spikes.times) / 4000 == pytest.approx(0.8, abs=0.03)
    assert task.batch(np.arange(7), np.random.default_rng(2)).spikes.offsets.tolist() == list(range(8))


def test_samples_are_taken_in_the_order_asked_for():
    spikes = SampleSpikes.of([([0], [1e-3]), ([1, 2], [2e-3, 3e-3]), ([], []), ([3, 4, 5], [0, 1e-3, 1e-3])])
    part = Samples(spikes, 6, 3e-3).take([3, 0, 2, 3])
    assert part.spikes.neurons.tolist() == [3, 4, 5, 0, 3, 4, 5]
    assert part.spikes.offsets.tolist() == [0, 3, 4, 4, 7]


def test_an_archive_becomes_a_task_with_its_times():
    archive = EventArchive.from_samples([([0, 1], [5, 9]), ([2, 2, 0, 1], [0, 1, 2, 3])], [1, 0], 3, 100)
    task = spike_task(archive)
    assert task.raw_events == 3.0
    assert task.events.spikes.times == pytest.approx([5e-4, 9e-4, 0, 1e-4, 2e-4, 3e-4])
    assert (task.n_classes, len(task), len(spike_task(archive, limit=1))) == (2, 2, 1)


def test_what_spike_times_cannot_be_varied_by_is_refused():
    task, rng = image_task(4), np.random.default_rng(0)
    with pytest.raises(TrainingError, match="stretch: spike times are varied by drop and shift only"):
        task.batch(np.arange(4), rng, stretch=0.1)
    with pytest.raises(TrainingError, match="24 units are no square image"):
        SpikeTask(Samples(task.events.spikes, 24, 1e-2), task.labels, 1.0).batch(np.arange(4), rng, shift=1)
