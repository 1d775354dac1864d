"""The `online` rule: one pass over a recording in windows, with memory that does not grow with its length."""

from __future__ import annotations

import numpy as np

from ..events import StepEvents
from .call import EngineResult, GammaOptions
from .stream import GammaStream

STREAMS = 32 << 20  # bytes that the open streams of a batch may hold
NUMBERS_PER_STEP = 7  # a stream keeps about so many for every neuron and step of its two windows (measured)


def default_window(network) -> int:
    """Steps after which little is left of the gamma kernels: the longest mean delay and three standard deviations.

    Errors pass every hidden layer's buckets once on their way down, so depth adds in.
    """
    taus = [np.asarray(network.taus(i), float) for i in range(1, len(network.sizes))]
    delay = sum(tau.sum() for tau in taus)
    spread = sum(float(np.sqrt(np.square(tau).sum())) for tau in taus)
    return max(1, int(np.ceil((delay + 3 * spread) / float(network.dt))))


def online_gradient(
    engine, parameters, events: StepEvents, *, window, labels, targets, weight, loss, activity, train_tau
) -> EngineResult:
    """Run and reverse a batch window by window; arguments as in `GammaEngine.run`.

    Returns
    -------
    EngineResult
        With the sum of the windows' gradients, as if they had been accumulated along the stream.
    """
    B, T = events.n_samples, events.n_steps
    GammaOptions(loss, labels, targets).check_loss(B, T, engine.plan.sizes[-1])
    readout = np.zeros((B, T, engine.plan.sizes[-1]), engine.dtype)
    total = EngineResult(readout=readout, losses=np.zeros(B), spikes=np.zeros((B, len(parameters) - 1), np.int64))
    arrays = {"labels": labels, "targets": targets, "weight": weight}
    window, steady = min(window, T), {"activity": activity}
    group = samples_at_once(engine.plan.sizes, window, engine.dtype)
    for first in range(0, max(B, 1), group):
        chosen = slice(first, first + group)
        some = events if group >= B else events.take(chosen)
        with GammaStream(engine, parameters, some.n_samples, window) as stream:
            for begin in range(0, T, window):
                end = min(T, begin + window)
                part = {name: None if a is None else a[chosen, begin:end] for name, a in arrays.items()}
                run = stream.advance(parameters, some.steps(begin, end), changed=False, loss=loss, **steady, **part)
                readout[chosen, begin:end] = run.readout
                total.losses[chosen] += run.losses
                total.spikes[chosen] += run.spikes
                _add(total, stream.reverse(parameters, flush=end == T, train_tau=train_tau, **steady))
    return total


def samples_at_once(sizes, window: int, dtype) -> int:
    """Samples whose streams are open together: as many as fit the memory of `STREAMS`, at least eight.

    It does not depend on the number of threads, so neither does the order in which gradients are added.
    """
    per_sample = 2 * window * sum(sizes[1:]) * NUMBERS_PER_STEP * np.dtype(dtype).itemsize
    return max(8, STREAMS // max(1, per_sample))


def _add(total: EngineResult, part: EngineResult) -> None:
    if not total.gradients:
        total.gradients = part.gradients
        return
    for mine, theirs in zip(total.gradients, part.gradients, strict=True):
        mine.neurons += theirs.neurons
        for a, b in zip(mine.weights, theirs.weights, strict=True):
            a += b
        if mine.update is not None:
            mine.update += theirs.update
