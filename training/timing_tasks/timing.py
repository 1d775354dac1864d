"""What the timing tasks share beside their generators: an update, reading spikes, delay lines to start from."""

from __future__ import annotations

import numpy as np

from ...models.events import StepEvents
from ..errors import TrainingError
from .synthetic import TimedBatch


def decode_spikes(network, gain: float = 1.0) -> str:
    """Make the readout a plain receiver of the last hidden layer: output j is `gain` times neuron j's decoded signal.

    The last hidden layer is then the output layer, and what it says are its spikes. One more output than neurons
    stands for "no answer": it is constant, half of what one spike does to the others. Returns the name of the readout:
    give it to `learn` as a layer that stays as it is.
    """
    n, n_out = network.sizes[-2:]
    if len(network.sizes) < 3 or n_out not in (n, n + 1):
        raise TrainingError(f"Layers of {network.sizes}: the readout needs as many outputs as neurons, or one more.")
    name = f"layer{len(network.sizes) - 1}"
    readout = {kind: network.parameters.get(f"{name}.{kind}") for kind in ("w", "v", "b")}
    for value in readout.values():
        if value is not None:
            value[:] = 0
    w = readout["w"]
    (w[0] if w.ndim == 3 else w)[:] = gain * np.eye(n, n_out)
    if readout["v"] is not None:
        readout["v"][0] = 1
    if n_out > n:
        if readout["b"] is None:
            raise TrainingError("An output for 'no answer' is a constant: the network needs bias=True.")
        readout["b"][n] = gain * network.theta[-1]
    return name


def learn(network, optimiser, batch: TimedBatch, *, rule="online", window=None, fixed=(), factor=1.0) -> float:
    """One update from trials seen once; returns their loss.

    Parameters
    ----------
    network : SpikingGammaNetwork
    optimiser : Adam or SGD
    batch : TimedBatch
    rule, window
        See `SpikingGammaNetwork.loss_and_grad`.
    fixed : sequence of str
        Layers that stay as they are, such as ``"layer2"``.
    factor : float
        Of the learning rate.
    """
    options = {"window": window} if rule == "online" else {}
    loss, gradients = network.loss_and_grad(batch.events, rule=rule, **batch.goal, **options)
    gradients = {name: value for name, value in gradients.items() if name.split(".")[0] not in fixed}
    optimiser.step(network.parameters, gradients, factor, network.info)
    network.constrain()
    return loss


def output_spikes(network, events: StepEvents) -> list[tuple[np.ndarray, np.ndarray]]:
    """Spikes of the last hidden layer: (times in seconds, neurons) of every sample, several in a step repeated."""
    theta = network.theta[-1]
    spikes = []
    for layers in network.forward(events, record=True).recorded:
        steps, neurons, jumps = layers[-1]
        count = np.rint(np.abs(jumps) / (2 * theta)).astype(int).clip(1)
        spikes.append((np.repeat(steps, count) * events.dt, np.repeat(neurons, count)))
    return spikes


def most_spikes(spikes, n_out: int) -> np.ndarray:
    """Neuron with most spikes in each sample, of several the one that was first; -1 if none spiked."""
    winners = np.full(len(spikes), -1)
    for row, (_, neurons) in enumerate(spikes):
        if len(neurons):
            count = np.bincount(neurons, minlength=n_out)
            winners[row] = neurons[np.argmax(count[neurons] == count.max())]  # spikes come in the order of time
    return winners


def delay_lines(network, *, noise: float = 0.05, seed: int = 0) -> None:
    """Initial weights of the first layer: every synapse delays by a random bucket, and two inputs must coincide.

    Each synapse gets one bucket, scaled to a peak of one, and the threshold of the rectifier is one: a neuron answers
    when its inputs, each behind a delay of its own, arrive together. Nothing in it knows the task.

    Parameters
    ----------
    network : SpikingGammaNetwork
        With per-synapse buckets of equal time constants, and a bias.
    noise : float
        Standard deviation of all bucket weights, relative to that peak.
    seed : int
    """
    w, b = network.parameters["layer1.w"], network.parameters.get("layer1.b")
    if w.ndim != 3 or b is None:
        raise TrainingError("Delay lines need buckets='synapse' and bias=True.")
    rng = np.random.default_rng(seed)
    n_buckets, n_pre, n_post = w.shape
    peak = np.sqrt(2 * np.pi * (np.arange(n_buckets) + 0.3))  # one over the gamma kernel's maximum
    w[:] = noise * peak[:, None, None] * rng.normal(size=w.shape)
    chosen = rng.integers(0, n_buckets, (n_pre, n_post))
    w[chosen, np.arange(n_pre)[:, None], np.arange(n_post)] += peak[chosen]
    b[:] = -1
