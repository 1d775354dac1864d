"""The compiled engine does, spike for spike and in the same order, what Brian 2 does with the same equations."""

import itertools

import numpy as np
import pytest

from brian2grad.models import AsynchronousSpikingGamma, NetworkError
from brian2grad.models.order.schedulers import FifoScheduler, LayerSynchronous, MomentumScheduler, RandomScheduler

CASES = [
    pytest.param({"scheduler": RandomScheduler(keyed=True), "forward_group": 1}, {}, id="RS", marks=pytest.mark.long),
    pytest.param(
        {"scheduler": MomentumScheduler(), "forward_group": 2, "once_per_timestep": False}, {"signed": True}, id="MS"
    ),
    pytest.param(
        {"scheduler": FifoScheduler(), "forward_group": 3, "idle": "start", "prioritised": False},
        {"buckets": "synapse", "memory": "continuous", "adaptation": 0.2},
        id="FIFO",
        marks=pytest.mark.long,
    ),
]


@pytest.mark.parametrize(("order", "form"), CASES)
def test_same_spikes_in_the_same_order(order, form, random_network, random_events):
    events = random_events(n_samples=2, n_steps=12)
    network = AsynchronousSpikingGamma.of(random_network((6, 5, 6, 3), gain=3.0, **form), **order)
    brian, native = network.brian2(events), network.run(events)
    spikes = [
        list(zip(o.sample.tolist(), o.timestep.tolist(), o.step.tolist(), o.neuron.tolist(), strict=True))
        for o in (brian.order, native.order)
    ]
    assert len(spikes[0]) > 60
    assert spikes[0] == spikes[1]
    np.testing.assert_array_equal(brian.forward_steps, native.counters["forward_steps"])
    np.testing.assert_array_equal(brian.spike_counts, native.spikes)
    np.testing.assert_allclose(brian.readout, network.forward(events).readout, rtol=1e-11, atol=1e-12)


def test_layer_order_is_the_layered_brian_network(random_network, random_events):
    events = random_events(n_samples=2, n_steps=12)
    network = AsynchronousSpikingGamma.of(random_network((6, 5, 6, 3), gain=3.0), scheduler=LayerSynchronous())
    run, native = network.brian2(events), network.forward(events, record=True)
    for ours, theirs in zip(itertools.chain(*run.spikes), itertools.chain(*native.recorded), strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])
    network.scheduler = RandomScheduler()
    with pytest.raises(NetworkError, match="need layers one after the other"):
        network.brian2(events, record=True)
    with pytest.raises(NetworkError, match="no events but spikes"):
        network.brian2(events, device="genn")
