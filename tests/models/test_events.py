"""Binning of events: nothing is lost, moved to another step or counted twice."""

import warnings
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from brian2 import Hz, ms, us
from hypothesis import given, settings
from hypothesis import strategies as st

from brian2grad.models import NetworkError, StepEvents, bin_events
from brian2grad.models import events as events_module
from brian2grad.models.events import EventsLeftOut, times_of


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


# -- times that are long, late, or not on the grid ---------------------------------------------------------------------


def recording(times, time_unit_us=1, **changes):
    """One sample of unit 0 at the given times, whatever their type."""
    events = {
        "units": np.zeros(len(times), np.uint16),
        "times": np.asarray(times),
        "offsets": np.array([0, len(times)]),
    }
    return SimpleNamespace(**events | {"n_units": 1, "time_unit_us": time_unit_us} | changes)


UNITS_US = st.sampled_from([0.1, 0.5, 1, 2, 10, 25, 100, 250, 1000, 1000 / 44.1, 1e6])
STEPS_US = st.sampled_from([1, 3, 10, 62.5, 100, 250, 1000 / 3, 1000, 1500, 10_000, 1e6])


@given(unit=UNITS_US, step=STEPS_US, index=st.integers(0, 2**53), shift=st.sampled_from([-1, 0, 1]))
@settings(max_examples=300, deadline=None)
def test_steps_are_exact_to_2_to_the_53(unit, step, index, shift):
    """Against fractions: the first time of step `index`, and its neighbours."""
    ratio = Fraction(step).limit_denominator(1000) / Fraction(unit).limit_denominator(1000)  # units in a step
    time = -(-index * ratio.numerator // ratio.denominator) + shift
    if 0 <= time <= 2**53 and time // ratio < 2**53:
        found = events_module._Grid(unit, step * us)(np.array([time], np.uint64))
        assert found.tolist() == [time // ratio]


@pytest.mark.parametrize(
    ("unit", "step", "hours"), [(10, 0.25, 1.4), pytest.param(100, 1, 13.9, marks=pytest.mark.long)]
)
def test_on_grid_events_stay_in_their_step_after_hours(unit, step, hours):
    per_step = round(step * 1000 / unit)
    last = int(hours * 3.6e9 / unit) // per_step  # steps
    steps = np.arange(last - 50, last + 1)
    binned = bin_events(recording(np.r_[0, steps * per_step], unit), step * ms, last + 1)
    np.testing.assert_array_equal(np.flatnonzero(np.diff(binned.ptr)), np.r_[0, steps])


def test_events_after_the_end_are_counted_and_reported():
    events = archive([[(0, 5), (1, 15), (2, 25), (2, 25)], [(3, 19), (3, 20)]])
    with pytest.warns(EventsLeftOut, match=r"^3 of 6 events lie after the end of their sample at 0.02 s and"):
        binned = bin_events(events, 10 * ms, 2)
    assert binned.values.sum() == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bin_events(events, 10 * ms, 3)
        bin_events(events, 10 * ms)


UNIX = 1_764_200_000  # seconds since 1970


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        (UNIX * 10**6 + np.arange(0, 10**6, 2000), 1),
        (UNIX * 10**3 + np.arange(0, 1000, 2), 1000),
        (UNIX + np.array([0, 1, 2]), 1e6),
        (7_200_000_000 + np.arange(0, 10**6, 2000), 1),  # two hours after the camera was switched on
        (np.arange(2**63 - 5, 2**63 - 1), 1),
    ],
)
@pytest.mark.parametrize("n_steps", [None, 20])
def test_times_from_another_origin_are_refused(times, unit, n_steps):
    for kind in (np.int64, np.uint64):
        events = recording(times.astype(kind), unit)
        with pytest.raises(NetworkError, match=r"sample 0 start at [\de.+]+ s, .* subtract the first time"):
            bin_events(events, 1 * ms, n_steps)
    events.times = times - np.repeat(times[events.offsets[:-1]], np.diff(events.offsets))  # the remedy of the message
    assert len(bin_events(events, 1 * ms).units)


def test_a_late_sample_among_others_is_named():
    events = archive([[(0, 0), (0, 900)], [], [(1, 5)], [(2, 4_000_000), (2, 4_000_800)]])
    with pytest.raises(NetworkError, match="times of sample 3 start at 4000 s"):
        bin_events(events, 10 * ms)
    bin_events(archive([[(0, 0), (0, 900)], [(1, 9500)]]), 10 * ms)  # late for its length, but within ten seconds
    bin_events(archive([[(0, 0), (0, 5_000_000)], [(1, 4_000_000)]]), 1000 * ms)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"times": np.array([-1, 5])}, r"times\[0\] = -1; expected numbers from 0\."),
        ({"times": np.array([0.5, 1.5])}, "times have type float64"),
        ({"units": np.array([0, 1])}, r"units\[1\] = 1; expected numbers from 0 to 0\."),
        ({"units": np.array([0, -3])}, r"units\[1\] = -3; expected"),
        ({"units": np.array([0])}, "There are 1 units and 2 times"),
        ({"offsets": np.array([0, 1])}, "expected them to ascend from 0 to the 2 events"),
        ({"offsets": np.array([0, 3, 2])}, "expected them to ascend"),
        ({"offsets": np.array([1, 2])}, "expected them to ascend"),
    ],
)
def test_malformed_recordings_are_refused(changes, text):
    with pytest.raises(NetworkError, match=text):
        bin_events(recording(**{"times": np.array([3, 5])} | changes), 1 * ms)


def test_an_absurd_number_of_steps_is_refused():
    with pytest.raises(NetworkError, match="1 samples of 5000000000001 steps are too many; choose a longer dt"):
        bin_events(recording(np.array([0, 5_000_000])), 1e-6 * us)
