"""The teacher-forced likelihood: its value by an independent transcription, its gradient by differences."""

import numpy as np
import pytest
from fit_cases import recording

from brian2grad.training.fit.forced.likelihood import SPREAD, Likelihood
from brian2grad.training.fit.neurons.ready import ready_model
from brian2grad.training.fit.target import target_of

BIN = 5e-4


@pytest.fixture(scope="module")
def target():
    return target_of(recording(duration=0.6, repeats=2, jitter_us=700.0))[0]


def by_hand(target, values, times):
    """A LIF neuron that is reset at the recorded spikes, its rate at given times and the margin at the spikes."""
    width = round(BIN / target.dt)
    drive = target.stimulus.reshape(-1, width).mean(1)
    tau, cost = values["C"] / values["g_L"], 0.0
    for train in target.repeats:
        events = sorted(
            [(t, 0) for t in times] + [(t, 1) for t in train] + [(k * BIN, 2) for k in range(1, len(drive))]
        )
        events = sorted(events + [(t + values["t_ref"], 3) for t in train])
        v, t, held, k = values["E_L"], 0.0, False, 0
        for at, what in events:
            rest = values["E_L"] + drive[k] / values["g_L"]
            if not held:
                v = rest + (v - rest) * np.exp(-(at - t) / tau)
            t = at
            x = (v - values["V_th"]) / values[SPREAD]
            if what == 0:
                cost += BIN * 1e3 * np.exp(x)
            elif what == 1:
                cost -= x
                v, held = values["V_r"], True
            elif what == 2:
                k += 1
            else:
                held = False
    return cost


def test_value_by_hand(target):
    likelihood = Likelihood(ready_model("lif", True), target, BIN)
    values = likelihood.start | {"C": 1.7e-10, "delay": 0.0}
    truth = by_hand(target, values, likelihood.times) / likelihood.n_spikes
    assert likelihood(values)[0] == pytest.approx(truth, rel=1e-9)


@pytest.mark.parametrize("name", ["lif", pytest.param("gif", marks=pytest.mark.long)])
def test_gradient_by_differences(target, name):
    likelihood = Likelihood(ready_model(name, True), target, BIN)
    values = likelihood.start | {"delay": 1.03e-4}
    _, found = likelihood(values)
    for parameter in likelihood.coordinates.parameters:
        key = parameter.name
        if key == "t_ref":  # an observation inside the step: the sum over a grid is no integral
            continue
        step = 1e-6 * (parameter.slope(values[key]))
        ends = [likelihood(values | {key: values[key] + s * step})[0] for s in (1, -1)]
        assert found[key] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=2e-5), key


def test_only_the_scored_part_counts(target):
    model = ready_model("lif", True)
    whole, late = Likelihood(model, target, BIN), Likelihood(model, target.part(0.3, 0.6), BIN)
    assert late.n_spikes < whole.n_spikes
    assert late.times.min() > 0.3
