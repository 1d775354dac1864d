"""Memory of training against the number of steps: the script measures what it says."""

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))
import resolution_memory as memory  # noqa: E402


def test_recordings_have_as_many_events_as_they_say():
    events, labels = memory.random_recordings(3, 10, 40.0)
    assert (events.n_samples, events.n_steps, events.n_units) == (3, 10, memory.N_UNITS)
    assert events.values.sum() == 3 * 40 * memory.EVENTS_PER_MS
    assert len(labels) == 3


GROWTH = """
import numpy as np, resolution_memory
held = []
print(*resolution_memory.growth(lambda: held.append(np.ones(4 << 20))))  # 32 MiB
"""


def test_growth_is_that_of_the_peak():
    # a process of its own: here memory that earlier tests gave back would be taken again without growing
    done = subprocess.run([sys.executable, "-c", GROWTH], cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    mib, seconds = map(float, done.stdout.split())
    assert 30 < mib < 40
    assert seconds > 0


def test_a_stream_does_not_grow():
    few, many = (memory.stream_cell("recording", steps) for steps in (100, 1000))
    assert few["steps"] == 100
    assert many["mib"] < 32
