"""Membranes that wait: a timestep costs what it touches, so the leak of silent ones is made up for later."""

import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import AsynchronousNetwork, StepEvents
from brian2grad.models.asynchronous.connectivity import layered


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
