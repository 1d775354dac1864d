"""A training step of an asynchronous network as lean loops in numba: the opponent of `unlayered.py` that knows events.

The same step as `AsynchronousNetwork.gradient` with the rule `Unlayered` on a chain of dense layers: forward in random
order or first in first out, cross entropy of the counts, backward through the order taken, clipping, and Adam. A sample
goes forward and at once back, so that its tape, written over by the next one, stays in the cache. Nothing is allocated
in a step and nothing is sorted. Random numbers are the engine's, so that spikes are the same.
"""

from __future__ import annotations

import math
from collections import namedtuple

import numba
import numpy as np
from numba_asynchronous import FIFO, ORDERS

Net = namedtuple("Net", "w at width goal begin layer n_inputs n_outputs leak theta k gain")
# Of one sample: neurons delivered, spikes, layers tested with membrane and slope of their neurons; where steps end.
Tape = namedtuple("Tape", "group group_end spikes spikes_end layers layers_end membrane slope steps")
State = namedtuple("State", "v current alive queue reached a aq push waiting outputs by_count")
GOLDEN, PICK, PURPOSES, U = np.uint64(0x9E3779B97F4A7C15), 4, 8, np.uint64


@numba.njit
def mix(z):
    """Finalizer of splitmix64."""
    z = (z ^ (z >> U(30))) * U(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U(27))) * U(0x94D049BB133111EB)
    return z ^ (z >> U(31))


@numba.njit
def hashed(state, number):
    """A random number by its place."""
    return mix(state + GOLDEN * U(number + 1))


@numba.njit
def below(bits, n):
    """Uniform on 0 .. n - 1: the upper half of a product of 128 bits."""
    return np.int64(((bits >> U(32)) * U(n) + (((bits & U(0xFFFFFFFF)) * U(n)) >> U(32))) >> U(32))


@numba.njit
def part(array, begin, size):
    """A slice, so that no index needs a test for its sign."""
    return array[begin : begin + size]


@numba.njit(fastmath=True)
def add(to, factor, row):
    """to += factor * row."""
    for i in range(len(row)):
        to[i] += factor * row[i]


@numba.njit(fastmath=True)
def dot(row, a):
    """Sum of products."""
    total = row.dtype.type(0)
    for i in range(len(row)):
        total += row[i] * a[i]
    return total


@numba.njit(fastmath=True)
def test(net, v, current, alive, membrane, slope):
    """Threshold tests of a layer, onto the tape; how many neurons spike."""
    one, zero, above = net.w.dtype.type(1), net.w.dtype.type(0), 0
    for j in range(len(v)):  # vectors: a spike is rare
        now = v[j] + alive[j] * current[j]
        kx = net.k * (now - net.theta)
        slope[j] = alive[j] * net.gain / (one + kx * kx) if current[j] != zero else zero
        membrane[j] = v[j] = now
        current[j] = zero
        above += now > net.theta
    return above


@numba.njit(fastmath=True)
def test_back(net, a, aq, push, membrane, slope):
    """The same tests from the derivatives after them to those before."""
    zero = net.w.dtype.type(0)
    for j in range(len(a)):
        through = slope[j] * (aq[j] + push[j] - a[j] * membrane[j])
        a[j] = through + (zero if membrane[j] > net.theta else a[j])


@numba.njit(fastmath=True)
def forward(net, tape, state, s, T, ptr, units, values, F, order, seed):
    """Run a sample; how long its tape of membranes is."""
    v, current, alive, queue, reached, outputs = (
        state.v, state.current, state.alive, state.queue, state.reached, state.outputs
    )  # fmt: skip
    kind, first_output = net.w.dtype.type, len(v) - net.n_outputs
    step = n_group = n_spikes = n_layers = at = 0
    v[:] = 0
    current[:] = 0
    outputs[:] = 0
    for t in range(T):
        stream = hashed(hashed(mix(seed + GOLDEN), s), t)
        for j in range(len(v)):
            v[j] *= net.leak
            alive[j] = 1
        for e in range(ptr[s * T + t], ptr[s * T + t + 1]):
            add(current, kind(values[e]), part(net.w, net.at[units[e]], net.width[units[e]]))
        arrived = reached[0] = ptr[s * T + t + 1] > ptr[s * T + t]
        head, tail, first = 0, 0, step
        while step == first or arrived or head < tail:
            tape.group_end[step + 1] = n_group
            for k in range(len(reached)):
                if not reached[k]:
                    continue
                begin, size = net.begin[k], net.begin[k + 1] - net.begin[k]
                above = test(
                    net, part(v, begin, size), part(current, begin, size), part(alive, begin, size),
                    part(tape.membrane, at, size), part(tape.slope, at, size),
                )  # fmt: skip
                reached[k] = False
                for j in range(begin, begin + size if above else begin):
                    if v[j] > net.theta:
                        v[j] = alive[j] = 0
                        queue[tail] = tape.spikes[n_spikes] = j
                        tail += 1
                        n_spikes += 1
                        if j >= first_output:
                            outputs[t, j - first_output] += 1
                tape.layers[n_layers] = k
                at += size
                n_layers += 1
            tape.layers_end[step + 1], tape.spikes_end[step + 1] = n_layers, n_spikes
            arrived, draw = False, order != FIFO and F < tail - head
            picks = mix(stream + GOLDEN * U(PURPOSES * (step - first) + PICK + 1))
            for i in range(min(F, tail - head)):
                if draw:
                    chosen = below(hashed(picks, i), tail)
                    tail -= 1
                    j, queue[chosen] = queue[chosen], queue[tail]
                else:
                    j = queue[head]
                    head += 1
                source = net.n_inputs + j
                size = net.width[source]
                if size:
                    add(part(current, net.goal[source], size), kind(1), part(net.w, net.at[source], size))
                    reached[net.layer[j] + 1] = arrived = True
                tape.group[n_group] = j
                n_group += 1
            if head == tail:
                head = tail = 0
            step += 1
        n_group = tape.group_end[step]  # a last group of outputs reaches nobody
        tape.steps[t + 1] = step
    return at


@numba.njit(fastmath=True)
def cross_entropy(outputs, label, share, by_count):
    """Loss of a sample and its derivative by the counts; `share` is the weight of a timestep."""
    loss = 0.0
    for t in range(outputs.shape[0]):
        largest, total = outputs[t].max(), 0.0
        for k in range(outputs.shape[1]):
            total += math.exp(outputs[t, k] - largest)
        for k in range(outputs.shape[1]):
            by_count[t, k] = share * (math.exp(outputs[t, k] - largest) / total - (k == label))
        loss += share * (math.log(total) + largest - outputs[t, label])
    return loss


@numba.njit(fastmath=True)
def fill(net, state, free, lost):
    """Silent neurons in the free slots of a group, the first ones by number."""
    for j in range(len(state.a)):
        if free <= 0:
            return
        if state.waiting[j]:
            continue
        size = 0 if lost else net.width[net.n_inputs + j]
        row = part(net.w, net.at[net.n_inputs + j], size)
        state.aq[j] = dot(row, part(state.a, net.goal[net.n_inputs + j], size))
        free -= 1


@numba.njit(fastmath=True)
def backward(net, tape, state, at, s, T, ptr, units, values, F, gradient):
    """Add the gradient of the sample that ran last."""
    a, aq, push, waiting = state.a, state.aq, state.push, state.waiting
    kind, first_output, slots = net.w.dtype.type, len(a) - net.n_outputs, min(F, len(a))
    a[:] = 0
    aq[:] = 0
    for t in range(T - 1, -1, -1):
        first, last = tape.steps[t], tape.steps[t + 1]
        for i in range(tape.spikes_end[first], tape.spikes_end[last]):
            waiting[tape.spikes[i]] = True
        for i in range(tape.group_end[first], tape.group_end[last]):
            waiting[tape.group[i]] = False
        free = slots
        for i in range(tape.spikes_end[first], tape.spikes_end[last]):
            j = tape.spikes[i]
            if waiting[j]:  # what no step received is lost
                aq[j] = 0
                free -= 1
            if i < tape.spikes_end[last - 1]:  # held at its reset value by every later step
                a[j] = 0
        fill(net, state, free, True)
        for k in range(net.n_outputs):
            push[first_output + k] = state.by_count[t, k]
        for step in range(last - 1, first - 1, -1):
            for n in range(tape.layers_end[step + 1] - 1, tape.layers_end[step] - 1, -1):
                begin, end = net.begin[tape.layers[n]], net.begin[tape.layers[n] + 1]
                at -= end - begin
                test_back(
                    net, a[begin:end], aq[begin:end], push[begin:end], part(tape.membrane, at, end - begin),
                    part(tape.slope, at, end - begin),
                )  # fmt: skip
            for i in range(tape.spikes_end[step], tape.spikes_end[step + 1]):
                waiting[tape.spikes[i]] = False
            if step == first:
                break
            for n in range(tape.group_end[step], tape.group_end[step + 1]):
                j = tape.group[n]
                row, size = net.at[net.n_inputs + j], net.width[net.n_inputs + j]
                targets = part(a, net.goal[net.n_inputs + j], size)
                aq[j], waiting[j] = dot(part(net.w, row, size), targets), True
                add(part(gradient, row, size), kind(1), targets)
            fill(net, state, slots - (tape.group_end[step + 1] - tape.group_end[step]), False)
        for e in range(ptr[s * T + t], ptr[s * T + t + 1]):
            row, size = net.at[units[e]], net.width[units[e]]
            add(part(gradient, row, size), kind(values[e]), part(a, 0, size))
        for j in range(len(a)):
            a[j] *= net.leak


@numba.njit(fastmath=True)
def batch_gradient(net, tape, state, T, ptr, units, values, labels, F, order, seed, clip, gradient, outputs):
    """Loss and clipped gradient of a batch, and all its output counts."""
    loss, square = 0.0, 0.0
    gradient[:] = 0
    for s in range(len(labels)):
        at = forward(net, tape, state, s, T, ptr, units, values, F, order, seed)
        outputs[s] = state.outputs
        loss += cross_entropy(state.outputs, labels[s], 1.0 / (len(labels) * T), state.by_count)
        backward(net, tape, state, at, s, T, ptr, units, values, F, gradient)
    for i in range(len(gradient)):
        square += gradient[i] * gradient[i]
    if clip * clip < square:
        factor = net.w.dtype.type(clip / math.sqrt(square))
        for i in range(len(gradient)):
            gradient[i] *= factor
    return loss


@numba.njit(fastmath=True)
def adam(w, gradient, first, second, rate, bias2):
    """One update."""
    kind = w.dtype.type
    step, keep1, keep2, epsilon = kind(rate), kind(0.1), kind(0.001), kind(1e-8 * math.sqrt(bias2))
    for i in range(len(w)):
        first[i] += (gradient[i] - first[i]) * keep1
        second[i] += (gradient[i] * gradient[i] - second[i]) * keep2
        w[i] -= step * first[i] / (math.sqrt(second[i]) + epsilon)


class NumbaUnlayered:
    """Training of a network's weights, one thread.

    Parameters
    ----------
    network : AsynchronousNetwork
        A chain of dense layers of LIF neurons with one threshold and time constant that spike at most once a timestep,
        input first.
    n_timesteps : int
    rule : Unlayered
        Its steepness, scale and clip count; the rest is as by default.
    """

    def __init__(self, network, n_timesteps: int, rule):
        shapes = [w.shape for w in network.weights]
        n_inputs, sizes = shapes[0][0], np.array([n for _, n in shapes])
        begin, N, T = np.concatenate([[0], np.cumsum(sizes)]), int(sizes.sum()), n_timesteps
        width = np.concatenate([np.repeat([n for _, n in shapes], [n for n, _ in shapes]), np.zeros(sizes[-1], int)])
        goal = np.repeat(begin, [n_inputs, *sizes])
        w = np.concatenate([np.asarray(w, network.dtype).ravel() for w in network.weights])
        kind, (k, gain) = w.dtype.type, rule.numbers()
        constants = network.model.constants
        leak = np.exp(-float(network.dt) / float(constants["tau_m"]))
        self.net = Net(
            w, np.cumsum(width) - width, width, goal, begin, np.repeat(np.arange(len(sizes)), sizes), n_inputs,
            int(sizes[-1]), kind(leak), kind(constants["V_th"]), kind(k), kind(k * gain),
        )  # fmt: skip
        steps = T * (N + 1)  # each but the first of a timestep delivers a spike
        index, real = lambda n: np.zeros(n, np.int32), lambda *shape: np.zeros(shape, w.dtype)
        self.tape = Tape(
            index(T * N), index(steps + 1), index(T * N), index(steps + 1), index(steps * len(sizes)),
            index(steps + 1), real(steps * N), real(steps * N), index(T + 1),
        )  # fmt: skip
        self.state = State(
            real(N), real(N), real(N), index(N), np.zeros(len(sizes), bool), real(N), real(N), real(N),
            np.zeros(N, bool), np.zeros((T, sizes[-1]), np.int32), real(T, sizes[-1]),
        )  # fmt: skip
        self.clip, self.split = rule.clip or np.inf, np.cumsum([a * b for a, b in shapes])[:-1]
        self.gradient, self.first, self.second, self.updates = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w), 0

    def gradients(self, steps, labels, scheduler, forward_group: int, seed: int) -> tuple[float, np.ndarray]:
        """Loss and output counts (n_samples, T, n_out) of a batch; its gradient is left in `gradient`."""
        outputs = np.empty((len(labels), *self.state.outputs.shape), np.int32)
        loss = batch_gradient(
            self.net, self.tape, self.state, steps.n_steps, steps.ptr, steps.units, steps.values, labels, forward_group,
            ORDERS[type(scheduler)], np.uint64(seed), self.clip, self.gradient, outputs,
        )  # fmt: skip
        return loss, outputs

    def update(self, learning_rate: float) -> None:
        """A step of Adam along the gradient."""
        self.updates += 1
        bias2 = 1 - 0.999**self.updates
        rate = learning_rate * math.sqrt(bias2) / (1 - 0.9**self.updates)
        adam(self.net.w, self.gradient, self.first, self.second, rate, bias2)
