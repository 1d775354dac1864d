"""Spikes of every kind of run as spike trains, none lost and none moved."""

import numpy as np
import pytest
from brian2 import NeuronGroup, SpikeGeneratorGroup, SpikeMonitor, Synapses, ms, prefs, run

from brian2grad.models import NetworkError
from brian2grad.models.exchange.neo import to_neo
from brian2grad.models.hybrid.samples import SampleSpikes
from brian2grad.models.order.tape import SpikeList

pytest.importorskip("neo", reason="the package neo is not installed")


def found(trains):
    return {(int(t.annotations["neuron"]), round(float(s) * 1e6)) for t in trains for s in t.rescale("s").magnitude}


def test_spikes_of_a_layer_by_steps():
    steps, units = np.array([4, 0, 4, 9]), np.array([2, 0, 0, 2])
    trains = to_neo((steps, units), 4, 2 * ms, duration=20 * ms)
    assert found(trains) == {(2, 8000), (0, 0), (0, 8000), (2, 18000)}
    assert [len(t) for t in trains] == [2, 0, 2, 0]
    assert {float(t.t_stop.rescale("ms")) for t in trains} == {20.0}


def test_spikes_of_an_asynchronous_run_and_of_own_objects():
    order = SpikeList(*np.array([[0, 0, 1], [3, 5, 1], [0, 2, 0], [1, 0, 1]]))
    assert found(to_neo(order, 2, 1 * ms, duration=10 * ms)) == {(1, 3000), (0, 5000)}
    assert found(to_neo(order, 2, 1 * ms, duration=10 * ms, sample=1)) == {(1, 1000)}
    own = SampleSpikes.of([([0, 1], [1e-3, 2e-3]), ([1], [4e-3])])
    assert found(to_neo(own, 2, duration=10 * ms, sample=1)) == {(1, 4000)}


def test_spikes_of_a_monitor():
    target, prefs.codegen.target = prefs.codegen.target, "numpy"
    try:
        source = SpikeGeneratorGroup(2, [0, 1, 1], [1, 2, 5] * ms)
        group = NeuronGroup(2, "v : 1", threshold="v > 0", reset="v = 0")
        synapses = Synapses(source, group, on_pre="v += 1")
        synapses.connect(j="i")
        monitor = SpikeMonitor(group)
        run(8 * ms)
    finally:
        prefs.codegen.target = target
    expected = {(int(i), round(float(t) * 1e6)) for i, t in zip(monitor.i, monitor.t, strict=True)}
    assert len(expected) == 3
    assert found(to_neo(monitor, 2, duration=8 * ms)) == expected


def test_what_lies_outside_is_refused():
    with pytest.raises(NetworkError, match="Spike 1 is of neuron 5"):
        to_neo((np.array([0, 1]), np.array([0, 5])), 2, 1 * ms, duration=5 * ms)
    with pytest.raises(NetworkError, match=r"at 0.009 s; expected .* to 0.005 s"):
        to_neo((np.array([9]), np.array([0])), 2, 1 * ms, duration=5 * ms)
    with pytest.raises(NetworkError, match="pass dt"):
        to_neo((np.array([9]), np.array([0])), 2, duration=5 * ms)
