"""Deeper-bucket eligibility is the exact gradient where it should be, and the study's own parts do what they say."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import rules  # noqa: E402
import rules_report  # noqa: E402
from deeper_buckets import deeper_gradient, kept_numbers  # noqa: E402
from result_lines import Results  # noqa: E402


def network(task, depth, **options):
    make, n_in, n_out = rules.TASKS[task]
    batch = make(2, 0)
    made = rules.new_network(rules.SETTINGS | {"hidden": 7}, n_in, depth, n_out, 0, dtype="float64", **options)
    made.calibrate(batch.events)
    return made, batch


@pytest.mark.parametrize("task", ["gaps", "delay"])
def test_without_rectifier_deeper_buckets_are_the_filter_gradient(task):
    net, batch = network(task, 3, signed=True, bias=False)
    found = deeper_gradient(net, batch.events, gate="open", **batch.goal)
    for name, exact in net.gradient(batch.events, **batch.goal).gradients.items():
        np.testing.assert_allclose(found[name], exact, rtol=0, atol=1e-12 * np.abs(exact).max(), err_msg=name)


@pytest.mark.parametrize("gate", ["D1", "D2"])
def test_readout_gradient_is_exact_and_gates_only_matter_below(gate):
    net, batch = network("gaps", 1)
    exact = net.gradient(batch.events, **batch.goal).gradients
    found = deeper_gradient(net, batch.events, gate=gate, **batch.goal)
    assert found.keys() == exact.keys()
    for name in ("layer2.w", "layer2.v", "layer2.b"):
        np.testing.assert_allclose(found[name], exact[name], rtol=0, atol=1e-12 * np.abs(exact[name]).max())
    assert 0.1 < rules.cosine(found["layer1.w"], exact["layer1.w"]) < 0.9999


def test_two_gaps_ask_after_the_second_spike():
    batch = rules.two_gaps(3, 5)
    for sample, labels in enumerate(batch.goal["labels"]):
        dense = batch.events.dense(sample)
        for trial in range(4):
            part = slice(60 * trial, 60 * trial + 60)
            first, second = (int(np.flatnonzero(dense[part, unit])[0]) for unit in (0, 1))
            answer = {10: 0, 20: 1}[second - first]
            assert set(labels[part][second:]) == {answer}
            assert set(labels[part][:second]) == {-1}


def test_delayed_answer_ignores_the_second_unit():
    batch = rules.delayed_answer(2, 3)
    dense, target = batch.events.dense(0), batch.goal["targets"][0, :, 0]
    assert dense.any(axis=0).all()
    peaks = np.flatnonzero(dense[:, 0]) + 45
    assert target[peaks[peaks < len(target)]].min() > 0.99


def test_frozen_trains_the_readout_only():
    net, batch = network("gaps", 2)
    assert {name.split(".")[0] for name in rules.gradient(net, batch, "frozen")} == {"layer3"}


def test_kept_numbers():
    """Two hidden layers, K = 3: inputs need 2*3 + 1 buckets, the hidden layers 5 and 3."""
    assert kept_numbers([10, 4, 5, 2], 3) == 10 * 7 + 4 * 5 + 5 * 3


@pytest.mark.long
def test_study_resumes_and_reports(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rules, "SETTINGS", rules.SETTINGS | {"updates": 2, "hidden": 4})
    monkeypatch.setattr(rules, "DEPTHS", (1,))
    monkeypatch.setattr(rules, "grid", lambda arguments: cells)
    cells = [{"kind": "cosine", "task": "gaps", "depth": 1, "seed": 0}]
    cells += [{"kind": "loss", "task": "gaps", "depth": 1, "rule": r, "seed": 0} for r in ("filter", "online/16")]
    arguments = argparse.Namespace(seeds=1, minutes=None, data_root=None)
    results = Results(tmp_path / "rules.jsonl")
    rules.simulate(arguments, results)
    before = results.path.read_bytes()
    rules.simulate(arguments, Results(results.path))
    assert results.path.read_bytes() == before
    assert [row["kind"] for row in results.rows] == ["settings", "cosine", "loss", "loss"]
    assert "online/16" in rules_report.table(results.rows)
    rules_report.plot(results.rows).savefig(tmp_path / "rules.png")
    monkeypatch.setattr(rules, "BATCH", 3)
    with pytest.raises(SystemExit, match="other settings"):
        rules.simulate(arguments, results)
