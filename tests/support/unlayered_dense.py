"""Dense transcription of asynchronous execution, one sample at a time, and its gradient by automatic differentiation of
the unrolled forward steps (`autograd` over NumPy): independent of the engine, its tape and its reverse pass.

Koopman, Yousefzadeh, Shahsavari, Tang & Sifalakis 2024, arXiv 2408.05098, with the current of the last group kept.
"""

from __future__ import annotations

import math

import autograd.numpy as np
from autograd import value_and_grad
from autograd.extend import defvjp, primitive
from autograd.tracer import getval
from unlayered_cases import N_IN, N_OUT, NOISE, SIZES, Case, T

from brian2grad.models.order.draws import field_of, uniform


@primitive
def spike(x, slope):
    """Heaviside step, whose derivative is `slope`."""
    return (x > 0) * 1.0


defvjp(spike, lambda ans, x, slope: lambda g: g * slope(x), argnums=(0,))


def arctan_slope(x, gain):
    """Arctan surrogate of steepness 2."""
    return gain / (1 + (math.pi * x) ** 2)


class Dense:
    """The network of a `Case`, for one of its samples.

    Parameters
    ----------
    case : Case
    sample : int
    W_in, W : (n_in, N) and (N, N)
    leak, theta, sigma : (N,)
    """

    def __init__(self, case, sample, W_in, W, leak, theta, sigma):
        self.case, self.sample, self.rule = case, sample, case.unlayered
        self.W_in, self.W, self.leak, self.theta = W_in, W, leak, theta
        layer = case.connectivity.layer_of()[N_IN:]
        self.layer = layer.astype(float)
        # Of the first layer, to which inputs go, the synchronisation threshold has no gradient.
        self.sigma = np.where(layer > 1, sigma, getval(sigma)) if case.sigma else None
        gain = 1.0 if self.rule.variant == "v1" else 1 / math.pi
        self.slope = lambda x: arctan_slope(x, gain)

    def run(self):
        """Output counts and membranes (T, n_out), and the spikes of every forward step (n_steps, N)."""
        U = q = np.zeros(self.case.N)
        counts, membranes, history = [], [], []
        for t in range(T):
            count, U, q = self.timestep(t, self.case.frames[self.sample, t], U * self.leak, q, history)
            counts.append(count[-N_OUT:])
            membranes.append(U[-N_OUT:])
        return np.array(counts), np.array(membranes), np.array(history)

    def timestep(self, t, x, U, q, history):
        """Forward steps until nothing is left to deliver."""
        case, resting, P, count = self.case, np.zeros(self.case.N, bool), np.zeros(self.case.N), 0
        current, received, arrived, step = x @ self.W_in, x @ (getval(self.W_in) != 0), 0, 0
        while step == 0 or np.any(getval(q) != 0) or np.any(getval(current) != 0):
            U = (getval(U) if self.rule.state == "cut" else U) + current
            if case.refractory:
                U = np.where(resting, 0.0, U)
            fire = spike(U - self.theta, self.slope)
            if self.sigma is not None:
                arrived = arrived + received
                fire = fire * spike(arrived - self.sigma, self.slope)
            if self.rule.variant == "v1":  # else a surrogate term for every neuron in every step
                fire = fire * (getval(current) != 0)
            if case.refractory:
                fire = fire * ~resting
            P = np.where(getval(fire) > 0, getval(U), P)
            U = U * (1 - (getval(fire) if self.rule.reset == "detached" else fire))
            rests = getval(fire) > 0
            if case.refractory_dropout:
                rests = rests & (self.draw(t, step, "refractory dropout") >= case.refractory_dropout)
            resting = resting | rests
            if case.spike_dropout:
                fire = fire * (self.draw(t, step, "spike dropout") >= case.spike_dropout)
            history.append(fire)
            count, q = count + fire, q + fire
            group = self.chosen(getval(q), P, t, step)
            taken = q * group
            current, received = taken @ self.W, getval(taken) @ (getval(self.W) != 0)
            q = q * (1 - group)
            step += 1
        return count, U, q

    def draw(self, t, step, what):
        """Uniform numbers of all neurons."""
        return uniform(field_of(self.case.seed, self.sample, t, step, what), np.arange(N_IN, N_IN + self.case.N))

    def chosen(self, q, P, t, step):
        """Mask of the neurons that are delivered next; what does not wait fills a group up, by number."""
        case, waiting = self.case, q > 0
        if case.policy == "layered":
            foremost = self.layer[waiting].min() if waiting.any() else -1
            return (~waiting | (self.layer == foremost)) * 1.0
        u = self.draw(t, step, "key")
        key = np.where(waiting, u if case.policy == "RS" else -(P + NOISE * u), np.inf)
        mask = np.zeros(case.N)
        mask[np.argsort(key, kind="stable")[: case.F]] = 1.0
        return mask


def cross_entropy(scores, labels, smoothing):
    """Mean over rows of the cross entropy with smoothed labels."""
    p = scores - np.max(scores, axis=1, keepdims=True)
    p = p - np.log(np.sum(np.exp(p), axis=1, keepdims=True))
    return -np.mean((1 - smoothing) * p[np.arange(len(labels)), labels] + smoothing * np.mean(p, axis=1))


def steps_before_spike(history):
    """Forward steps until each neuron's first spike."""
    silent, total = 1.0, 0.0
    for fire in history:
        silent = silent * (1 - fire)
        total = total + silent
    return total


def matrices(case, weights):
    """Weights of the projections as two matrices: of the inputs, and among the neurons."""
    by_pair = {}
    for projection, w in zip(case.connectivity.projections, weights, strict=True):
        by_pair[projection.source, projection.target] = w
    rows = [
        np.concatenate([by_pair.get((a, b), np.zeros((SIZES[a], SIZES[b]))) for b in range(1, len(SIZES))], axis=1)
        for a in range(len(SIZES))
    ]
    return rows[0], np.concatenate(rows[1:], axis=0)


def gradient(case: Case):
    """Loss of a case, its gradients by name, and the output counts (n_samples, T, n_out)."""
    names = [f"projection{k}.w" for k in range(len(case.connectivity.projections))]
    start = dict(zip(names, [p.weights for p in case.connectivity.projections], strict=True))
    start |= {"neurons.V_th": case.theta, "neurons.tau_m": case.tau, "neurons.sigma": np.full(case.N, case.sigma)}
    seen = {}

    def loss_of(p):
        W_in, W = matrices(case, [p[name] for name in names])
        leak, goal, labels = np.exp(-1e-3 / p["neurons.tau_m"]), case.loss, case.labels
        runs = [
            Dense(case, s, W_in, W, leak, p["neurons.V_th"], p["neurons.sigma"]).run() for s in range(case.n_samples)
        ]
        counts, membranes = (np.array([run[k] for run in runs]) for k in (0, 1))
        seen["counts"] = getval(counts)
        latency = np.array([steps_before_spike(h[:, -N_OUT:]) for *_, h in runs]) / goal.latency_scale
        value = goal.total * cross_entropy(np.sum(counts, 1), labels, goal.smoothing)
        if case.kind != "latency":
            read = np.reshape(counts if case.kind == "counts" else membranes, (-1, N_OUT))
            value = value + cross_entropy(read, np.repeat(labels, T), goal.smoothing)
        first = 1.0 if case.kind == "latency" else goal.first
        value = value + first * cross_entropy(-latency, labels, goal.smoothing)
        value = value + goal.haste * np.mean(latency[np.arange(len(labels)), labels])
        return value + goal.activity / (case.N * case.n_samples) * sum(np.sum(h) for *_, h in runs)

    loss, gradients = value_and_grad(loss_of)(start)
    return float(loss), gradients, seen["counts"]
