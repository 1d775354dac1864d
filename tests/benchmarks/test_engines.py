"""The table of engines says how long they are, and the fits of the growth of time what they are fits of."""

import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))
import engines  # noqa: E402
import growth  # noqa: E402


def test_table_says_how_many_lines_there_are():
    counted, stated = engines.lines(), engines.stated((BENCHMARKS / "README.md").read_text())
    assert stated.keys() == counted.keys()
    for name, languages in counted.items():
        for language, n in languages.items():
            assert stated[name][language] == pytest.approx(n, rel=0.05, abs=5), f"{name}, {language}: {n} lines"


def test_exponents_of_a_power_law_and_of_a_bend():
    x = np.array([1, 2, 4, 8])
    assert growth.exponents(x, 3 * x**1.5) == pytest.approx((1.5, 1.5, 1.5))
    fit, first, last = growth.exponents(x, np.where(x > 2, x / 4, 1))
    assert first < fit < last


def test_rows_become_curves_and_a_figure(tmp_path):
    cell = {"work": "asynchronous run", "axis": "batch", "wall_ms": 1.0, "spikes": 1}
    rows = [{"kind": "settings"}, *(cell | {"x": x, "ms": 0.1 * x, "mib": 0.0} for x in (4, 1, 2))]
    assert list(growth.curves(rows)) == [("asynchronous run", "batch", [1, 2, 4], [0.1, 0.2, 0.4])]
    assert growth.draw(rows, tmp_path).is_file()
