"""The network whose gradient unlayered backprop is: every spike is replaced by a smooth function of the parameters that
has the spike's value at the parameters of the tape, and follows the surrogate's primitive from there. Dense, in NumPy.
"""

from __future__ import annotations

import numpy as np
from surrogates import primitive

from brian2grad.models.asynchronous.losses import cross_entropy
from brian2grad.models.order.draws import field_of, uniform
from brian2grad.models.order.tape import RESTING


class Smoothed:
    """Replay of a tape with smooth spikes, as a function of weights, thresholds and time constants.

    A spike under a synchronisation threshold is a product of two steps, each smooth while the other one holds still;
    what was received is counted, and counts do not depend on the parameters.

    Parameters
    ----------
    case : Case
    tape : Tape
    """

    def __init__(self, case, tape):
        self.case, self.tape, self.base = case, tape, {}
        self.start = {
            **{f"projection{k}.w": p.weights.copy() for k, p in enumerate(case.connectivity.projections)},
            "neurons.V_th": case.theta.copy(),
            "neurons.tau_m": case.tau.copy(),
            "neurons.sigma": np.full(case.N, float(case.sigma)),
        }
        self.loss(self.start)  # fills `base`

    def loss(self, parameters) -> float:
        """Loss at other parameters; order, groups, resting neurons and tests stay those of the tape."""
        case, loss = self.case, self.case.loss
        net = case.connectivity.with_weights(
            [parameters[f"projection{k}.w"] for k in range(len(case.connectivity.projections))]
        )
        W_in, W = net.dense()
        leak, theta = np.exp(-1e-3 / parameters["neurons.tau_m"]), parameters["neurons.V_th"]
        value = 0.0
        n_samples, n_steps = self.tape.steps.shape
        for s in range(n_samples):
            counts, membranes, history = self._sample(s, W_in, W, leak, theta, parameters["neurons.sigma"])
            label = case.labels[s]
            read = {"counts": counts, "membrane": membranes}.get(case.kind)
            if read is not None:
                value += cross_entropy(loss.gain * read, label, loss.smoothing)[0]
            value += loss.total * cross_entropy(loss.total_gain * counts.sum(axis=0), label, loss.smoothing)[0]
            latency = np.cumprod(1 - history[:, -counts.shape[1] :], axis=0).sum(axis=0) / loss.latency_scale
            weight = 1.0 if case.kind == "latency" else loss.first
            value += weight * cross_entropy(-latency, label, loss.smoothing)[0] + loss.haste * latency[label]
            value += loss.activity / case.N * history.sum()
        return value / n_samples

    def _sample(self, s, W_in, W, leak, theta, sigma):
        case, tape, spec = self.case, self.tape, self.case.unlayered
        n_in, n_out, n_steps = W_in.shape[0], case.connectivity.n_outputs, tape.steps.shape[1]
        U, q = np.zeros(case.N), np.zeros(case.N)
        counts, membranes, history = np.zeros((n_steps, n_out)), np.zeros((n_steps, n_out)), []
        for t in range(n_steps):
            U, R = U * leak, np.zeros(case.N, bool)
            row = s * n_steps + t
            steps = range(tape.step_ptr[row], tape.step_ptr[row + 1])
            current = case.frames[s, t] @ W_in
            received = case.frames[s, t] @ (W_in != 0)
            for g in steps:
                tested = np.zeros(case.N, bool)
                tested[tape.received[tape.received_ptr[g] : tape.received_ptr[g + 1]]] = True
                if spec.variant == "v2":
                    tested = ~R
                own = slice(tape.spike_ptr[g], tape.spike_ptr[g + 1])
                spike = np.zeros(case.N)
                spike[tape.spikes[own]] = 1
                if spec.state == "cut":
                    U = self.base.setdefault((g, "U"), U.copy())
                U = U + current
                U = np.where(R, 0.0, U) if case.refractory else U
                x = U - theta
                x0 = self.base.setdefault((g, "x"), x.copy())
                smooth = tested * (primitive(spec, x) - primitive(spec, x0))
                if case.sigma:
                    received = self.base.setdefault((g, "received"), received.copy())
                    by_sigma = primitive(spec, received - sigma) - primitive(spec, received - case.sigma)
                    deeper = np.arange(case.N) >= case.connectivity.sizes[1]  # the first population's sigma is fixed
                    smooth = smooth * (received > case.sigma) + tested * deeper * (x0 > 0) * by_sigma
                smooth = spike + smooth
                U = U * (1 - (spike if spec.reset == "detached" else smooth))
                R[tape.spikes[own][(tape.flags[own] & RESTING) != 0]] = True
                sent = smooth * self._kept(s, t, g - steps[0])
                history.append(sent)
                counts[t] += sent[-n_out:]
                q = q + sent
                group = self._group(g, q, last=g == steps[-1], n_in=n_in)
                current = (q * group) @ W
                received = received + (q * group) @ (W != 0)
                q = q * (1 - group)
            membranes[t] = U[-n_out:]
        return counts, membranes, np.array(history)

    def _kept(self, s, t, step):
        """Mask of the neurons whose spikes, if they spike in this step, are sent."""
        case = self.case
        drop = field_of(case.seed, s, t, step, "spike dropout")
        return uniform(drop, case.connectivity.n_inputs + np.arange(case.N)) >= case.spike_dropout

    def _group(self, g, q, last, n_in):
        """Mask of the group chosen at the end of step g: real spikes, then silent neurons by number."""
        if (g, "group") in self.base:
            return self.base[g, "group"]
        group, F = np.zeros(len(q)), len(q) if self.case.F is None else self.case.F
        waiting = q > 0.5  # at the tape's own parameters q is what it was
        if last:
            group[waiting] = 1
        else:
            group[self.tape.received_into(g + 1) - n_in] = 1
        silent = np.flatnonzero(~waiting)
        free = len(q) if self.case.unlayered.filler == "all" else max(0, F - int(group.sum()))
        group[silent[:free]] = 1
        return self.base.setdefault((g, "group"), group)
