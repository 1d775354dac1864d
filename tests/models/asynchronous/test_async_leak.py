"""Membranes that wait: a timestep costs what it touches, so the leak of silent ones is made up for later."""

import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import AsynchronousNetwork, StepEvents
from brian2grad.models.asynchronous.connectivity import layered
from brian2grad.models.order.stopping import Stop


@pytest.mark.parametrize("each", [False, True], ids=["one-leak", "leak-per-neuron"])
@pytest.mark.parametrize("idle", [0, 1, 14, 15, 16, 17, 40, 511, 512, 600])
def test_leak_over_a_long_silence(idle, each):
    """A membrane of 0.9 decays through every silent timestep, and one more lets a second input decide."""
    tau = np.linspace(50, 90, 3) if each else 70.0
    decay = np.exp(-1 / np.broadcast_to(tau, 3)) ** (idle + 1)
    net = layered([1, 3], [np.full((1, 3), 0.9)])
    for margin in (-1e-9, 1e-9):  # just below and just above what is left and comes
        network = AsynchronousNetwork(
            net,
            tau_m=tau * ms,
            V_th=0.9 + 0.9 * decay - margin,
            dt=1 * ms,
            dtype="float64",
            refractory=False,
            threads=1,
        )
        frames = np.zeros((1, idle + 2, 1))
        frames[0, [0, -1]] = 1
        run = network.run(StepEvents.from_dense(frames, 1e-3), state=np.zeros((1, 3)), record=True)
        assert run.counts[0, -1].tolist() == [int(margin > 0)] * 3
        assert run.counts[0, :-1].sum() == 0
    frames[0, -1] = 0
    silent = network.run(StepEvents.from_dense(frames, 1e-3), state=np.zeros((1, 3)))
    np.testing.assert_allclose(silent.state[0], 0.9 * decay, rtol=1e-12)


@pytest.mark.parametrize("each", [False, True], ids=["one-leak", "leak-per-neuron"])
def test_short_silences_are_those_of_a_dense_simulation_bit_for_bit(each):
    tau = np.linspace(5, 9, 5) if each else 7.0
    network = AsynchronousNetwork(
        layered([1, 5], [np.linspace(0.1, 0.9, 5)[None]]),
        tau_m=tau * ms,
        V_th=1.0,
        dt=1 * ms,
        dtype="float32",
        threads=1,
    )
    v, leak = network.weights[0][0].astype(np.float32), network.leak().astype(np.float32)
    for idle in range(1, 17):
        v = v * leak
        frames = np.zeros((1, idle + 1, 1))
        frames[0, 0] = 1
        state = network.run(StepEvents.from_dense(frames, 1e-3), state=np.zeros((1, 5), np.float32)).state
        np.testing.assert_array_equal(state[0], v, err_msg=f"{idle} silent timesteps")


def test_a_sample_that_stops_leaves_the_membranes_of_its_last_timestep():
    rng = np.random.default_rng(0)
    network = AsynchronousNetwork([6, 9, 4], V_th=0.6, dt=1 * ms, dtype="float64", seed=3, threads=2)
    events, start = StepEvents.from_dense(rng.integers(0, 2, (5, 8, 6)), 1e-3), rng.normal(0, 0.1, (5, 13))
    stop = Stop("after_output", 1, scope="sample")
    whole = network.run(events, state=start, stop=stop)
    stopped = whole.counters["stopped"]
    ends = np.where(stopped.any(axis=1), stopped.argmax(axis=1), 7)
    assert len(set(ends)) > 2
    for sample, end in enumerate(ends):
        part = events.take([sample]).steps(0, int(end) + 1)
        run = network.run(part, state=start[[sample]], stop=stop, sample_ids=[sample])
        np.testing.assert_array_equal(whole.state[sample], run.state[0])
        assert np.any(whole.state[sample])
