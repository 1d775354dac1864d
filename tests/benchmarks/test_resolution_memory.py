"""Memory of training against the number of steps: the script measures what it says."""

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import resolution_memory as memory  # noqa: E402


def test_recordings_have_as_many_events_as_they_say():
    events, labels = memory.random_recordings(3, 10, 40.0)
    assert (events.n_samples, events.n_steps, events.n_units) == (3, 10, memory.N_UNITS)
    assert events.values.sum() == 3 * 40 * memory.EVENTS_PER_MS
    assert len(labels) == 3


def test_growth_is_that_of_the_peak():
    held = []
    mib, seconds = memory.growth(lambda: held.append(np.ones(4 << 20)))  # 32 MiB
    assert 30 < mib < 40
    assert seconds > 0


def test_a_stream_does_not_grow():
    few, many = (memory.stream_cell("recording", steps) for steps in (100, 1000))
    assert few["steps"] == 100
    assert many["mib"] < 32
