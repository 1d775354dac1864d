"""Archives of what a Brian 2 run recorded."""

import numpy as np
import pytest
from brian2 import Network, Quantity, SpikeGeneratorGroup, SpikeMonitor, ms, mV

from brian2grad.training import DataError, EventArchive

INDICES, TIMES = [2, 0, 1, 1, 2], [0.3, 9.9, 10.0, 17.3, 29.9]


@pytest.fixture
def monitor():
    source = SpikeGeneratorGroup(3, INDICES, TIMES * ms)
    found = SpikeMonitor(source)
    Network(source, found).run(30 * ms)
    return found


def test_a_run_is_cut_into_samples(monitor):
    archive = EventArchive.from_monitor(monitor, [1, 0, 1], 10 * ms, name="mine")
    assert (archive.n_samples, archive.n_units, archive.time_unit_us, archive.name) == (3, 3, 100, "mine")
    assert archive.units.tolist() == INDICES
    assert archive.times.tolist() == [3, 99, 0, 73, 99]  # a spike on the border belongs to the sample that begins there
    assert archive.offsets.tolist() == [0, 2, 4, 5]
    assert archive.take([2]).units.tolist() == [2]


def test_what_lies_before_the_start_is_left_out(monitor):
    archive = EventArchive.from_monitor(monitor, [0, 1], 10 * ms, start=10 * ms)
    assert archive.times.tolist() == [0, 73, 99]
    assert np.diff(archive.offsets).tolist() == [2, 1]


def test_a_silent_run_may_have_no_samples(monitor):
    assert len(EventArchive.from_monitor(monitor, [], 10 * ms, start=30 * ms)) == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"labels": [0, 1], "duration": 10 * ms}, "a spike lies in sample 2 .* there are 2 labels"),
        ({"labels": [0], "duration": 30.05 * ms}, "duration = 30.05 .*no whole number of the clock's steps of 0.1 ms"),
        ({"labels": [0], "duration": 30.02 * ms}, "duration = 30.02 .*no whole number of the clock's steps of 0.1 ms"),
        ({"labels": [0], "duration": 0 * ms}, "duration = .*must be positive"),
        ({"labels": [0] * 5, "duration": 10 * ms, "start": Quantity(np.inf, dim=ms.dim)}, "start = inf"),
    ],
)
def test_what_does_not_fit_is_named(monitor, arguments, text):
    with pytest.raises(DataError, match=text):
        EventArchive.from_monitor(monitor, **arguments)


def test_a_duration_is_a_time(monitor):
    with pytest.raises(Exception, match="duration must be a time"):
        EventArchive.from_monitor(monitor, [0], 10 * mV)
