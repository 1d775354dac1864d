"""The teacher-forced voltage: its value against Brian 2, its gradient by differences, what it finds again."""

import dataclasses

import numpy as np
import pytest
from brian2 import Network, SpikeMonitor, StateMonitor, ms, second
from fit_cases import recording

from brian2grad.training.errors import TrainingError
from brian2grad.training.fit import fit
from brian2grad.training.fit.forced.voltage import OFFSET, SERIES, VoltageDistance, beside
from brian2grad.training.fit.neurons.ready import ready_model
from brian2grad.training.fit.options import METHODS
from brian2grad.training.fit.search import minimise
from brian2grad.training.fit.target import target_of

TRUE = {"C": 2.2e-10, "g_L": 1.1e-8, "V_th": -0.047}
ELECTRODE = 12e6, 4e-3  # ohm, volt


def seen_in_brian(duration=0.6):
    """A neuron with its voltage in Brian 2, seen through an electrode."""
    model, data = ready_model("lif", True), recording("lif", duration=duration, repeats=1, **TRUE)
    group = model.group(target_of(data)[0].array(), model.start | TRUE, dt=0.02 * ms)[0]
    seen, spikes = StateMonitor(group, "v", record=0, dt=0.1 * ms, when="end"), SpikeMonitor(group)
    Network(group, seen, spikes).run(duration * second)
    v = np.asarray(seen.v)[:1] + ELECTRODE[0] * data.input * 1e-9 + ELECTRODE[1]
    times = np.asarray(spikes.t) * 1e6
    return dataclasses.replace(data, voltage_mV=v * 1e3, spike_times_us=times, offsets=np.array([0, len(times)]))


@pytest.fixture(scope="module")
def target():
    return target_of(seen_in_brian())[0]


def test_the_true_neuron_and_electrode_are_at_no_distance(target):
    distance = VoltageDistance(ready_model("lif", True), target, 1e-4)
    true = distance.start | TRUE | {SERIES: ELECTRODE[0], OFFSET: ELECTRODE[1]}
    assert distance(true)[0] < 0.05  # mV squared; a step of Brian 2 is no instant
    assert distance(distance.start)[0] > 5


def test_gradient_by_differences(target):
    distance = VoltageDistance(ready_model("lif", True), target)
    values = distance.start | {"C": 1.7e-10}
    found = distance(values)[1]
    assert set(found) == {"C", "g_L", "V_r", OFFSET, SERIES}
    for p in distance.coordinates.parameters:
        step = 1e-5 * p.slope(values[p.name])
        ends = [distance(values | {p.name: values[p.name] + s * step})[0] for s in (1, -1)]
        assert found[p.name] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5), p.name


@pytest.mark.parametrize("method", METHODS)
def test_the_membrane_is_found_again(target, method):
    distance = VoltageDistance(ready_model("lif", True), target, 2e-4)
    values, left = minimise(distance, distance.start, 60, method)
    assert left < 0.05
    assert values["C"] == pytest.approx(TRUE["C"], rel=0.03)
    assert values["g_L"] == pytest.approx(TRUE["g_L"], rel=0.03)
    assert values[SERIES] == pytest.approx(ELECTRODE[0], rel=0.03)


@pytest.mark.long
def test_with_a_voltage_a_fit_finds_volts_and_farads():
    """Spikes alone say neither: they would be the same for twice the capacitance, conductance and current."""
    found = fit("lif", seen_in_brian(1.5), starts=1, generations=0, steps=0, threads=1)
    for name, true in TRUE.items():
        assert found.values[name] == pytest.approx(true, rel=0.03), name
    assert found.values[OFFSET] == pytest.approx(ELECTRODE[1], abs=1e-3)


def test_what_has_no_voltage_is_said(target):
    with pytest.raises(TrainingError, match="leave --voltage out"):
        VoltageDistance(ready_model("lif", True), dataclasses.replace(target, voltages=None))


def test_instants_beside_spikes_are_left_out():
    times, train = np.array([0.0075, 0.0085, 0.0125, 0.0165, 0.03]), np.array([0.01])
    assert list(beside(times, train)) == [0.0075, 0.0165, 0.03]
    assert list(beside(times, np.zeros(0))) == list(times)
