"""The GIF neuron with chains of buckets: beside the plain one, and beside closed forms."""

import numpy as np
import pytest
from brian2 import Network, NeuronGroup, SpikeMonitor, StateMonitor, defaultclock, ms, mV, nS, pA, pF

from brian2grad.equations import ModelError
from brian2grad.equations.ready import filtered_gif, gif


def spike_times(neuron, current, duration):
    group = NeuronGroup(1, neuron, **neuron.arguments)
    neuron.assign(group)
    group.I_ext = current
    spikes = SpikeMonitor(group)
    Network(group, spikes).run(duration)
    return np.asarray(spikes.t)


def test_filtered_gif_is_the_gif_with_one_bucket_each():
    """Chains of one bucket are exponential kernels: the same spikes as `gif`, and a chain of two by hand."""
    shared = {"C": 150 * pF, "g_L": 9 * nS}
    plain = gif(1, 1, "delta", tau_eta0=20 * ms, b0=50 * pA, tau_gamma0=15 * ms, c0=4 * mV, **shared)
    chain = filtered_gif(1, 1, synapse="delta", tau_eta=20 * ms, b0=50 * pA, tau_gamma=15 * ms, c0=4 * mV, **shared)
    times = [spike_times(model, 350 * pA, 200 * ms) for model in (plain, chain)]
    assert len(times[0]) > 3
    np.testing.assert_allclose(*times, atol=1e-9)
    with pytest.raises(ModelError, match="must not be negative"):
        filtered_gif(-1)


def test_filtered_gif_passes_its_input_through_buckets():
    chain = filtered_gif(0, 0, 2, synapse="delta", a=0, a1=1, tau_x=5 * ms, V_th=1000 * mV)
    defaultclock.dt = 0.02 * ms
    group = NeuronGroup(1, chain, **chain.arguments)
    chain.assign(group)
    group.I_ext = 100 * pA
    trace = StateMonitor(group, "x1", record=True)
    Network(group, trace).run(20 * ms)
    t = np.asarray(trace.t / ms) / 5  # the step response of a gamma kernel of order two
    np.testing.assert_allclose(trace.x1[0] / pA, 100 * (1 - np.exp(-t) * (1 + t)), atol=0.3)


def test_slow_threshold_makes_later_intervals_longer():
    model = filtered_gif(0, 0, slow=True, synapse="delta", c_slow=1 * mV, tau_slow=300 * ms)
    intervals = np.diff(spike_times(model, 400 * pA, 300 * ms))
    assert (np.diff(intervals) > -2e-4).all()
    assert intervals[-1] > 1.2 * intervals[0]
