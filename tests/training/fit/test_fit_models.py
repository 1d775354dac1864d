"""Neurons to be fitted: what they refuse, their spikes in Brian 2, the gradient by the times of these."""

import dataclasses

import numpy as np
import pytest
from brian2 import Network, SpikeMonitor, ms, mV, nA, nS, pA, second
from fit_cases import recording

from brian2grad.equations import NeuronModel
from brian2grad.equations.ready import leaky_integrate_and_fire
from brian2grad.training.errors import TrainingError
from brian2grad.training.fit import FITTED, FitResult, parameter
from brian2grad.training.fit.neurons.origin import fitting_model, model_of
from brian2grad.training.fit.neurons.ready import ready_model
from brian2grad.training.fit.running import Running
from brian2grad.training.fit.search import Judge
from brian2grad.training.fit.target import target_of


def result(name, **values):
    model = ready_model(name, True)
    return FitResult(model, model.start | values, {}, None, origin=name)


@pytest.mark.parametrize("name", ["lif", *(pytest.param(n, marks=pytest.mark.long) for n in FITTED if n != "lif")])
def test_brian2_gives_the_same_spikes(name):
    data = recording("lif", duration=0.25, repeats=1)
    fitted = result(name, delay=5e-4)
    exact = np.asarray(fitted.spikes(data))
    group = fitted.group(data, dt=0.01 * ms)
    monitor = SpikeMonitor(group)
    Network(group, monitor).run(data.duration)
    kept = exact[exact < float(data.duration)]
    assert len(monitor.t) == len(kept) > 0
    assert abs(np.asarray(monitor.t) - kept).max() < (2e-3 if name == "qif" else 2e-4)  # it lingers before its spikes


def test_gradient_of_the_smooth_loss_by_differences():
    data = recording("alif", duration=0.5, repeats=2, jitter_us=1500.0)
    model = ready_model("alif", True)
    target = target_of(data)[0]
    judge = Judge(Running(model, target), 4e-3)
    values = model.start | {"g_L": 7.5e-9, "C": 1.4e-10}
    scored, found = judge.gradient(values)
    assert scored.loss == pytest.approx(judge(values).loss, rel=1e-12)
    for p in model.parameters:
        step = 1e-6 * p.slope(values[p.name])
        ends = [judge(values | {p.name: values[p.name] + s * step}) for s in (1, -1)]
        assert len(ends[0].spikes) == len(ends[1].spikes)
        truth = (ends[0].loss - ends[1].loss) / (2 * step)
        assert found[p.name] == pytest.approx(truth, rel=1e-4, abs=1e-6 / p.slope(values[p.name])), p.name


def test_parameters_are_checked():
    assert parameter("tau", 5 * ms, 1 * ms, 10 * ms).log
    assert not parameter("v", -60 * mV, -70 * mV, -50 * mV).log
    with pytest.raises(TrainingError, match="different units"):
        parameter("tau", 5 * ms, 1 * mV, 10 * ms)
    with pytest.raises(TrainingError, match="must lie within"):
        parameter("tau", 50 * ms, 1 * ms, 10 * ms)
    with pytest.raises(TrainingError, match="must be below"):
        parameter("tau", 5 * ms, 5 * ms, 5 * ms)


def test_coordinates_there_and_back():
    for p in (parameter("tau", 5 * ms, 1 * ms, 10 * ms), parameter("v", -60 * mV, -70 * mV, -50 * mV)):
        x = p.to_coordinate(p.start)
        assert p.to_value(x) == pytest.approx(p.start, rel=1e-14)
        assert p.slope(p.start) == pytest.approx((p.to_value(x + 1e-6) - p.to_value(x - 1e-6)) / 2e-6, rel=1e-8)


def test_own_models_and_what_they_lack(tmp_path):
    bounds = {"V_th": (-50 * mV, -65 * mV, -40 * mV), "g_L": (8 * nS, 1 * nS, 50 * nS)}
    model = fitting_model("own", leaky_integrate_and_fire("delta"), bounds, threshold="V_th")
    assert model.start["V_th"] == pytest.approx(-0.05)
    with pytest.raises(TrainingError, match="no constant 'b'; its equations"):
        fitting_model("own", leaky_integrate_and_fire("delta"), bounds | {"b": (1 * pA, 0 * pA, 2 * pA)})
    with pytest.raises(TrainingError, match="no input 'J'"):
        fitting_model("own", leaky_integrate_and_fire("delta"), bounds, input="J")
    with pytest.raises(TrainingError, match="must have bounds"):
        fitting_model("own", leaky_integrate_and_fire("delta"), {}, threshold="V_th")
    with pytest.raises(TrainingError, match=r"start, lowest, highest"):
        fitting_model("own", leaky_integrate_and_fire("delta"), {"C": 3})
    with pytest.raises(TrainingError, match=r"bounds of 'g_L' are in m?V; it is in"):
        fitting_model("own", leaky_integrate_and_fire("delta"), {"g_L": (1 * mV, 0.1 * mV, 3 * mV)})
    for place, said in (("lof", "no neuron to fit"), ("none.py:f", "is not a file")):
        with pytest.raises(TrainingError, match=said):
            model_of(place, True)
    path = tmp_path / "mine.py"
    path.write_text("def short():\n    return {'bounds': {}}\n")
    with pytest.raises(TrainingError, match="'model' is missing"):
        model_of(f"{path}:short", True)


def test_a_drive_without_a_unit_brings_gain_and_offset():
    names = [p.name for p in ready_model("gif", False).parameters]
    assert {"gain", "I_0", "tau_x", "a0"} <= set(names)
    assert "g_L" not in names


def test_an_input_of_another_unit_is_one_line():
    flow = "dv/dt = (I_ext - v)/tau : 1\nI_ext : 1\ntau : second (constant)"
    model = NeuronModel(flow, threshold="v > 1", reset="v = 0", method="exponential_euler")
    target = target_of(recording(duration=0.1, repeats=1))[0]
    tau = {"tau": (20 * ms, 2 * ms, 200 * ms)}
    with pytest.raises(TrainingError, match=r"units do not agree in I_ext = stimulus\(t\).* is a current"):
        Running(fitting_model("own", model, tau), target)
    Running(fitting_model("own", model, tau, drive="stimulus(t)/nA", namespace={"nA": nA}), target)


def test_a_result_shows_its_parameters_with_units():
    fitted = FitResult(ready_model("lif", True), ready_model("lif", True).start, {"C": 2e-12}, None)
    assert "150 +- 2 pF (from 150)" in repr(fitted)
    assert "-50 mV (from -50)" in repr(fitted)


def test_inputs_that_say_nothing_are_refused():
    silent = dataclasses.replace(recording(duration=0.1, repeats=1), input=np.zeros(1000))
    with pytest.raises(TrainingError, match="its current is zero throughout"):
        target_of(silent)
    with pytest.raises(TrainingError, match="its input is constant"):
        target_of(dataclasses.replace(silent, input_unit="volt"))


def without_unit(values):
    return dataclasses.replace(recording(duration=0.1, repeats=1), input=np.asarray(values, float), input_unit="dB")


@pytest.mark.parametrize("logarithm", [False, True])
def test_an_input_without_a_unit_is_scaled_as_that_of_the_fitted_recording(logarithm):
    rng = np.random.default_rng(1)
    first, second = rng.normal(2, 3, 1000), rng.normal(1, 2, 1000)
    seen = np.exp if logarithm else np.asarray
    target, scale = target_of(without_unit(seen(first)))
    np.testing.assert_allclose(target.stimulus, (first - first.mean()) / first.std())
    other, kept = target_of(without_unit(seen(second)), scale)
    np.testing.assert_allclose(other.stimulus, (second - first.mean()) / first.std())
    assert kept == scale
    if logarithm:
        with pytest.raises(TrainingError, match="must be positive, as that of the fitted recording was"):
            target_of(without_unit(second), scale)
    else:  # one that happens to be positive is no other quantity
        positive = np.abs(second) + 1
        np.testing.assert_allclose(
            target_of(without_unit(positive), scale)[0].stimulus, (positive - first.mean()) / first.std()
        )


def test_a_fit_is_asked_about_recordings_of_its_own_kind():
    signed, current = without_unit(np.random.default_rng(1).normal(size=1000)), recording(duration=0.1, repeats=1)
    for scale, other, fitted in ((target_of(signed)[1], current, "no current"), (None, signed, "a current")):
        model = ready_model("lif", scale is None)
        with pytest.raises(TrainingError, match=f"of the fitted recording was {fitted}; give a recording of the same"):
            FitResult(model, model.start, {}, scale).evaluate(other)


def test_scored_from_and_parts():
    data = recording(duration=0.5, repeats=1)
    target = target_of(data)[0].part(0.2, 0.4)
    times = np.array([0.1, 0.2, 0.3999, 0.4])
    assert list(target.scored(times)) == [0.2, 0.3999]
    assert list(target.scored(np.array([target.duration]))) == []
    assert target.scored_duration == pytest.approx(0.2)
    assert float(data.duration / second) == pytest.approx(0.5)


def test_a_part_has_no_spikes_and_no_voltage_of_what_comes_after():
    data = dataclasses.replace(recording(duration=0.5, repeats=2), voltage_mV=np.arange(10_000.0).reshape(2, 5000))
    whole = target_of(data)[0]
    late = [one for one in whole.repeats if one[-1] > 0.2]
    assert len(late) == 2
    part = whole.part(0.05, 0.2)
    assert len(part.stimulus) == 2000
    expected = 1e-3 * np.array([np.arange(2000), 5000 + np.arange(2000)])
    np.testing.assert_allclose(part.voltages, expected, rtol=1e-6)
    for one, all_ in zip(part.repeats, whole.repeats, strict=True):
        np.testing.assert_array_equal(one, all_[all_ < 0.2])


def test_a_model_that_spikes_without_end_is_the_worst_candidate():
    data = recording(duration=0.5, repeats=1)
    model = ready_model("lif", True)
    judge = Judge(Running(model, target_of(data)[0]), 4e-3)
    few, many = (np.arange(0.001, 0.5, 1 / rate) for rate in (190, 230))
    assert 0 < judge.judge(few).loss < 1
    assert judge.judge(few).gamma != 0
    assert (judge.judge(many).loss, judge.judge(many).gamma) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\nraise RuntimeError('no way')", "own.py, line 2: RuntimeError: no way; mend the file."),
        ("def neuron():\n    return 1 / 0", "own.py, line 2: ZeroDivisionError: division by zero; mend the file."),
        ("neuron = 3", "own.py' has no function 'neuron'."),
    ],
)
def test_a_file_of_the_users_that_fails_is_one_line(tmp_path, text, said):
    path = tmp_path / "own.py"
    path.write_text(text)
    with pytest.raises(TrainingError) as caught:
        model_of(f"{path}:neuron", True)
    assert str(caught.value).endswith(said)
