"""Dense NumPy transcription of the asynchronous semantics, one neuron vector and one loop; slow, obviously
right.

Koopman, Yousefzadeh, Shahsavari, Tang & Sifalakis 2024, arXiv 2408.05098, as implemented in their package,
with the dropped trailing inhibition and the coupling of the samples of a batch as an option.
"""

from __future__ import annotations

import numpy as np

from brian2grad.models.order.draws import field_of, uniform


class DenseNetwork:
    """State of one sample, and one timestep of it.

    Parameters
    ----------
    W_in : (n_in, N) array
    W : (N, N) array
        Source first.
    decay, theta, sigma : (N,) arrays
    policy : {'RS', 'MS', 'replay'}
    """

    def __init__(
        self,
        W_in,
        W,
        decay,
        theta,
        *,
        F,
        policy="RS",
        noise=1e-6,
        refractory=True,
        sigma=0,
        seed=0,
        sample=0,
        refractory_dropout=0.0,
        spike_dropout=0.0,
        prioritised=True,
        tape=None,
    ):
        self.n_in, self.N = W_in.shape
        self.full = np.vstack([W_in, W])
        self.decay, self.theta = np.broadcast_to(decay, self.N), np.broadcast_to(theta, self.N)
        self.F, self.policy, self.noise, self.refractory, self.sigma = F, policy, noise, refractory, sigma
        self.seed, self.sample = seed, sample
        self.p_refractory, self.p_spike, self.prioritised = refractory_dropout, spike_dropout, prioritised
        self.U = np.zeros(self.N)
        self.q = np.zeros(self.n_in + self.N)  # inputs, then neurons; stays across timesteps
        self.t = -1
        self.tape = tape  # policy 'replay' takes its groups from here

    def begin(self, x):
        """Boundary of a timestep: leak, flags, input (n_in,)."""
        self.t += 1
        self.U = self.U * self.decay
        self.R = np.zeros(self.N, bool)
        self.P = np.zeros(self.N)
        self.S = np.zeros(self.N)
        self.count = np.zeros(self.N, int)
        self.step = 0
        self.order = []  # (forward step, neuron)
        self.I, self.nI = np.zeros(self.N), np.zeros(self.N)
        if self.prioritised:
            self.deliver(np.flatnonzero(x), x)
        else:
            self.q[: self.n_in] += x
            self.step = -1
            self.take()
            self.step = 0

    def draw(self, purpose):
        field = field_of(self.seed, self.sample, self.t, self.step, purpose)
        return uniform(field, np.arange(self.n_in + self.N))

    def deliver(self, group, multiplicity):
        self.I, self.nI = np.zeros(self.N), np.zeros(self.N)
        for source in np.sort(group):  # one agreed order of summation
            self.I = self.I + multiplicity[source] * self.full[source]
            self.nI = self.nI + multiplicity[source] * (self.full[source] != 0)

    def wants_another(self, drop_inhibition=False):
        return bool(self.q.any() or (self.I > 0 if drop_inhibition else self.I != 0).any())

    def forward_step(self, deliver=True):
        U = self.U + self.I
        if self.refractory:
            U[self.R] = 0
        self.S = self.S + self.nI
        fire = (U > self.theta) & (self.I != 0) & (self.S > self.sigma)
        if self.refractory:
            fire &= ~self.R
        self.P[fire] = U[fire]
        self.U = np.where(fire, 0, U)
        kept = self.draw("refractory dropout")[self.n_in :] >= self.p_refractory
        self.R |= fire & kept
        fire &= self.draw("spike dropout")[self.n_in :] >= self.p_spike
        self.count += fire
        self.q[self.n_in :] += fire
        self.order += [(self.step, j) for j in np.flatnonzero(fire)]
        self.take()
        self.step += 1

    def take(self):
        """Choose the group that the next forward step receives."""
        group = self.choose()
        multiplicity = self.q.copy()
        self.q[group] = 0
        self.deliver(group, multiplicity)

    def choose(self):
        queued = np.flatnonzero(self.q)
        if self.policy == "replay":
            step = self.tape.step_ptr[self.t] + self.step + 1
            last = step == self.tape.step_ptr[self.t + 1]
            return queued if last else self.tape.received_into(step)
        u = self.draw("key")[queued]
        P = np.concatenate([np.zeros(self.n_in), self.P])[queued]
        key = u if self.policy == "RS" else -(P + self.noise * u)
        return queued[np.argsort(key, kind="stable")][: self.F]

    def timestep(self, x, drop_inhibition=False):
        """Run one timestep; returns the counts (N,)."""
        self.begin(x)
        first = True
        while first or self.wants_another(drop_inhibition):
            first = False
            self.forward_step()
        return self.count


def run_batch(nets, frames):
    """The published loop: a batch goes on while any sample has queued spikes or positive current."""
    for net, x in zip(nets, frames, strict=True):
        net.begin(x)
    first = True
    while first or any(net.wants_another(drop_inhibition=True) for net in nets):
        first = False
        for net in nets:
            net.forward_step()
    return np.array([net.count for net in nets])
