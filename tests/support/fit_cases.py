"""Recordings of neurons that are known: their own spikes, for a current like a cell's, in repeats with some jitter."""

import numpy as np

from brian2grad.training.data import RecordingArchive
from brian2grad.training.fit.neurons.ready import ready_model
from brian2grad.training.fit.running import Running
from brian2grad.training.fit.target import target_of


def current(duration, seed=1, dt_us=100.0):
    """Noise with a correlation time of 3 ms, nA."""
    rng, n = np.random.default_rng(seed), round(duration * 1e6 / dt_us)
    decay = np.exp(-dt_us / 3000)
    noise, x = rng.normal(0, np.sqrt(1 - decay**2), n), np.zeros(n)
    for k in range(1, n):
        x[k] = decay * x[k - 1] + noise[k]
    return 0.2 + 0.17 * x


def recording(name="lif", duration=2.0, repeats=2, jitter_us=0.0, seed=1, **values):
    """Archive of a ready neuron's spikes."""
    model = ready_model(name, True)
    x = current(duration, seed)
    empty = RecordingArchive(100.0, x, "nA", np.zeros(0), np.zeros(2, int))
    target = target_of(empty)[0]
    times = Running(model, target).spikes(model.start | values) * 1e6
    rng = np.random.default_rng(seed + 1)
    trains = [np.sort(np.round(times + rng.normal(0, jitter_us, len(times)) * (jitter_us > 0))) for _ in range(repeats)]
    trains = [t[(t > 0) & (t < duration * 1e6)] for t in trains]
    offsets = np.cumsum([0, *(len(t) for t in trains)])
    return RecordingArchive(100.0, x, "nA", np.concatenate(trains), offsets, name="generated")
