"""The resolution study: its grid, its file, the changes it reports, and one trained cell of each kind."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import resolution  # noqa: E402
import resolution_cells  # noqa: E402
import resolution_plot  # noqa: E402

from brian2grad.training.data import EventArchive  # noqa: E402


def row(method, trained, accuracies, seed=0):
    tests = [{"dt_ms": dt, "accuracy": a, "spikes_per_neuron": s} for dt, a, s in accuracies]
    return {"kind": "accuracy", "method": method, "dt_ms": trained, "seed": seed, "steps": round(320 / trained),
            "updates": 10, "tests": tests}  # fmt: skip


ROWS = [
    row("filter", 10.0, [(10.0, 95.0, 2.0), (1.0, 94.5, 2.1)]),
    row("filter", 10.0, [(10.0, 96.0, 2.2), (1.0, 95.5, 2.1)], seed=1),
    row("filter", 1.0, [(10.0, 95.1, 2.0), (1.0, 95.3, 2.2)]),
    {"kind": "memory", "method": "filter", "steps": 32, "mib": 5.0, "seconds_per_batch": 0.1},
]


def test_changes_over_time_steps():
    change = resolution_plot.invariance(ROWS, "filter")
    assert change["own"] == pytest.approx(0.3)  # of seed 0: 95.0 % at 10 ms, 95.3 % at 1 ms
    assert change["own_spikes"] == pytest.approx(0.1)
    assert change["across"] == pytest.approx(0.5)  # trained at 10 ms
    assert change["across_spikes"] == pytest.approx(0.1)  # trained at 1 ms


def test_table_and_figure_take_what_is_there():
    text = resolution_plot.table(ROWS)
    assert "SpikingGamma, filter" in text
    assert "95.50" in text
    assert len(resolution_plot.plot(ROWS).axes) == 4


def test_grid_and_file(tmp_path):
    cells = resolution.grid(2, resolution.DTS, resolution.METHODS)
    assert len({json.dumps(c) for c in cells}) == len(cells)
    assert not [c for c in cells if c["method"] == "fptt" and c["dt_ms"] < 1]
    assert {c["method"] for c in cells if c["seed"] == 1} == {"filter", "online"}
    results = resolution.Results(tmp_path / "new" / "lines.jsonl")
    results.add(dict(cells[0], kind="accuracy"))
    again = resolution.Results(tmp_path / "new" / "lines.jsonl")
    assert again.find(kind="accuracy", **cells[0])["git"]
    assert again.find(kind="accuracy", **cells[1]) is None


@pytest.mark.long
@pytest.mark.parametrize("method", resolution.METHODS)
def test_a_cell_trains_and_leaves_the_time_step(method):
    """Two classes that light up different pixels: every rule learns them within an epoch or two, at 10 ms."""
    rng, n = np.random.default_rng(0), 60
    labels = np.arange(n) % 2
    units = (rng.integers(0, 1156, (n, 600)) + 1156 * labels[:, None]).astype(np.uint16)
    times = np.sort(rng.integers(0, 320, (n, 600)), axis=1).astype(np.uint16)
    archive = EventArchive(units.ravel(), times.ravel(), np.arange(n + 1) * 600, labels.astype(np.uint8), 2312, 1000)
    data = resolution_cells.Data(archive, archive)
    common = {"epochs": 3, "batch_size": 10, "shift": 0}
    found = resolution_cells.run_cell(method, 10.0, 0, data, [10.0, 5.0], common)
    assert [t["accuracy"] >= 90 for t in found["tests"]] == [True, True]
    assert found["tests"][0]["spikes_per_neuron"] > 0
    assert found["updates"] == (18 * 27 if method.startswith("fptt") else 18)
    assert json.loads(json.dumps(found)) == found
