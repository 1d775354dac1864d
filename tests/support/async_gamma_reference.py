"""Dense NumPy transcription of SpikingGamma layers without a barrier: vectors and loops, nothing clever.

Only the random numbers are shared with the engine, so that both draw the same orders.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import expm

from brian2grad.models.order.draws import field_of, uniform


class DenseLayer:
    """Buckets (K, n), estimate and raised threshold of one hidden layer."""

    def __init__(self, network, index):
        self.network, self.n = network, network.sizes[index]
        self.w, self.v, self.b = (network.parameters.get(f"layer{index}.{kind}") for kind in "wvb")
        self.taus, self.dt = np.asarray(network.taus(index), float), float(network.dt)
        self.synapse, self.theta_0 = network.buckets == "synapse", network.theta[index - 1]
        K = len(self.taus)
        hop = np.exp(-self.dt / self.taus)
        if network.memory == "continuous":
            rates = np.diag(-1 / self.taus) + np.diag(1 / self.taus[1:], -1)
            if self.synapse:
                rates = np.diag(-1 / self.taus) + np.diag(1 / self.taus[:-1], 1)
            self.A = expm(rates * self.dt)
        elif self.synapse:
            self.A = np.diag(hop) + np.diag(1 - hop[:-1], 1)
        else:
            self.A = np.diag(hop) + np.diag(1 - hop[1:], -1)
        self.z, self.yhat, self.raised = np.zeros((K, self.n)), np.zeros(self.n), np.zeros(self.n)

    def begin(self):
        self.z = self.A @ self.z
        self.yhat = self.yhat * np.exp(-self.dt / self.taus[0])
        self.raised = self.raised * np.exp(-self.dt / float(self.network.tau_theta))
        self.rests, self.again = np.zeros(self.n, bool), np.zeros(self.n, bool)
        self.n_tests = 0
        self.tested, self.reached = False, self.network.idle == "start"

    def receive(self, unit, value):
        self.reached = True
        if self.synapse:
            for k, tau in enumerate(self.taus):
                self.z[k] += value * self.taus[0] / tau * self.w[k, unit]
        else:
            self.z[0] += value * self.w[unit]

    def gap(self):
        """By how much y is above its estimate, with sign, and above threshold."""
        x = (self.z[0] if self.synapse else (self.v * self.z).sum(axis=0)) + self.b
        y = x if self.network.signed else np.maximum(x, 0)
        gap = y - self.yhat
        return gap, (np.abs(gap) if self.network.signed else gap) - (self.theta_0 + self.raised)

    def test(self):
        """Neurons that spike, by how much they were above threshold, and what their spikes carry."""
        gap, margin = self.gap()
        self.n_tests += self.n if self.reached else int(self.again.sum())
        fire = (margin > 0) & ~self.rests & (True if self.reached else self.again)
        self.reached, self.tested = False, True
        theta = self.theta_0 + self.raised
        jump = 2 * theta * (np.sign(gap) if self.network.signed else 1)
        self.yhat = self.yhat + fire * jump
        self.raised = self.raised + fire * self.network.adaptation * theta
        if self.network.once_per_timestep:
            self.rests |= fire
        else:
            self.again = fire & (self.gap()[1] > 0)
        return [(j, margin[j], jump[j]) for j in np.flatnonzero(fire)]


class DenseGamma:
    """One sample of an `AsynchronousSpikingGamma` network.

    Parameters
    ----------
    policy : {'RS', 'MS', 'FIFO', 'LIFO', 'layered'}
    F : int
    """

    def __init__(self, network, policy, F, *, seed=0, sample=0, noise=1e-6):
        self.network, self.policy, self.F, self.seed, self.sample = network, policy, F, seed, sample
        self.noise = noise
        self.layers = [DenseLayer(network, index) for index in range(1, len(network.sizes) - 1)]
        self.starts = np.cumsum((0, *network.sizes[:-1]))  # first source of every layer
        self.queue = {}  # source: [spikes, sum of jumps, P, arrival]
        self.t, self.arrivals = -1, 0

    def join(self, source, copies, jump, P):
        entry = self.queue.get(source)
        if entry is None:
            entry = self.queue[source] = [0, 0.0, 0.0, self.arrivals]
            self.arrivals += 1
        entry[0] += copies
        entry[1] += jump
        entry[2] = P

    def deliver(self, source, value):
        layer = int(np.searchsorted(self.starts, source, "right")) - 1
        self.received[layer][source - self.starts[layer]] += value
        if layer < len(self.layers):
            self.layers[layer].receive(source - self.starts[layer], value)

    def choose(self):
        waiting = sorted(self.queue)
        field = field_of(self.seed, self.sample, self.t, self.step, "key")
        u = dict(zip(waiting, uniform(field, waiting), strict=True)) if waiting else {}
        layer = {s: int(np.searchsorted(self.starts, s, "right")) for s in waiting}
        if self.policy == "layered":
            return [s for s in waiting if layer[s] == min(layer.values())]
        key = {
            "RS": lambda s: u[s],
            "MS": lambda s: -(self.queue[s][2] + self.noise * u[s]),
            "FIFO": lambda s: self.queue[s][3],
            "LIFO": lambda s: -self.queue[s][3],
        }[self.policy]
        return sorted(sorted(waiting, key=key)[: self.F])

    def timestep(self, x):
        """Run one timestep with input counts (n_in,); spikes as (forward step, neuron)."""
        self.t, self.step, order = self.t + 1, 0, []
        self.received = [np.zeros(n) for n in self.network.sizes[:-1]]
        for layer in self.layers:
            layer.begin()
        for entry in self.queue.values():
            entry[2] = 0.0
        for unit in np.flatnonzero(x):
            if self.network.prioritised:
                self.deliver(int(unit), x[unit])
            else:
                self.join(int(unit), x[unit], x[unit], 0.0)
        if not self.network.prioritised:
            self.step = -1
            for source in self.choose():
                self.deliver(source, self.queue.pop(source)[1])
            self.step = 0
        while True:
            busy = [layer for layer in self.layers if layer.reached or layer.again.any()]
            if not busy and not self.queue:
                busy = [layer for layer in self.layers if not layer.tested][:1]
                for layer in busy:
                    layer.reached = True
            fired = []
            for index, layer in enumerate(self.layers):
                if layer in busy:
                    fired += [(self.starts[index + 1] + j, P, jump) for j, P, jump in layer.test()]
            for source, P, jump in fired:
                order.append((self.step, int(source - self.network.sizes[0])))
                self.join(int(source), 1, jump, P)
            group = self.choose()
            for source in group:
                self.deliver(source, self.queue.pop(source)[1])
            self.step += 1
            left = any(layer.reached or layer.again.any() or not layer.tested for layer in self.layers)
            if not (group or self.queue or left):
                return order
