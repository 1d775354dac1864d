"""How programs are compared: in turn, warm, with the threads that suit each, by the median of paired ratios."""

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import fair  # noqa: E402


class Told:
    """A side whose times are given."""

    def __init__(self, name, log, seconds):
        self.name, self.log, self.seconds, self.count = name, log, iter(seconds), None

    def time(self, calls, threads):
        self.log.append(self.name)
        return next(self.seconds)


def test_ratio_is_the_median_over_turns_not_of_the_medians():
    log, warm = [], [9.0, 1.0]
    first, second = [1.0, 2.0, 4.0], [3.0, 6.0, 2.0]  # medians 2 and 3; paired 3, 3, 0.5
    sides = {"a": Told("a", log, warm + first), "b": Told("b", log, warm + second)}
    rows = fair.compare(sides, budget=0, rounds=(3, 9))
    assert [row["ratio"] for row in rows] == [1.0, 3.0]
    assert [row["seconds"] for row in rows] == [2.0, 3.0]
    assert "".join(log) == "aabb" + "ab" + "ba" + "ab"


def test_short_calls_are_repeated_and_long_ones_are_not():
    sides = {"short": Told("s", [], [1e-4] * 20), "long": Told("l", [], [1.0] * 20)}
    rows = fair.compare(sides, budget=0, at_least=0.02, rounds=(2, 2))
    assert [row["calls"] for row in rows] == [200, 1]


def test_each_side_keeps_the_number_of_threads_that_suits_it():
    class Threaded:
        def __init__(self, seconds):
            self.seconds = seconds

        def set_threads(self, count):
            self.count = count

        def time(self, calls, threads):
            return self.seconds.get(getattr(self, "count", 2))

    sides = {"gains": Threaded({1: 2.0, 2: 1.1}), "loses": Threaded({1: 2.0, 2: 3.0})}
    rows = fair.compare(sides, threads=2, budget=0, rounds=(2, 2))
    assert [(row["threads"], row["seconds"]) for row in rows] == [(2, 1.1), (1, 2.0)]


def test_results_say_what_was_run_on_what(tmp_path):
    path = fair.save("x", [{"side": "a", "seconds": 1.0}], tmp_path, data="none")
    found = json.loads(path.read_text())
    assert found["rows"] == [{"side": "a", "seconds": 1.0}]
    assert found["about"]["command"].startswith("python benchmarks/")
    assert found["about"]["data"] == "none"
    assert {"processor", "cores", "load", "versions"} <= found["about"].keys()


@pytest.mark.parametrize("threads", [1, 2])
def test_environment_lets_waiting_threads_sleep(threads):
    variables = fair.environment(threads)
    assert variables["OMP_WAIT_POLICY"] == "passive"
    assert variables["OMP_NUM_THREADS"] == str(threads)
