"""Leaky integrate-and-fire networks and the rules SpikingGamma is compared with in ``resolution.py``.

One hidden layer and a leaky readout, membrane time constants in seconds, so that the time step changes only the decay:

.. math::
    v_t = \\lambda (v_{t-1} - s_{t-1}) + W_{in} x_t, \\quad s_t = [v_t > 1], \\quad
    u_t = \\lambda u_{t-1} + W_{out} s_t, \\quad \\lambda = e^{-dt/\\tau}

Input events are counts, as SpikingGamma's; the loss is the cross entropy of every read step; where a derivative of the
spike is needed it is that of the fast sigmoid. Rules:

``bptt``
    Back through time, reset included. Keeps every step.
``ottt``
    Online training through time (Xiao et al. 2022), summed over a recording: presynaptic traces that decay with the
    membrane, times the error of the same step; the reset is left out.
``es_d_rtrl``
    Wang et al. 2026 (braintrace's ``pp_prop``): presynaptic traces with a decay of their own, times a smoothed
    derivative of the membrane, with braintrace's correction for the first steps.
``fptt``
    Forward propagation through time (Kag & Saligrama 2021): an update after every part of a recording, of this part's
    loss and a pull towards a running average of the weights; no gradient passes from part to part.

Traces times errors are summed over windows of steps: within one, events times errors filtered backwards is the same
sum without a dense product per step. Memory holds one window whatever the length of a recording.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from brian2grad.models.events import StepEvents
from brian2grad.models.readout import probabilities, scores

RULES = ("bptt", "ottt", "es_d_rtrl", "fptt")
SLOPE = 5.0
WINDOW = 64


def heaviside(z):
    """Spikes."""
    return (z > 0).astype(z.dtype)


def fast_sigmoid(z):
    """The smooth function whose derivative stands in for that of `heaviside`."""
    return z / (1 + SLOPE * np.abs(z))


def surrogate(z):
    """Derivative of `fast_sigmoid`."""
    return 1 / np.square(1 + SLOPE * np.abs(z))


def forwards(x, decay, before):
    """``y_t = decay*y_{t-1} + x_t`` along the first axis, from ``y_{-1} = before``."""
    y, decay = x.copy(), x.dtype.type(decay)
    for t in range(len(y)):
        y[t] += decay * before
        before = y[t]
    return y


def backwards(x, decay):
    """``y_t = x_t + decay*y_{t+1}`` along the first axis."""
    return forwards(x[::-1], decay, np.zeros_like(x[0]))[::-1]


def by_sample(x):
    """(n_steps, n_samples, n) as rows, sample after sample, the order of events."""
    return np.ascontiguousarray(x.transpose(1, 0, 2)).reshape(-1, x.shape[2])


def rows(x):
    """(n_steps, n_samples, n) as rows, step after step."""
    return x.reshape(-1, x.shape[2])


@dataclass
class Part:
    """Some steps of a batch: events (rows sample after sample), membrane minus threshold, spikes, readout."""

    x: csr_matrix
    z: np.ndarray
    s: np.ndarray
    u: np.ndarray


class LifNetwork:
    """The network of this module's docstring.

    Parameters
    ----------
    sizes : (n_in, n_hidden, n_out)
    tau, dt, read_from : float
        Seconds.
    seed : int
        Of the weights.
    spike : callable
        `heaviside`, or `fast_sigmoid` for the smooth network whose gradient `bptt` is.
    """

    def __init__(self, sizes, *, tau=0.03, dt=0.01, read_from=0.0, seed=0, dtype=np.float32, spike=heaviside):
        rng = np.random.default_rng(seed)
        self.sizes, self.tau, self.dt, self.read_from = tuple(sizes), tau, dt, read_from
        self.dtype, self.spike = dtype, spike
        self.parameters = {
            "w_in": (rng.normal(size=sizes[:2]) / np.sqrt(sizes[0])).astype(dtype),
            "w_out": (rng.normal(size=sizes[1:]) / np.sqrt(sizes[1])).astype(dtype),
        }

    @property
    def decay(self) -> float:
        """Of the membranes over a step."""
        return float(np.exp(-self.dt / self.tau))

    @property
    def first_step(self) -> int:
        """That is read."""
        return int(np.ceil(self.read_from / self.dt - 1e-9))

    def calibrate(self, events: StepEvents) -> None:
        """Scale the weights so that membranes (without reset) and readout have a root mean square of one."""
        x, B, T = counts(events, self.dtype), events.n_samples, events.n_steps
        drive = (x @ self.parameters["w_in"]).reshape(B, T, -1).transpose(1, 0, 2)
        v = forwards(drive, self.decay, np.zeros_like(drive[0]))
        self.parameters["w_in"] /= np.sqrt(np.mean(np.square(v)))
        u = self.advance(events, self.start(B)).u
        self.parameters["w_out"] /= np.sqrt(np.mean(np.square(u)))

    def start(self, n_samples: int) -> dict:
        """State before the first step."""
        _, hidden, out = self.sizes
        return {name: np.zeros((n_samples, n), self.dtype) for name, n in (("v", hidden), ("s", hidden), ("u", out))}

    def advance(self, events: StepEvents, state: dict) -> Part:
        """Run the next steps from `state`, which is changed."""
        x, decay = counts(events, self.dtype), np.dtype(self.dtype).type(self.decay)
        z = by_time(x @ self.parameters["w_in"], events.n_samples)
        s, v, spikes = np.empty_like(z), state["v"], state["s"]
        for t in range(len(z)):
            v = decay * (v - spikes) + z[t]
            z[t] = v - 1
            spikes = s[t] = self.spike(z[t])
        u = forwards(s @ self.parameters["w_out"], self.decay, state["u"])
        state.update(v=v, s=spikes, u=u[-1])
        return Part(x, z, s, u)

    def error(self, u, labels, weight, begin: int) -> tuple[float, np.ndarray]:
        """Cross entropy of the steps from `begin` on, `weight` each, and its derivative with respect to `u`."""
        p = probabilities(u)
        read = (weight * (begin + np.arange(len(u)) >= self.first_step)).astype(u.dtype)[:, None]
        chosen = np.arange(u.shape[1])
        loss = -float((read * np.log(p[:, chosen, labels])).sum())
        p[:, chosen, labels] -= 1
        return loss, p * read[..., None]

    def predict(self, events: StepEvents, batch: int = 100) -> tuple[np.ndarray, np.ndarray]:
        """Class and number of hidden spikes of every sample, in constant memory."""
        classes, spikes = [], []
        for first in range(0, len(events), batch):
            samples = events.take(slice(first, first + batch))
            state, evidence, n = self.start(len(samples)), 0.0, 0.0
            for begin, part in windows(samples, WINDOW):
                run = self.advance(part, state)
                n = n + run.s.sum(axis=(0, 2))
                evidence = evidence + scores(run.u.transpose(1, 0, 2), min(len(run.u), max(0, self.first_step - begin)))
            classes.append(evidence.argmax(axis=1))
            spikes.append(n)
        return np.concatenate(classes), np.concatenate(spikes)


def counts(events: StepEvents, dtype) -> csr_matrix:
    """Events as a sparse matrix, a row for every sample and step."""
    shape = (events.n_samples * events.n_steps, events.n_units)
    return csr_matrix((events.values.astype(dtype), events.units.astype(np.int32), events.ptr), shape=shape)


def by_time(rows, n_samples: int):
    """Undo `by_sample`."""
    return np.ascontiguousarray(rows.reshape(n_samples, -1, rows.shape[1]).transpose(1, 0, 2))


def windows(events: StepEvents, length: int):
    """First step and events of one stretch after the other."""
    for begin in range(0, events.n_steps, length):
        yield begin, events.steps(begin, begin + length)


class Trace:
    """Presynaptic trace ``a_t = decay*a_{t-1} + x_t`` and the gradients ``sum_t a_t (outer) delta_t``."""

    def __init__(self, decay: float, n_samples: int, n_pre: int, dtype):
        self.decay, self.dtype, self.value = decay, dtype, np.zeros((n_samples, n_pre), dtype)

    def gradient(self, x, delta) -> np.ndarray:
        """Take the events `x` of the next steps, and give the sum over these steps."""
        w, B, _ = delta.shape
        passed = backwards(delta, self.decay)
        gradient = np.asarray(x.T @ by_sample(passed)) + self.value.T @ (self.decay * passed[0])
        left = np.tile(self.decay ** np.arange(w - 1, -1, -1.0), B).astype(self.dtype)
        pick = csr_matrix((left, np.arange(w * B), np.arange(0, w * B + 1, w)), shape=(B, w * B))
        fresh = pick @ x
        self.value = self.value * self.dtype(self.decay**w) + (fresh.toarray() if hasattr(fresh, "toarray") else fresh)
        return gradient


def bptt_gradient(network: LifNetwork, part: Part, error) -> dict:
    """Gradient through the steps of one part."""
    decay = np.dtype(network.dtype).type(network.decay)
    g_u = backwards(error, network.decay)
    slope = surrogate(part.z)
    g_v = (g_u @ network.parameters["w_out"].T) * slope
    through = decay * (1 - slope)  # a spike takes one off the next step's membrane
    for t in range(len(g_v) - 2, -1, -1):
        g_v[t] += through[t] * g_v[t + 1]
    w_out = rows(part.s).T @ rows(g_u)
    return {"w_in": np.asarray(part.x.T @ by_sample(g_v)), "w_out": w_out}


class Online:
    """OTTT and ES-D-RTRL: what is carried from step to step."""

    def __init__(self, network: LifNetwork, rule: str, n_samples: int, trace_tau: float | None):
        n_in, hidden, _ = network.sizes
        self.network, self.rule = network, rule
        tau = network.tau if rule == "ottt" else trace_tau
        self.decay = float(np.exp(-network.dt / tau))
        self.traces = [Trace(self.decay, n_samples, n, network.dtype) for n in (n_in, hidden)]
        self.f = np.zeros((n_samples, hidden), network.dtype)
        self.f_out, self.slope, self.steps = 0.0, np.zeros_like(self.f), 0

    def gradient(self, part: Part, error) -> dict:
        """Gradient of the next steps, of which `error` is the derivative with respect to the readout."""
        slope = surrogate(part.z)
        delta = (error @ self.network.parameters["w_out"].T) * slope
        if self.rule == "es_d_rtrl":
            f, f_out = self._derivatives(slope)
            delta, error = delta * f, error * f_out[:, None, None]
        self.steps += len(slope)
        x, s = self.traces
        return {"w_in": x.gradient(part.x, delta), "w_out": s.gradient(by_sample(part.s), error)}

    def _derivatives(self, slope):
        """Smoothed derivative of membrane and readout by their input, ``f <- a D f + (1 - a)``, corrected."""
        a, leak = self.decay, self.network.decay
        f, f_out = np.empty_like(slope), np.empty(len(slope), slope.dtype)
        for t in range(len(slope)):
            self.f = a * leak * (1 - self.slope) * self.f + (1 - a)
            self.f_out = a * leak * self.f_out + (1 - a)
            correction = 1 - a ** (self.steps + t + 1)
            f[t], f_out[t] = self.f / correction, self.f_out / correction
            self.slope = slope[t]
        return f.astype(slope.dtype, copy=False), f_out


def gradient(network: LifNetwork, events: StepEvents, labels, rule: str, trace_tau=None, window=WINDOW):
    """Loss of a batch (mean over samples and read steps) and its gradient.

    Parameters
    ----------
    network : LifNetwork
    events : StepEvents
    labels : (n_samples,) array of int
    rule : {'bptt', 'ottt', 'es_d_rtrl'}
    trace_tau : float
        Time constant of the presynaptic traces of ``'es_d_rtrl'`` in seconds.
    window : int
        Steps computed at a time by the online rules; changes nothing but rounding.

    Returns
    -------
    loss : float
    gradients : dict of str to array
    """
    B, T = events.n_samples, events.n_steps
    weight = 1 / (B * (T - network.first_step))
    state, total, gradients = network.start(B), 0.0, {}
    online = None if rule == "bptt" else Online(network, rule, B, trace_tau)
    for begin, part_events in windows(events, T if rule == "bptt" else window):
        part = network.advance(part_events, state)
        loss, error = network.error(part.u, labels, weight, begin)
        part_gradients = bptt_gradient(network, part, error) if online is None else online.gradient(part, error)
        total += loss
        for name, value in part_gradients.items():
            gradients[name] = gradients[name] + value if name in gradients else value
    return total, gradients


class Fptt:
    """Forward propagation through time: updates within a recording, held together by a running average.

    Parameters
    ----------
    network : LifNetwork
    optimiser
        Of the regularised loss.
    part : int
        Steps from update to update.
    alpha : float
        Strength of the pull.
    """

    def __init__(self, network: LifNetwork, optimiser, part: int, alpha: float):
        self.network, self.optimiser, self.part, self.alpha = network, optimiser, int(part), alpha
        self.average = {name: value.copy() for name, value in network.parameters.items()}
        # Stands for the gradient of the last part's loss at the new weights: equal to it where the update is exact.
        self.past = {name: np.zeros_like(value) for name, value in network.parameters.items()}

    def batch(self, events: StepEvents, labels, factor: float = 1.0) -> float:
        """Learn from a batch; returns the mean loss of its parts."""
        network, state, losses = self.network, self.network.start(events.n_samples), []
        for begin, part_events in windows(events, self.part):
            part = network.advance(part_events, state)
            read = begin + len(part.u) - max(begin, network.first_step)
            if read <= 0:
                continue
            loss, error = network.error(part.u, labels, 1 / (events.n_samples * read), begin)
            self.update(bptt_gradient(network, part, error), factor)
            losses.append(loss)
        return float(np.mean(losses))

    def update(self, gradients: dict, factor: float) -> None:
        """One step on loss plus regulariser, then the running average."""
        parameters, alpha = self.network.parameters, np.float32(self.alpha)
        for name, value in parameters.items():
            gradients[name] += alpha * (value - self.average[name]) - self.past[name]
        self.optimiser.step(parameters, gradients, factor)
        for name, value in parameters.items():
            self.past[name] -= alpha * (value - self.average[name])
            self.average[name] = (self.average[name] + value - self.past[name] / alpha) / 2

    def settle(self) -> None:
        """Go on from the running average (at the end of an epoch)."""
        for name, value in self.network.parameters.items():
            value[...] = self.average[name]
