"""Deeper-bucket eligibility: a gradient rule without any look back in time, as a NumPy transcription.

With equal time constants the gamma memory is a semigroup: bucket m of a signal, delayed by bucket k of the next layer,
is bucket m+k. An error that would travel back through k buckets can therefore be answered at once, from an input bucket
k places deeper. Only the rectifier's gate would have to be that of the past; two stand-ins are compared:

- ``D1``: the gate of now, ``x_i(t) > 0``;
- ``D2``: what the neuron's own deeper bucket says of the past, ``yhat_i^k(t) > theta_i``.

With E_k the error that belongs to a signal k buckets ago, and l counting layers from the input,

    F_q = sum over m+k = q of v^m E_k,   dL/dw = sum_t sum_q yhat_pre^q(t) F_q(t),   below: E_q = gate_q W F_q

Every layer on the way down adds K-1 shifts, so the inputs of a network with L hidden layers need (K-1)(L+1)+1 buckets.
Where every gate is open this is the `filter` gradient exactly.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from brian2grad.models.events import bin_events
from brian2grad.models.readout import loss_window, probabilities

GATES = ("D1", "D2", "open")  # open: for a network without rectifier, where the rule is exact


def deeper_gradient(network, events, *, gate, loss="cross_entropy", labels=None, targets=None, weight=None) -> dict:
    """Gradient of a batch by deeper-bucket eligibility.

    Parameters
    ----------
    network : SpikingGammaNetwork
        With memory ``'paper'``, equal time constants and per-neuron buckets.
    events : StepEvents
    gate : {'D1', 'D2', 'open'}
    loss, labels, targets, weight
        See `SpikingGammaNetwork.loss_and_grad`.

    Returns
    -------
    dict of str to array
        ``layer{l}.w``, ``layer{l}.v``, ``layer{l}.b``.
    """
    K, n_layers = network.K, len(network.sizes) - 1
    alpha = float(np.exp(-float(network.dt) / float(network.tau[0])))
    events = bin_events(events, network.dt)
    run = network.forward(events, record=True, traces=True)
    kind = network.dtype
    inputs = [dense_input(events), *(dense_spikes(run, i, network.sizes[i + 1]) for i in range(n_layers - 1))]
    error = readout_error(network, run.readout, loss, labels, targets, weight)
    errors, gradients = [error.transpose(1, 0, 2).astype(kind)], {}  # time first, as everywhere below
    for layer in range(n_layers, 0, -1):
        w, v = (network.parameters[f"layer{layer}.{name}"] for name in "wv")
        traces = buckets_of(inputs[layer - 1].astype(kind), alpha, K + len(errors) - 1)
        shifted = [np.zeros_like(errors[0]) for _ in range(len(traces))]
        for k, e in enumerate(errors):
            for m in range(K):
                shifted[k + m] += v[m] * e
        flat = lambda x: x.reshape(-1, x.shape[-1])  # noqa: E731
        gradients[f"layer{layer}.w"] = sum(flat(z).T @ flat(f) for z, f in zip(traces, shifted, strict=True))
        arrived = [z @ w for z in traces]
        gradients[f"layer{layer}.v"] = np.array(
            [sum((e * arrived[k + m]).sum(axis=(0, 1)) for k, e in enumerate(errors)) for m in range(K)]
        )
        gradients[f"layer{layer}.b"] = sum(e.sum(axis=(0, 1)) for e in errors)
        if layer > 1:
            active = (run.signals[layer - 2].transpose(1, 0, 2) > 0) | (gate == "open")
            theta = network.theta[layer - 2]
            opened = [z > theta if gate == "D2" else active for z in traces]
            errors = [(f @ w.T) * o for f, o in zip(shifted, opened, strict=True)]
    return gradients


def buckets_of(x: np.ndarray, alpha: float, n: int) -> list[np.ndarray]:
    """First `n` buckets of events (n_steps, n_samples, n_units): the published recursion as filters."""
    first, next_one, decay = (np.array(a, x.dtype) for a in ([1], [0, 1 - alpha], [1, -alpha]))
    traces = [lfilter(first, decay, x, axis=0)]
    for _ in range(n - 1):
        traces.append(lfilter(next_one, decay, traces[-1], axis=0))
    return traces


def dense_input(events) -> np.ndarray:
    """Event counts (n_steps, n_samples, n_units)."""
    return np.stack([events.dense(s) for s in range(events.n_samples)], axis=1)


def dense_spikes(run, layer: int, n: int) -> np.ndarray:
    """What the spikes of a hidden layer carry, (n_steps, n_samples, n)."""
    out = np.zeros((run.readout.shape[1], len(run.recorded), n))
    for sample, layers in enumerate(run.recorded):
        steps, units, values = layers[layer]
        out[steps, sample, units] = values
    return out


def readout_error(network, readout, loss, labels, targets, weight) -> np.ndarray:
    """dL/dreadout (n_samples, n_steps, n_out)."""
    first, steps = network.first_step(), readout.shape[:2]
    labels, weight = loss_window(steps, labels, weight, first, network.sizes[-1])
    readout = np.asarray(readout, float)
    if loss == "squared_error":
        return 2 * weight[..., None] * (readout - targets) / readout.shape[-1]
    error = probabilities(readout) - np.eye(readout.shape[-1])[np.maximum(labels, 0)]
    return error * (weight * (labels >= 0))[..., None]


def kept_numbers(sizes, K: int) -> int:
    """Numbers per sample that the rule keeps from step to step."""
    L = len(sizes) - 2
    return sum(n * ((K - 1) * (L + 1 - i) + 1) for i, n in enumerate(sizes[:-1]))


def operations(sizes, K: int) -> int:
    """Multiplications per step and sample of the weight gradients and of sending errors down."""
    L, total = len(sizes) - 2, 0
    for i, (n_pre, n_post) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        shifts = (K - 1) * (L + 1 - i) + 1
        total += shifts * n_pre * n_post * (2 if i else 1)
    return total
