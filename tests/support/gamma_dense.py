"""Truths about the filter gradient: central differences, and layers as dense linear filters in NumPy."""

import itertools

import numpy as np
from scipy.linalg import expm


def difference_quotients(network, name, function, most=10, relative_step=1e-5):
    """Indices of some entries of a parameter (at most `most`), and central differences of `function()` there."""
    value = network.parameters[name]
    step = relative_step * max(np.abs(value).max(), 1e-3)
    first = 1 if name.endswith(".tau") else 0  # the time constant of the code, tau_0, is not trained
    chosen = np.random.default_rng(8).permutation(np.arange(first, value.size))[:most]
    quotients = []
    for index in chosen:
        old, sides = value.flat[index], []
        for sign in (1, -1):
            value.flat[index] = old + sign * step
            sides.append(function())
        value.flat[index] = old
        quotients.append((sides[0] - sides[1]) / (2 * step))
    return chosen, np.array(quotients)


def assert_gradient_is_differences(network, events, **options):
    loss = lambda: network.loss_and_grad(events, analog=True, **options)[0]  # noqa: E731
    _, gradient = network.loss_and_grad(events, analog=True, **options)
    assert gradient.keys() == network.parameters.keys()
    for name, found in gradient.items():
        chosen, wanted = difference_quotients(network, name, loss)
        assert np.linalg.norm(wanted) > 1e-5, name
        error = np.linalg.norm(found.flat[chosen] - wanted) / np.linalg.norm(wanted)
        assert error < 1e-6, f"{name}: relative error {error:.2g}"


def update_of(taus, dt, memory, transposed):
    """Bucket update A, complex time constants welcome."""
    K = len(taus)
    if memory == "continuous":
        rates = np.diag(-1 / taus)
        for k in range(1, K):
            rates[(k - 1, k) if transposed else (k, k - 1)] = 1 / taus[k - 1 if transposed else k]
        return expm(rates * dt)
    alpha = np.exp(-dt / taus)
    A = np.diag(alpha)
    for k in range(1, K):
        A[(k - 1, k) if transposed else (k, k - 1)] = 1 - alpha[k - 1 if transposed else k]
    return A


class Dense:
    """One layer as a linear filter of its input events, all kernels written out over time."""

    def __init__(self, network, index, T):
        get = lambda kind: network.parameters.get(f"layer{index}.{kind}")  # noqa: E731
        self.network, self.T = network, T
        self.synapse = network.buckets == "synapse"
        self.w, self.v, self.b = get("w"), get("v"), get("b")
        self.taus = np.asarray(network.taus(index), float)

    def kernels(self, taus=None):
        """Response (K, T) that weight k reads, at every lag after a unit event."""
        taus = self.taus if taus is None else taus
        A = update_of(taus, float(self.network.dt), self.network.memory, self.synapse)
        powers = [np.eye(len(taus))]
        for _ in range(self.T - 1):
            powers.append(A @ powers[-1])
        powers = np.array(powers)
        if self.synapse:
            return (powers[:, 0, :] * (taus[0] / taus)).T
        return powers[:, :, 0].T

    def filtered(self, events, taus=None):
        """Events (T, n) seen through every kernel: (K, T, n)."""
        kernels = self.kernels(taus)
        out = np.zeros((len(kernels), *events.shape), kernels.dtype)
        for t, lag in itertools.product(range(self.T), range(self.T)):
            if t >= lag:
                out[:, t] += kernels[:, lag, None] * events[t - lag]
        return out

    def signal(self, events, taus=None):
        """Pre-activation (T, n_post)."""
        z = self.filtered(events, taus)
        if self.synapse:
            return np.einsum("kti,kij->tj", z, self.w) + self.b
        return np.einsum("kti,ij,kj->tj", z, self.w, self.v) + self.b

    def reverse(self, events, g):
        """Derivatives of sum(g * signal) by w, v, b and tau, and by the events."""
        z, kernels = self.filtered(events), self.kernels()
        by_event = np.zeros_like(events)
        # what a unit event of i at time t would do later, through weight and kernel
        if self.synapse:
            gradient = {"w": np.einsum("kti,tj->kij", z, g)}
            for t, lag in itertools.product(range(self.T), range(self.T)):
                if t + lag < self.T:
                    by_event[t] += np.einsum("k,kij,j->i", kernels[:, lag], self.w, g[t + lag])
        else:
            gradient = {
                "w": np.einsum("kti,kj,tj->ij", z, self.v, g),
                "v": np.einsum("kti,ij,tj->kj", z, self.w, g),
            }
            for t, lag in itertools.product(range(self.T), range(self.T)):
                if t + lag < self.T:
                    by_event[t] += np.einsum("k,kj,ij,j->i", kernels[:, lag], self.v, self.w, g[t + lag])
        gradient["b"] = g.sum(axis=0)
        gradient["tau"] = np.zeros(len(self.taus))
        for k in range(1, len(self.taus)):
            shifted = self.taus + 1e-25j * np.eye(len(self.taus))[k]
            gradient["tau"][k] = np.vdot(g, self.signal(events, shifted).imag) / 1e-25
        return gradient, by_event
