"""The comparison of exact and unlayered gradients does what it says: same starts, cut events, equal spikes."""

import sys
from pathlib import Path

import numpy as np
import pytest
from brian2 import prefs

from brian2grad import EventArchive
from brian2grad.training.evaluation import evaluate_native

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import exact_unlayered as study  # noqa: E402

SMALL = study.SETTINGS | {"duration_ms": 60.0, "training": {"epochs": 1, "batch_size": 4}}
CELL = {"hidden": "6-5", "penalty": 0.01, "seed": 3}


@pytest.fixture
def archive(monkeypatch):
    monkeypatch.setitem(prefs, "codegen.target", "numpy")
    rng = np.random.default_rng(0)
    samples = [(rng.integers(0, 2312, 3000), np.sort(rng.integers(0, 120, 3000))) for _ in range(8)]
    return EventArchive.from_samples(samples, np.arange(8), n_units=2312, time_unit_us=1000, name="blobs")


def test_later_events_are_cut_sample_by_sample(archive):
    short = archive.until(60e-3)
    assert short.times.max() < 60 <= archive.times.max()
    for k in range(8):
        own = slice(archive.offsets[k], archive.offsets[k + 1])
        np.testing.assert_array_equal(
            short.units[short.offsets[k] : short.offsets[k + 1]], archive.units[own][archive.times[own] < 60]
        )


@pytest.mark.long
def test_both_exact_kinds_start_alike_and_only_one_trains_delays(archive):
    with_, without = (
        study.exact(SMALL, CELL | {"kind": kind}, (archive, archive)) for kind in ("exact-delays", "exact")
    )
    delays = [name for name in with_[0].parameters if name.endswith("delay")]
    assert len(delays) == 2
    assert not any(name.endswith("delay") for name in without[0].parameters)
    short = study.spike_task(archive.until(60e-3))
    assert evaluate_native(with_[0], short).spikes.sum() > 0
    np.testing.assert_array_equal(evaluate_native(with_[0], short).spikes, evaluate_native(without[0], short).spikes)


@pytest.mark.parametrize("kind", study.LEVELS)
def test_every_kind_learns_and_reports(archive, kind):
    short = archive.until(60e-3)
    row = study.run_cell(CELL | {"kind": kind}, SMALL, (short, short))
    assert 0 <= row["accuracy"] <= 1
    assert row["spikes_per_hidden_neuron"] >= 0
    assert row["kind"] == kind


def test_accuracies_are_compared_where_spikes_are_equal():
    rows = [
        {"kind": kind, "seed": 0, "spikes_per_hidden_neuron": np.exp(x), "accuracy": 0.1 * x + gain, "penalty": 0.0}
        for kind, gain in (("unlayered", 0.5), ("exact", 0.52))
        for x in ((0.0, 1.0, 2.0) if kind == "exact" else (1.0, 3.0))
    ]
    assert study.at_equal_spikes(rows, "unlayered", "exact").startswith("+2.0 points (2.72 to 7.39")
    assert study.at_equal_spikes(rows, "unlayered", "exact-delays") == "none that both have"


def test_every_kind_and_level_is_a_cell_once():
    found = study.cells(2)
    assert len(found) == 2 * len(study.HIDDEN) * sum(map(len, study.LEVELS.values()))
    assert len({tuple(cell.items()) for cell in found}) == len(found)
