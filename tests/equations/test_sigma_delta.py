"""The sigma-delta spike code: precision, rates, dead zone, adaptive threshold."""

import numpy as np
import pytest
from brian2 import Network, NeuronGroup, SpikeMonitor, StateMonitor, Synapses, TimedArray, defaultclock, ms

from brian2grad.equations import spiking_gamma

TAU, THETA = 30 * ms, 0.3


def encode(signal, dt, **options):
    """Code signals (n_steps, n) with neurons whose y is the signal: spikes, and y, yhat, jump after every step."""
    neuron = spiking_gamma(1, TAU, THETA, bias=False, **options)
    defaultclock.dt = dt
    group = NeuronGroup(signal.shape[1], neuron, **neuron.arguments)
    group.v0 = 1
    given = TimedArray(signal, dt=dt)
    group.run_regularly("z0 = given(t, i)", when="after_groups")
    spikes = SpikeMonitor(group, variables=["jump", "theta"])
    traces = StateMonitor(group, ["y", "yhat", "theta"], record=True, when="end")
    network = Network(group, spikes, traces, group.contained_objects)
    network.run(len(signal) * dt, namespace={"given": given})
    return spikes, traces


def slow_signals(duration, dt, n=4):
    t = (np.arange(round(duration / dt)) + 0.5) * float(dt)
    return 1.5 + np.sin(2 * np.pi * t[:, None] * (0.8 + 0.3 * np.arange(n)))


def reference_code(signal, dt, adaptation=0.0, tau_theta=15e-3):
    """Sigma-delta code as a loop over steps: spikes, estimates, thresholds and what each spike carries."""
    n_steps, n = signal.shape
    yhat, dynamic = np.zeros(n), np.zeros(n)
    spikes, estimates, thresholds, jumps = [], [], [], []
    for t in range(n_steps):
        yhat, dynamic = yhat * np.exp(-dt / float(TAU)), dynamic * np.exp(-dt / tau_theta)
        theta = THETA + dynamic
        fired = np.maximum(signal[t], 0) - yhat > theta
        jumps += [*(2 * theta[fired])]
        spikes += [(t, i) for i in np.flatnonzero(fired)]
        yhat = yhat + fired * 2 * theta
        dynamic = dynamic + fired * adaptation * theta
        estimates.append(yhat)
        thresholds.append(THETA + dynamic)
    return spikes, np.array(estimates), np.array(thresholds), np.array(jumps)


def steps_of(spikes, dt):
    return [(int(round(t / float(dt))), int(i)) for t, i in zip(np.asarray(spikes.t), spikes.i, strict=True)]


@pytest.mark.parametrize("memory", ["paper", "continuous"])
@pytest.mark.parametrize("adaptation", [0.0, 0.2])
def test_code_equals_the_direct_recursion(memory, adaptation):
    signal = slow_signals(400 * ms, 1 * ms)
    options = {"adaptation": adaptation, "tau_theta": 25 * ms} if adaptation else {}
    spikes, traces = encode(signal, 1 * ms, memory=memory, **options)
    wanted, estimates, thresholds, jumps = reference_code(signal, 1e-3, adaptation, 25e-3)
    assert len(wanted) > 100
    assert steps_of(spikes, 1 * ms) == wanted
    np.testing.assert_allclose(traces.yhat.T, estimates, rtol=1e-12)
    np.testing.assert_allclose(traces.theta.T, thresholds, rtol=1e-12)
    np.testing.assert_allclose(np.asarray(spikes.jump), jumps, rtol=1e-12)  # a spike carries 2 theta(t)
    np.testing.assert_allclose(np.asarray(spikes.jump), 2 * np.asarray(spikes.theta), rtol=0)


def test_estimate_follows_a_slow_signal_within_theta():
    signal = slow_signals(600 * ms, 0.2 * ms)
    _, traces = encode(signal, 0.2 * ms)
    error = (traces.y - traces.yhat)[:, 500:]
    drift = 2 * float(0.2 / 30) * signal.max()  # what y - yhat moves by in the step in which theta is crossed
    assert np.abs(error).max() <= THETA + drift
    assert np.abs(error).max() > 0.9 * THETA  # the whole range is used: it is a code, not a copy


def test_constant_signals_are_coded_at_the_predicted_rate():
    y, dt, duration = np.linspace(0.5, 3, 14), 0.1 * ms, 600 * ms
    n_steps = round(duration / dt)
    spikes, traces = encode(np.tile(y, (n_steps, 1)), dt)
    period = float(TAU) * np.log((y + THETA) / (y - THETA))
    for i, T in enumerate(period):
        intervals = np.diff(np.asarray(spikes.t)[np.asarray(spikes.i) == i])[10:]  # behind the rise from zero
        assert intervals.mean() == pytest.approx(T, abs=1.01 * float(dt))
        settled = np.asarray(traces.yhat)[i, n_steps // 2 :]
        assert settled.mean() == pytest.approx(2 * THETA * float(TAU) / T, rel=0.05)


def test_dead_zone_and_rectifier():
    y = np.array([-5.0, 0.0, 0.1, THETA, THETA + 0.01])
    spikes, traces = encode(np.tile(y, (300, 1)), 1 * ms)
    assert np.bincount(spikes.i, minlength=5).tolist()[:4] == [0, 0, 0, 0]
    assert (np.asarray(spikes.i) == 4).any()
    assert (np.asarray(traces.y)[0] == 0).all()


def test_number_of_spikes_hardly_depends_on_dt():
    counts = [encode(slow_signals(500 * ms, dt, n=8), dt)[0].num_spikes for dt in (2 * ms, 0.5 * ms, 0.2 * ms)]
    assert min(counts) > 200
    assert max(counts) < 1.06 * min(counts)


def test_adaptation_saves_spikes():
    signal = slow_signals(500 * ms, 0.5 * ms)
    fixed, adaptive = (encode(signal, 0.5 * ms, adaptation=m)[0].num_spikes for m in (0.0, 0.3))
    assert adaptive < 0.8 * fixed


@pytest.mark.parametrize("adaptation", [0.0, 0.2])
def test_receiver_rebuilds_the_estimate(adaptation):
    """Bucket 0 of the target is the weighted estimate of the sender, one step later in Brian 2's own schedule."""
    dt = 1 * ms
    sender = spiking_gamma(1, TAU, THETA, bias=False, adaptation=adaptation)
    receiver = spiking_gamma(3, TAU, readout=True)
    defaultclock.dt = dt
    signal = slow_signals(300 * ms, dt, n=1)
    pre = NeuronGroup(1, sender, **sender.arguments, name="sender")
    post = NeuronGroup(1, receiver, **receiver.arguments, name="receiver")
    pre.v0 = 1
    pre.run_regularly("z0 = given(t, i)", when="after_groups")
    synapses = Synapses(pre, post, "w : 1", on_pre=receiver.on_pre)
    synapses.connect()
    synapses.w = -0.7
    traces = [StateMonitor(pre, "yhat", record=True, when="end"), StateMonitor(post, "z0", record=True, when="end")]
    network = Network(pre, post, synapses, *traces, pre.contained_objects)
    network.run(300 * ms, namespace={"given": TimedArray(signal, dt=dt)})
    assert traces[0].yhat.max() > 1
    np.testing.assert_allclose(traces[1].z0, -0.7 * traces[0].yhat, rtol=1e-12, atol=1e-15)
