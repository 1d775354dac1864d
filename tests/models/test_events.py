"""Binning of events: nothing is lost, moved to another step or counted twice."""

from types import SimpleNamespace

import numpy as np
import pytest
from brian2 import Hz, ms, us
from hypothesis import given, settings
from hypothesis import strategies as st

from brian2grad.models import NetworkError, StepEvents, bin_events
from brian2grad.models.events import times_of


def archive(samples, n_units=8, time_unit_us=1000):
    """A minimal event archive from lists of (unit, time)."""
    events = [sorted(sample, key=lambda e: e[1]) for sample in samples]
    flat = [event for sample in events for event in sample]
    return SimpleNamespace(
        units=np.array([u for u, _ in flat], np.uint16),
        times=np.array([t for _, t in flat], np.uint32),
        offsets=np.concatenate([[0], np.cumsum([len(sample) for sample in events])]).astype(np.int64),
        n_units=n_units,
        time_unit_us=time_unit_us,
    )


SAMPLES = st.lists(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 400)), max_size=40), min_size=1, max_size=6)


@given(samples=SAMPLES, dt=st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_binning_is_counting_with_the_floor_rule(samples, dt):
    binned = bin_events(archive(samples), dt * ms)
    last = max((t for sample in samples for _, t in sample), default=0)
    assert binned.n_steps == last // dt + 1
    assert (len(binned), binned.n_units, binned.dt) == (len(samples), 8, pytest.approx(dt * 1e-3))
    assert int(binned.values.astype(int).sum()) == sum(map(len, samples))
    for index, sample in enumerate(samples):
        wanted = np.zeros((binned.n_steps, 8))
        for unit, time in sample:
            wanted[time // dt, unit] += 1
        np.testing.assert_array_equal(binned.dense(index), wanted)


@given(samples=SAMPLES, dt=st.integers(1, 60), n_steps=st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_later_events_are_left_out(samples, dt, n_steps):
    binned = bin_events(archive(samples), dt * ms, n_steps)
    assert binned.n_steps == n_steps
    kept = [sum(t // dt < n_steps for _, t in sample) for sample in samples]
    assert [binned.dense(s).sum() for s in range(len(samples))] == kept


@given(samples=SAMPLES)
@settings(max_examples=30, deadline=None)
def test_storage_is_sorted_and_sparse(samples):
    binned = bin_events(archive(samples), 20 * ms)
    assert binned.ptr[0] == 0
    assert binned.ptr[-1] == len(binned.units) == len(binned.values)
    assert (np.diff(binned.ptr) >= 0).all()
    assert (binned.values > 0).all()
    for begin, end in zip(binned.ptr[:-1], binned.ptr[1:], strict=True):
        assert (np.diff(binned.units[begin:end].astype(int)) > 0).all()  # ascending, each unit once


@given(samples=SAMPLES, data=st.data())
@settings(max_examples=25, deadline=None)
def test_take_chooses_samples(samples, data):
    binned = bin_events(archive(samples), 20 * ms)
    chosen = data.draw(st.lists(st.integers(0, len(samples) - 1), max_size=8))
    taken = binned.take(chosen)
    assert len(taken) == len(chosen)
    assert (taken.n_units, taken.n_steps, taken.dt) == (binned.n_units, binned.n_steps, binned.dt)
    for row, index in enumerate(chosen):
        np.testing.assert_array_equal(taken.dense(row), binned.dense(index))


def test_take_understands_slices_masks_and_negative_numbers():
    binned = bin_events(archive([[(u, 10 * u)] for u in range(5)]), 10 * ms)

    def units(taken):
        return [int(np.flatnonzero(taken.dense(s).sum(axis=0))[0]) for s in range(len(taken))]

    assert units(binned.take(slice(1, None, 2))) == [1, 3]
    assert units(binned.take(np.array([True, False, False, True, False]))) == [0, 3]
    assert units(binned.take(-1)) == [4]
    assert units(binned.take(slice(0, 0))) == []
    with pytest.raises(IndexError):
        binned.take([5])


@pytest.mark.parametrize("dt", [0.1, 0.3, 0.7, 1.1, 3.3])
def test_times_on_the_grid_stay_in_their_step(dt):
    """``n*dt`` belongs to step n although floating-point division may fall just below n."""
    steps = np.arange(3000)
    times = np.rint(steps * dt * 1000).astype(int)
    binned = bin_events(archive([[(0, int(t)) for t in times]], time_unit_us=1), dt * ms)
    np.testing.assert_array_equal(binned.dense(0)[:, 0], 1)


def test_time_units_and_times_between_grid_points():
    events = archive([[(3, 2999), (3, 3000), (3, 3001)]], time_unit_us=0.5)
    binned = bin_events(events, 500 * us)
    np.testing.assert_array_equal(binned.dense(0)[:, 3], [0, 0, 1, 2])


def test_many_events_of_a_unit_in_one_step():
    for n, dtype in ((255, np.uint8), (256, np.float32), (1000, np.float32)):
        binned = bin_events(archive([[(2, 5)] * n, [(1, 0)]]), 10 * ms)
        assert binned.dense(0)[0, 2] == n
        assert binned.dense(1)[0, 1] == 1
        assert binned.values.dtype == dtype


def test_large_unit_numbers():
    events = archive([[(0, 0)]], n_units=100_000)
    events.units = np.array([99_999], np.int64)
    binned = bin_events(events, 10 * ms)
    assert binned.units.tolist() == [99_999]
    assert binned.dense(0)[0, 99_999] == 1


def test_blocks_do_not_change_the_result():
    """A set is binned in blocks of samples; samples on both sides of a border keep their events."""
    rng = np.random.default_rng(0)
    n, per_sample = 15, 200_000
    events = SimpleNamespace(
        units=rng.integers(0, 50, n * per_sample).astype(np.uint16),
        times=np.tile(np.sort(rng.integers(0, 100, per_sample)), n).astype(np.uint32),
        offsets=np.arange(n + 1, dtype=np.int64) * per_sample,
        n_units=50,
        time_unit_us=1000,
    )
    binned = bin_events(events, 50 * ms)
    for sample in (0, 9, 10, 11, 14):
        part = slice(sample * per_sample, (sample + 1) * per_sample)
        wanted = np.zeros((2, 50))
        np.add.at(wanted, (events.times[part] // 50, events.units[part]), 1)
        np.testing.assert_array_equal(binned.dense(sample), wanted)


def test_an_empty_set_and_empty_samples():
    assert len(bin_events(archive([]), 10 * ms)) == 0
    binned = bin_events(archive([[], [(1, 25)], []]), 10 * ms)
    assert [binned.dense(s).sum() for s in range(3)] == [0, 1, 0]
    assert binned.n_steps == 3


def test_binned_events_pass_unchanged_if_the_grid_fits(random_events):
    events = random_events(dt=10e-3, n_steps=20)
    assert bin_events(events, 10 * ms) is events
    assert bin_events(events, 10 * ms, 20) is events
    with pytest.raises(NetworkError, match=r"binned to 20 steps of 0.01 s; None steps of 0.005 s"):
        bin_events(events, 5 * ms)
    with pytest.raises(NetworkError, match=r"binned to 20 steps of 0.01 s; 21 steps of 0.01 s .* Bin the original"):
        bin_events(events, 10 * ms, 21)


@pytest.mark.parametrize("dt", [0 * ms, -1 * ms, 10, 10 * Hz, np.nan * ms], ids=str)
def test_bad_steps_are_refused(dt):
    with pytest.raises(NetworkError, match=r"dt = .* must be a positive time such as 1\*ms"):
        bin_events(archive([[(0, 0)]]), dt)


def test_other_bad_arguments():
    with pytest.raises(NetworkError, match="n_steps = 0: a run needs at least one step"):
        bin_events(archive([[(0, 0)]]), 10 * ms, 0)
    with pytest.raises(NetworkError, match="list is no event archive: it has no units, times, offsets"):
        bin_events([1, 2], 10 * ms)


def test_times_of_steps():
    np.testing.assert_allclose(np.asarray(times_of([0, 3], 10 * ms)), [0, 0.03])


def dense_counts(seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(1, 4, (3, 5, 7)) * (rng.random((3, 5, 7)) < 0.3)


@pytest.mark.parametrize("dtype", [int, float, np.float32, bool])
def test_events_of_dense_counts(dtype):
    counts = dense_counts().astype(dtype)
    events = StepEvents.from_dense(counts, 2 * ms)
    np.testing.assert_array_equal([events.dense(s) for s in range(3)], counts)
    assert (events.units.dtype, events.values.dtype, events.dt) == (np.uint16, np.uint8, 2e-3)
    np.testing.assert_array_equal(events.rows, np.nonzero(counts.reshape(15, 7))[0])


def test_values_that_are_no_bytes_are_kept():
    counts = np.array([[[0.0, 0.5, 0.0], [-1.0, 0.0, 300.0]]])
    events = StepEvents.from_dense(counts, 1e-3)
    np.testing.assert_array_equal(events.dense(0), counts[0])


def test_events_of_triples_add_up_in_any_order():
    counts = dense_counts()
    samples, steps, units = (np.repeat(i, counts[counts > 0]) for i in np.nonzero(counts))
    order = np.random.default_rng(1).permutation(len(units))
    whole = StepEvents.from_dense(counts, 1e-3)
    found = StepEvents.from_triples(samples[order], steps[order], units[order], counts.shape, 1e-3)
    weighted = StepEvents.from_triples(*np.nonzero(counts), counts.shape, 1e-3, counts[counts > 0])
    for events in (found, weighted):
        for name in ("ptr", "units", "values"):
            np.testing.assert_array_equal(getattr(events, name), getattr(whole, name))


def test_triples_outside_are_refused_by_name():
    with pytest.raises(NetworkError, match=r"units\[1\] = 7; expected numbers from 0 to 6\."):
        StepEvents.from_triples([0, 0], [0, 0], [1, 7], (1, 2, 7), 1e-3)
    with pytest.raises(NetworkError, match=r"steps\[0\] = -1; expected numbers from 0 to 1\."):
        StepEvents.from_triples([0], [-1], [1], (1, 2, 7), 1e-3)
    with pytest.raises(NetworkError, match=r"counts have shape \(2, 3\)"):
        StepEvents.from_dense(np.zeros((2, 3)), 1e-3)


def test_steps_cut_what_concatenate_joins():
    counts = dense_counts()
    events = StepEvents.from_dense(counts, 1e-3)
    parts = [events.steps(0, 2), events.steps(2, 3), events.steps(3, 9)]
    assert [p.n_steps for p in parts] == [2, 1, 2]
    np.testing.assert_array_equal([parts[0].dense(s) for s in range(3)], counts[:, :2])
    joined = StepEvents.concatenate(parts)
    for name in ("ptr", "units", "values"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(events, name))
    with pytest.raises(NetworkError, match="don't follow each other"):
        StepEvents.concatenate([parts[0], events.take([0])])
