"""The comparison of fits with searches keeps equal time, a curve of each, and does nothing twice."""

import json
import sys
from pathlib import Path

import pytest
from fit_cases import recording

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import fit_search  # noqa: E402
from result_lines import Results  # noqa: E402


@pytest.mark.long
def test_a_search_gets_the_time_of_the_fit(tmp_path, capsys):
    recording("lif", duration=1.5, repeats=2, jitter_us=300.0, C=3.2e-10).save(tmp_path / "cell.npz")
    results = Results(tmp_path / "found.jsonl")
    arguments = (tmp_path / "cell.npz", "lif", 1.0, [1], ["scipy-de"], results)
    fit_search.compare(*arguments)
    ours, search = (json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines())
    assert (ours["method"], search["method"]) == ("gradient", "scipy-de")
    assert len(ours["curve"]) == 4
    assert search["curve"][-1][0] == search["runs"] > 20
    assert round(ours["seconds"], 3) <= search["curve"][-1][1] < 1.5 * ours["seconds"]
    for row in (ours, search):
        assert all(a[:2] <= b[:2] for a, b in zip(row["curve"], row["curve"][1:], strict=False))
    losses = [point[2] for point in search["curve"]]
    assert losses == sorted(losses, reverse=True)
    fit_search.compare(*arguments)
    assert len((tmp_path / "found.jsonl").read_text().splitlines()) == 2
    fit_search.show(results)
    assert "scipy-de" in capsys.readouterr().out.splitlines()[-1]
