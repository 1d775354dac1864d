"""Inference of a SpikingGamma network as an event loop in numba, a sample after the other.

Published memory, bucket weights per neuron, constant threshold, one spike a step: the equations of ``torch_gamma.py``.
What happens in a step costs the rows of its events and one update of each layer; readouts of all steps are kept.
"""

from __future__ import annotations

import numba
import numpy as np

FAST = {"contract"}  # as in C++: a product and a sum in one operation


@numba.njit(fastmath=FAST)
def integrate(drive, w, units, amounts, count):
    """Rows of the events of a step."""
    drive[:] = 0
    for e in range(count):
        row, amount = w[units[e]], amounts[e]
        for j in range(len(row)):
            drive[j] += amount * row[j]


@numba.njit(fastmath=FAST)
def remember(z, y, drive, v, b, alpha):
    """A step of the buckets z (K, N), the last one first, and the signal y that they give."""
    for k in range(len(alpha) - 1, 0, -1):
        own, before, keep = z[k], z[k - 1], alpha[k]
        take = alpha.dtype.type(1) - keep
        for j in range(len(own)):
            own[j] = keep * own[j] + take * before[j]
    first, weight, keep = z[0], v[0], alpha[0]
    for j in range(len(first)):
        first[j] = keep * first[j] + drive[j]
    for j in range(len(first)):
        y[j] = b[j] + weight[j] * first[j]
    for k in range(1, len(alpha)):
        own, weight = z[k], v[k]
        for j in range(len(own)):
            y[j] += weight[j] * own[j]


@numba.njit(fastmath=FAST)
def code(y, estimate, alpha, theta, units):
    """Sigma-delta spikes of a rectified signal (as theta > 0 and the estimate is not negative, y itself may be
    compared); how many."""
    above = 0
    for j in range(len(y)):
        estimate[j] *= alpha
        above += y[j] - estimate[j] > theta
    count = 0
    for j in range(len(y) if above else 0):
        if y[j] - estimate[j] > theta:
            estimate[j] += theta + theta
            units[count] = j
            count += 1
    return count


def network(ptr, units, values, T, layers, alpha, theta, readout, spikes):
    """`layers` holds (w, v, b) of two hidden layers and the readout."""
    (w1, v1, b1), (w2, v2, b2), (w3, v3, b3) = layers
    K, kind = len(alpha), w1.dtype
    for s in numba.prange(readout.shape[0]):
        z1, z2, z3 = np.zeros((K, len(b1)), kind), np.zeros((K, len(b2)), kind), np.zeros((K, len(b3)), kind)
        drive1, drive2, drive3 = np.zeros(len(b1), kind), np.zeros(len(b2), kind), np.zeros(len(b3), kind)
        y1, y2, estimate1, estimate2 = np.zeros_like(b1), np.zeros_like(b2), np.zeros_like(b1), np.zeros_like(b2)
        sent, amounts = np.empty(len(b1) + len(b2), np.int64), np.empty(len(w1) + len(w2) + len(w3), kind)
        for t in range(T):
            begin, end = ptr[s * T + t], ptr[s * T + t + 1]
            for e in range(begin, end):
                amounts[e - begin] = kind.type(values[e])
            integrate(drive1, w1, units[begin:end], amounts, end - begin)
            remember(z1, y1, drive1, v1, b1, alpha)
            count = code(y1, estimate1, alpha[0], theta[0], sent)
            spikes[s, 0] += count
            for e in range(count):
                amounts[e] = theta[0] + theta[0]
            integrate(drive2, w2, sent, amounts, count)
            remember(z2, y2, drive2, v2, b2, alpha)
            count = code(y2, estimate2, alpha[0], theta[1], sent)
            spikes[s, 1] += count
            for e in range(count):
                amounts[e] = theta[1] + theta[1]
            integrate(drive3, w3, sent, amounts, count)
            remember(z3, readout[s, t], drive3, v3, b3, alpha)


FUNCTIONS = {parallel: numba.njit(parallel=parallel, nogil=True, fastmath=FAST)(network) for parallel in (False, True)}


class NumbaGamma:
    """A `SpikingGammaNetwork` of two hidden layers.

    Parameters
    ----------
    network : SpikingGammaNetwork
        As `torch_gamma.TorchGamma` asks for.
    """

    def __init__(self, network):
        kind = np.dtype(network.dtype).type
        get = lambda i: tuple(np.ascontiguousarray(network.parameters[f"layer{i}.{name}"]) for name in "wvb")  # noqa: E731
        self.layers = tuple(get(i) for i in range(1, len(network.sizes)))
        self.alpha = np.exp(-float(network.dt) / np.asarray(network.tau)).astype(kind)
        self.theta, self.parallel = np.asarray(network.theta).astype(kind), False

    def set_threads(self, threads: int) -> None:
        """One thread, or samples shared among several."""
        numba.set_num_threads(threads)
        self.parallel = threads > 1

    def run(self, events) -> tuple[np.ndarray, np.ndarray]:
        """Readout (n_samples, T, n_out) and spikes of each hidden layer (n_samples, 2)."""
        readout = np.empty((events.n_samples, events.n_steps, len(self.layers[-1][2])), self.alpha.dtype)
        spikes = np.zeros((events.n_samples, 2), np.int64)
        given = events.ptr, events.units, events.values, events.n_steps
        FUNCTIONS[self.parallel](*given, self.layers, self.alpha, self.theta, readout, spikes)
        return readout, spikes
