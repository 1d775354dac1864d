"""Losses of asynchronous networks: their value, and their derivatives where the reverse pass starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import NetworkError
from ..order.tape import AsynchronousResult

LOSSES = ("counts", "membrane", "latency")


@dataclass
class LossDerivatives:
    """Value of a loss and its derivatives.

    Attributes
    ----------
    loss : float
    by_count : (n_samples, T, n_out) array
        With respect to the output counts.
    by_membrane : (n_samples, T, n_out) array or None
        ... the output membranes at the end of each timestep.
    by_latency : (n_samples, n_out) array or None
        ... the forward steps before each output's first spike.
    by_spike : float
        ... every spike of the network.
    """

    loss: float
    by_count: np.ndarray
    by_membrane: np.ndarray | None = None
    by_latency: np.ndarray | None = None
    by_spike: float = 0.0


@dataclass(frozen=True)
class AsyncLoss:
    """What is asked of the output, plus regularisers.

    Attributes
    ----------
    kind : {'counts', 'membrane', 'latency'}
        Softmax cross entropy with logits: spikes of an output in one timestep, averaged over timesteps; its membrane at
        the end of a timestep, averaged likewise (the output should then hardly spike); minus the forward steps of the
        sample before its first spike, in units of `latency_scale`.
    gain : float
        Factor of counts or membranes before the softmax.
    total : float
        Weight of a second cross entropy, on the counts summed over all timesteps: what a drained network is read by.
    total_gain : float
        Factor of those counts.
    smoothing : float
        Label smoothing: this share of the target is spread over all classes.
    latency_scale : float
        Forward steps per unit of a latency logit.
    first : float
        Weight of a latency cross entropy besides another kind.
    haste : float
        Penalty on the correct output's latency, per `latency_scale` forward steps.
    activity : float
        Penalty on the mean number of spikes per neuron and sample.
    """

    kind: str = "counts"
    gain: float = 1.0
    total: float = 0.0
    total_gain: float = 1.0
    smoothing: float = 0.0
    latency_scale: float = 4.0
    first: float = 0.0
    haste: float = 0.0
    activity: float = 0.0

    def __post_init__(self):
        if self.kind not in LOSSES:
            raise NetworkError(f"loss '{self.kind}' is unknown; use one of {', '.join(LOSSES)}.")
        if not 0 <= self.smoothing < 1:
            raise NetworkError(f"smoothing = {self.smoothing} must lie in [0, 1).")
        if not self.latency_scale > 0:
            raise NetworkError(f"latency_scale = {self.latency_scale} must be positive.")

    @property
    def needs_membrane(self) -> bool:
        """Whether `evaluate` has to be given membranes."""
        return self.kind == "membrane"

    def require_timesteps(self) -> None:
        """Refuse a loss that looks at a whole sample: a part of it is all that online learning sees."""
        if self.kind == "latency" or self.total or self.first or self.haste:
            raise NetworkError(
                "Online learning sees parts of a sample: use loss kind 'counts' (gain > 0) or 'membrane' with "
                "total = first = haste = 0."
            )

    def evaluate(self, outcome: AsynchronousResult, labels, membranes=None) -> LossDerivatives:
        """Loss of a drained run and its derivatives.

        Parameters
        ----------
        outcome : AsynchronousResult
        labels : (n_samples,) array of int
        membranes : (n_samples, T, n_out) array, optional

        Returns
        -------
        LossDerivatives
        """
        outputs = outcome.outputs.astype(float)
        n_samples, n_steps, n_out = outputs.shape
        labels = _checked(labels, n_samples, n_out)
        result = LossDerivatives(0.0, np.zeros_like(outputs))
        if self.kind == "counts":
            result.loss, slope = cross_entropy(self.gain * outputs, labels[:, None], self.smoothing)
            result.by_count += self.gain * slope
        if self.kind == "membrane":
            result.loss, slope = cross_entropy(
                self.gain * np.asarray(membranes, float), labels[:, None], self.smoothing
            )
            result.by_membrane = self.gain * slope
        if self.total:
            loss, slope = cross_entropy(self.total_gain * outputs.sum(axis=1), labels, self.smoothing)
            result.loss += self.total * loss
            result.by_count += (self.total * self.total_gain * slope)[:, None]
        self._latency(outcome, labels, result)
        if self.activity:
            per = self.activity / (n_samples * outcome.n_neurons)
            result.loss += per * float(outcome.counters["spikes"].sum())
            result.by_spike = per
        return result

    def _latency(self, outcome, labels, result) -> None:
        weight = 1.0 if self.kind == "latency" else self.first
        if not weight and not self.haste:
            return
        latency = first_spike_steps(outcome) / self.latency_scale
        slope = np.zeros_like(latency)
        if weight:
            loss, by_logit = cross_entropy(-latency, labels, self.smoothing)
            result.loss += weight * loss
            slope -= weight * by_logit
        if self.haste:
            rows = np.arange(len(labels))
            result.loss += self.haste * float(latency[rows, labels].mean())
            slope[rows, labels] += self.haste / len(labels)
        result.by_latency = slope / self.latency_scale


def cross_entropy(logits, labels, smoothing: float = 0.0) -> tuple[float, np.ndarray]:
    """Mean softmax cross entropy over all but the last axis, and its derivative.

    Parameters
    ----------
    logits : (..., n_classes) array
    labels : array of int
        Broadcast against the leading axes of `logits`.
    smoothing : float
    """
    shape = logits.shape
    labels = np.broadcast_to(labels, shape[:-1]).ravel()
    above = (logits - logits.max(axis=-1, keepdims=True)).reshape(len(labels), shape[-1])
    p = np.exp(above)
    total = p.sum(axis=1, keepdims=True)
    target = np.full(p.shape, smoothing / shape[-1])
    target[np.arange(len(labels)), labels] += 1 - smoothing
    loss = (np.log(total).sum() - np.vdot(target, above)) / len(labels)
    return float(loss), ((p / total - target) / len(labels)).reshape(shape)


def first_spike_steps(outcome: AsynchronousResult) -> np.ndarray:
    """Forward steps of the sample before the first spike of each output, (n_samples, n_out); all of them without."""
    steps = outcome.counters["forward_steps"]
    earlier = np.cumsum(steps, axis=1) - steps
    first = outcome.first[..., 1]
    total = steps.sum(axis=1)[:, None, None]
    at = np.where(first > 0, earlier[:, :, None] + first - 1, total)
    return at.min(axis=1).astype(float)


def _checked(labels, n_samples: int, n_out: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != (n_samples,):
        raise NetworkError(
            f"labels have shape {labels.shape}, expected ({n_samples},): an asynchronous network learns one per sample."
        )
    if len(labels) and (labels.min() < 0 or labels.max() >= n_out):
        raise NetworkError(f"labels lie in {labels.min()} .. {labels.max()}; the network has {n_out} outputs.")
    return labels.astype(np.int64)


def output_membranes(outcome: AsynchronousResult, network, state=None) -> np.ndarray:
    """Membrane of every output at the end of every timestep, (n_samples, T, n_out), read off the tape.

    Parameters
    ----------
    outcome : AsynchronousResult
    network : AsynchronousNetwork
    state : (n_samples, N) array, optional
        Membranes the run started from.
    """
    tape, (n_samples, n_steps) = outcome.tape, outcome.tape.steps.shape
    n_out, first = network.connectivity.n_outputs, network.n_neurons - network.connectivity.n_outputs
    n_forward = len(tape.spike_ptr) - 1
    step = np.repeat(np.arange(n_forward), np.diff(tape.received_ptr))
    mine = tape.received >= first
    step, unit, value = step[mine], tape.received[mine] - first, tape.membrane[mine].astype(float)
    spiked = np.repeat(np.arange(n_forward), np.diff(tape.spike_ptr)) * network.n_neurons + tape.spikes
    value[np.isin(step * network.n_neurons + unit + first, spiked)] = 0.0
    row = np.repeat(np.arange(tape.steps.size), tape.steps.ravel())[step]
    table = np.full((tape.steps.size, n_out), np.nan)
    table[row, unit] = value  # in order, so the last one of a timestep stays
    table = table.reshape(n_samples, n_steps, n_out)
    leak = network.leak()[first:]
    now = np.zeros((n_samples, n_out)) if state is None else np.array(state[:, first:], float)
    for t in range(n_steps):
        now = np.where(np.isnan(table[:, t]), now * leak, table[:, t])
        table[:, t] = now
    return table
