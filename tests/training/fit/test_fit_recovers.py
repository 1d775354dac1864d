"""A fit of generated spikes: finds a neuron that makes them, is repeatable, and goes on where it was stopped."""

import dataclasses
import json
import threading

import numpy as np
import pytest
from brian2 import second
from fit_cases import recording
from threadpoolctl import threadpool_info, threadpool_limits

from brian2grad.training.cli.main import main
from brian2grad.training.errors import TrainingError
from brian2grad.training.fit import Fit, FitOptions, fit
from brian2grad.training.fit.neurons.ready import ready_model
from brian2grad.training.fit.options import STAGES, VOLTAGE
from brian2grad.training.fit.runs import load_fit
from brian2grad.training.fit.search import FAILED, Scored

TRUE = {"C": 3.2e-10, "g_L": 1.1e-8, "V_r": -0.056, "t_ref": 2e-3}
SHORT = {"starts": 1, "iterations": 80, "generations": 3, "population": 16, "steps": 15}
KEYS = {"gamma", "gamma_reliability", "gamma_ratio", "n_spikes", "spikes_recorded", "van_rossum", "seconds"}


@pytest.fixture(scope="module")
def data():
    return recording("lif", duration=3.0, repeats=2, jitter_us=300.0, **TRUE)


@pytest.fixture
def path(data, tmp_path):
    np.savez(
        tmp_path / "cell.npz", dt_us=data.dt_us, input=data.input, input_unit=data.input_unit,
        spike_times_us=data.spike_times_us, offsets=data.offsets,
    )  # fmt: skip
    return tmp_path / "cell.npz"


def call(capsys, *words):
    with pytest.raises(SystemExit) as status:
        main([str(w) for w in words])
    return status.value.code, capsys.readouterr()


def test_a_lif_neuron_is_found_again(data):
    found = fit("lif", data, until=2.2 * second, seed=1, threads=1, **SHORT)
    start = ready_model("lif", True).start
    found_loss = [record["loss"] for record in found.records]
    assert found_loss[-1] <= min(found_loss)
    assert found.evaluate(data)["gamma"] > 0.9
    # what decides about spikes: the time constant, and the current at which the neuron fires
    true = {**start, **TRUE}
    for quantity in (lambda v: v["C"] / v["g_L"], lambda v: v["g_L"] * (v["V_th"] - v["E_L"])):
        assert quantity(found.values) == pytest.approx(quantity(true), rel=0.12)
        assert abs(quantity(start) / quantity(true) - 1) > 0.2
    for e in found.estimates:
        assert e.low <= e.end <= e.high
        assert e.name == "V_th" or 0 < e.error


def test_threads_do_not_change_a_fit(data):
    options = {**SHORT, "starts": 2, "generations": 1, "steps": 2, "iterations": 4}
    one, two = (fit("lif", data, seed=3, threads=n, **options).values for n in (1, 2))
    assert one == two
    assert one != fit("lif", data, seed=4, threads=1, **options).values


def test_a_stage_has_one_thread_of_blas(data, monkeypatch):
    """A search follows the last bits of its sums, which depend on how many threads add them."""
    running, seen = Fit(ready_model("lif", True), data, options=FitOptions(starts=1)), []

    def stage(self):
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return {"gradients": 0, "runs": 0}

    running.state.values = [running.model.start]
    monkeypatch.setattr(Fit, "_likelihood", stage)
    with threadpool_limits(2, "blas"):
        running.advance()
    assert seen
    assert set(seen) == {1}


def test_a_fit_that_runs_from_nowhere_is_an_error(data, monkeypatch):
    running = Fit(ready_model("lif", True), data, options=FitOptions(starts=1))
    running.state.values = [running.model.start] * 2
    monkeypatch.setattr(Fit, "_likelihood", lambda self: {"gradients": 0, "runs": 0})
    running.judges = [lambda values: Scored(FAILED, 0.0, np.zeros(0))]
    with pytest.raises(TrainingError, match="'lif' cannot be run from any start; move its start values or bounds"):
        running.advance()
    assert not running.state.records


def test_the_error_of_timing_is_that_of_spikes_near_recorded_ones(data):
    running = Fit(ready_model("lif", True), data, options=FitOptions(starts=1))
    rng = np.random.default_rng(0)
    spikes = np.sort(rng.uniform(0, 3, 400))
    gaps = [min(abs(one - t)) for one in running.target.scored_repeats for t in spikes]
    near = [gap for gap in gaps if gap < 5e-3]
    assert 10 < len(near) < len(gaps)
    assert running._timing_error(spikes) == pytest.approx(np.sqrt(np.mean(np.square(near))))
    assert running._timing_error(np.zeros(0)) == 5e-3


def test_an_interrupt_calls_off_the_other_threads(data, monkeypatch):
    running = Fit(ready_model("lif", True), data, threads=2, options=FitOptions(starts=2, iterations=10**6))
    both = threading.Barrier(2)

    def interrupted(cost, *arguments):
        if both.wait(10) == 0:
            raise KeyboardInterrupt
        while True:  # the other thread: endless, if nobody calls it off
            cost(cost.start)

    monkeypatch.setattr("brian2grad.training.fit.fitting.minimise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        running.advance()


def test_what_cannot_be_fitted_is_said(data):
    with pytest.raises(TrainingError, match="scored from"):
        fit("lif", data, until=9 * second)
    with pytest.raises(TrainingError, match="no neuron to fit"):
        fit("lof", data)
    with pytest.raises(TrainingError, match="population = 3"):
        FitOptions(population=3)
    with pytest.raises(TrainingError, match="method = 'BFGS'; there are SLSQP and L-BFGS-B"):
        FitOptions(method="BFGS")
    with pytest.raises(TrainingError, match="no spikes where it is scored"):
        Fit(ready_model("lif", True), recording(duration=0.005, repeats=1))


def test_command_line_resumes_bit_for_bit(path, tmp_path, capsys, monkeypatch):
    words = ["fit", "lif", "--data", path, "--starts", 1, "--generations", 1, "--steps", 3, "--until", "2s", "--quiet"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert call(capsys, *words, "--out", whole)[0] == 0
    advance, done = Fit.advance, []

    def interrupted(self):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(1)
        return advance(self)

    monkeypatch.setattr(Fit, "advance", interrupted)
    assert call(capsys, *words, "--out", stopped)[0] == 130
    monkeypatch.setattr(Fit, "advance", advance)
    assert call(capsys, "fit", "--resume", stopped, "--quiet")[0] == 0
    assert load_fit(stopped).values == load_fit(whole).values
    records = [json.loads(line) for line in (stopped / "metrics.jsonl").read_text().splitlines()]
    assert [r["stage"] for r in records] == list(STAGES)
    summary = json.loads((stopped / "summary.json").read_text())
    assert {p["name"] for p in summary["parameters"]} == {"C", "g_L", "V_r", "t_ref", "V_th", "delay"}
    assert {"name", "unit", "start", "end", "low", "high", "error"} == set(summary["parameters"][0])

    status, shown = call(capsys, "evaluate", whole, "--data", path, "--json")
    assert status == 0
    answer = json.loads(shown.out)
    assert set(answer) >= KEYS
    assert answer["gamma"] > 0.5
    assert answer["gamma_ratio"] == pytest.approx(answer["gamma"] / answer["gamma_reliability"])
    for words, said in (
        (["evaluate", whole, "--limit", 3], "--limit has no effect on a fit"),
        (["evaluate", whole, "--confusion"], "--confusion has no effect on a fit"),
        (["evaluate", whole, "--stop", 5], "--stop has no effect on a fit"),
        (["evaluate", whole, "--predictions", tmp_path / "p.npz"], "--predictions has no effect on a fit"),
        (["simulate", whole], "is a fit of one neuron"),
        (["fit", "--resume", whole, "--seed", 3], "--seed has no effect with --resume"),
    ):
        status, shown = call(capsys, *words)
        assert status == 2
        assert said in shown.err
    for name, text, said in (
        ("config.toml", "[run]\nmodel = 'fit'\nseed = 1\n", "config.toml: run.neuron is missing"),
        ("config.toml", (whole / "config.toml").read_text() + "what = 3\n", "config.toml: fit.what is unknown"),
        ("weights.h5", "damaged", "weights.h5"),
    ):
        kept = (whole / name).read_bytes()
        (whole / name).write_text(text)
        status, shown = call(capsys, "fit", "--resume", whole)
        assert (status, len(shown.err.strip().splitlines())) == (2, 1)
        assert said in shown.err
        (whole / name).write_bytes(kept)
    status, shown = call(capsys, "fit", "lif", "--data", path, "--out", whole)
    assert status == 2
    assert "holds a run already" in shown.err


@pytest.mark.long
def test_the_scale_of_an_input_without_a_unit_is_kept_with_the_run(data, tmp_path, capsys):
    path, out = tmp_path / "cell.npz", tmp_path / "run"
    np.savez(
        path, dt_us=data.dt_us, input=data.input - 0.2, input_unit="dB",
        spike_times_us=data.spike_times_us, offsets=data.offsets,
    )  # fmt: skip
    words = ["--starts", 1, "--generations", 0, "--steps", 0, "--until", "0.5s", "--quiet"]
    assert call(capsys, "fit", "lif", "--data", path, "--out", out, *words)[0] == 0
    found = load_fit(out)
    assert found.scale.logarithm is False  # the input has both signs
    assert found.scale.mean == pytest.approx(data.input.mean() - 0.2)
    status, shown = call(capsys, "evaluate", out, "--data", path, "--json")
    assert status == 0
    assert set(json.loads(shown.out)) >= KEYS


def test_a_fit_may_begin_with_the_voltage(data):
    v = np.zeros((len(data), len(data.input)))
    seen = dataclasses.replace(data, voltage_mV=v - 65)
    found = fit(
        "lif", seen, seed=3, threads=1, **SHORT | {"voltage": True, "iterations": 2, "generations": 0, "steps": 0}
    )
    assert [r["stage"] for r in found.records] == [VOLTAGE, *STAGES]
    assert found.records[0]["voltage_mV"] > 0
    model = ready_model("lif", True)
    assert Fit(model, seen).options.voltage
    assert not Fit(model, data).options.voltage
    with pytest.raises(TrainingError, match="leave --voltage out"):
        fit("lif", data, voltage=True)


def test_command_line_fits_a_model_of_ones_own(path, tmp_path, capsys):
    model = tmp_path / "mine.py"
    model.write_text(
        "from brian2 import *\n"
        "from brian2grad.equations.ready import leaky_integrate_and_fire\n\n"
        "def mine():\n"
        "    return dict(model=leaky_integrate_and_fire('delta', C=220*pF, V_r=-56*mV), threshold='V_th',\n"
        "                bounds=dict(V_th=(-50*mV, -65*mV, -40*mV), g_L=(8*nS, 1*nS, 50*nS)))\n"
    )
    words = ["--starts", 1, "--generations", 0, "--steps", 0, "--quiet", "--out", tmp_path / "run"]
    assert call(capsys, "fit", f"{model}:mine", "--data", path, *words)[0] == 0
    status, shown = call(capsys, "evaluate", tmp_path / "run", "--json")
    assert status == 0
    assert json.loads(shown.out)["gamma"] > 0.5
    status, shown = call(capsys, "fit", "lif", "--data", tmp_path / "none.npz")
    assert status == 2
    assert "no such file" in shown.err
