"""Asynchronous execution as a lean event loop in numba: the simplest opponent that knows what an event is.

The same network as `brian2grad.models.AsynchronousNetwork` on a chain of dense layers, input first, a neuron spiking at
most once a timestep. Spikes wait in a bag (random order: a draw and a swap each), a ring (first in, first out) or a
binary heap (momentum, its noise drawn once a spike); nothing is ever sorted. A forward step adds the rows of its group
and tests the layers that they reach. Counted are the spikes of each output and of all neurons, nothing else.
"""

from __future__ import annotations

import numba
import numpy as np

from brian2grad.models.order.schedulers import FifoScheduler, MomentumScheduler, RandomScheduler

ORDERS = {RandomScheduler: 0, FifoScheduler: 1, MomentumScheduler: 2}
RANDOM, FIFO = 0, 1


@numba.njit
def draw(state):
    """Next state of xorshift64."""
    state ^= state << np.uint64(13)
    state ^= state >> np.uint64(7)
    return state ^ (state << np.uint64(17))


@numba.njit
def push(queue, keys, size, neuron, key):
    """Into a heap with the smallest key on top."""
    at = size
    while at:
        parent = (at - 1) >> 1
        if keys[parent] < key or (keys[parent] == key and queue[parent] < neuron):
            break
        queue[at], keys[at], at = queue[parent], keys[parent], parent
    queue[at], keys[at] = neuron, key


@numba.njit
def pop(queue, keys, size):
    """The top of a heap of `size`."""
    top, neuron, key, at = queue[0], queue[size - 1], keys[size - 1], 0
    while 2 * at + 1 < size - 1:
        child = 2 * at + 1
        if child + 1 < size - 1 and (
            keys[child + 1] < keys[child] or (keys[child + 1] == keys[child] and queue[child + 1] < queue[child])
        ):
            child += 1
        if not (keys[child] < key or (keys[child] == key and queue[child] < neuron)):
            break
        queue[at], keys[at], at = queue[child], keys[child], child
    queue[at], keys[at] = neuron, key
    return top


def events(
    ptr, units, values, T, first, W, at, width, begin, layer, leak, theta, noise, F, order, seed, outputs, spikes
):
    """Samples in turn. `layer` is that of a neuron, layer k the neurons `begin[k]` to `begin[k + 1]`; `first` are the
    weights of the input units, row by row, neuron j has `W[at[j]:at[j] + width[j]]` onto the layer after its own."""
    N, n_first, first_output = len(at), begin[1], len(at) - outputs.shape[2]
    for s in numba.prange(outputs.shape[0]):
        v, current, alive = np.zeros(N, W.dtype), np.zeros(N, W.dtype), np.ones(N, W.dtype)
        queue, keys, reached = np.empty(N, np.int32), np.empty(N, np.float64), np.zeros(len(begin), np.bool_)
        state, total = np.uint64(seed + s + 1) * np.uint64(0x9E3779B97F4A7C15), 0
        for t in range(T):
            if t:
                for j in range(N):
                    v[j] *= leak
                    alive[j] = 1
            for e in range(ptr[s * T + t], ptr[s * T + t + 1]):
                row, factor = first[units[e]], W.dtype.type(values[e])
                for j in range(n_first):
                    current[j] += factor * row[j]
            reached[0] = True
            head = tail = 0
            while True:
                for k in range(len(begin) - 1):
                    if not reached[k]:
                        continue
                    reached[k], above = False, 0
                    voltage, arrived = v[begin[k] : begin[k + 1]], current[begin[k] : begin[k + 1]]
                    awake = alive[begin[k] : begin[k + 1]]
                    for j in range(len(voltage)):  # vectors: a spike is rare, and a slice's index has no sign to test
                        voltage[j] += awake[j] * arrived[j]
                        arrived[j] = 0
                        above += voltage[j] > theta
                    for j in range(begin[k], begin[k + 1] if above else begin[k]):
                        if v[j] > theta:
                            if order == RANDOM or order == FIFO:
                                queue[tail] = j
                            else:
                                state = draw(state)
                                push(queue, keys, tail, j, -(v[j] + noise * ((state >> np.uint64(11)) * 2.0**-53)))
                            tail += 1
                            v[j] = alive[j] = 0
                            if j >= first_output:
                                outputs[s, t, j - first_output] += 1
                    total += above
                if head == tail:
                    break
                for _ in range(min(F, tail - head)):
                    if order == FIFO:
                        j = queue[head]
                        head += 1
                    elif order == RANDOM:
                        state = draw(state)
                        chosen = np.int64(((state >> np.uint64(32)) * np.uint64(tail)) >> np.uint64(32))
                        tail -= 1
                        j, queue[chosen] = queue[chosen], queue[tail]
                    else:
                        j = pop(queue, keys, tail)
                        tail -= 1
                    if width[j]:
                        k = layer[j] + 1
                        row, goal = W[at[j] : at[j] + width[j]], current[begin[k] : begin[k + 1]]
                        for i in range(len(row)):
                            goal[i] += row[i]
                        reached[k] = True
        spikes[s] = total


FUNCTIONS = {parallel: numba.njit(parallel=parallel, nogil=True)(events) for parallel in (False, True)}


class NumbaAsynchronous:
    """A network's weights as the loop wants them.

    Parameters
    ----------
    network : AsynchronousNetwork
        A chain of dense layers of LIF neurons with one threshold and time constant, input first.
    """

    def __init__(self, network):
        weights = [np.ascontiguousarray(w, network.dtype) for w in network.weights]
        sizes = [w.shape[1] for w in weights]
        self.first, rest = weights[0], weights[1:]
        self.W = np.concatenate([w.ravel() for w in rest])
        self.width = np.repeat([*(w.shape[1] for w in rest), 0], sizes)
        self.at = np.cumsum(self.width) - self.width
        self.begin, self.layer = np.concatenate([[0], np.cumsum(sizes)]), np.repeat(np.arange(len(sizes)), sizes)
        kind = self.W.dtype.type
        self.leak = kind(np.exp(-float(network.dt) / float(network.model.constants["tau_m"])))
        self.theta, self.n_outputs, self.parallel = kind(network.model.constants["V_th"]), sizes[-1], False

    def set_threads(self, threads: int) -> None:
        """One thread, or samples shared among several."""
        numba.set_num_threads(threads)
        self.parallel = threads > 1

    def run(self, steps, scheduler, forward_group: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Spikes of each output in each timestep (n_samples, T, n_out), and of all neurons (n_samples,)."""
        outputs = np.zeros((steps.n_samples, steps.n_steps, self.n_outputs), np.int32)
        spikes = np.zeros(steps.n_samples, np.int64)
        noise = scheduler.numbers().get("noise", 0.0)
        FUNCTIONS[self.parallel](
            steps.ptr, steps.units, steps.values, steps.n_steps, self.first, self.W, self.at, self.width, self.begin,
            self.layer, self.leak, self.theta, noise, forward_group, ORDERS[type(scheduler)], seed, outputs, spikes,
        )  # fmt: skip
        return outputs, spikes
