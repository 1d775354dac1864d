"""Continuous time: every spike travels for its physical delay, thresholds are tested on arrival.

Semantics, which every other implementation must match exactly:

1. Time is a whole number of picoseconds. Input times, delays and service times are rounded to it once, so sums of them
   are exact and "at the same time" is well defined.
2. A spike of source s at time t departs at once if ``service`` is zero. Otherwise its core c serves spikes one after
   another in the order (spike time, source): it starts at ``max(t, free_c)``, and the spike departs at the end of its
   service, which becomes ``free_c``. Inputs are not served.
3. A departed spike reaches target j at departure + ``axonal[s]`` + ``synaptic[s, j]`` (inputs: ``axonal`` is zero).
4. All arrivals at one neuron at exactly the same time are summed, in the order (source, synapse), then: the membrane
   has decayed by ``exp(-(t - t_last)/tau_m)`` since the last arrival; the sum is added; the threshold is tested once.
   An arrival before ``t_spike + refractory`` of the neuron is lost; one exactly at that time counts.
5. Neurons that spike at the same time do so in ascending order. Spikes that arrive without any delay are received in a
   further round at the same time, after the round that caused them; each round sums and tests as in 4.
6. The sample ends when nothing travels any more, or by a stop rule: spike budget, or first output (the round in which
   it happens is completed).
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ...checks import processors
from ...errors import NetworkError
from ...native.build import render
from ...native.interface import Arrays, check_status, library
from ..lowering import decay_rates, lower

PICOSECONDS = 1e12
WINDOW = 2 * 10**10  # picoseconds over which `max_rate` is averaged
_LONGEST = 2**62


def to_ticks(value, name: str) -> np.ndarray:
    """Times as whole picoseconds."""
    ticks = np.rint(np.asarray(value, dtype=float) * PICOSECONDS)
    if not (np.isfinite(ticks).all() and (ticks >= 0).all() and (ticks < _LONGEST).all()):
        raise NetworkError(f"{name} must be a time between 0 and 53 days.")
    return ticks.astype(np.int64)


def ticks_of(events) -> np.ndarray:
    """Times of a recording as whole picoseconds, exact where the time unit is a whole number of them."""
    times, unit = np.asarray(events.times), float(events.time_unit_us) * 1e6
    if times.max(initial=0) * unit >= _LONGEST:
        raise NetworkError(
            f"The events reach {times.max() * unit / PICOSECONDS:g} s; continuous time ends after 53 days."
        )
    if abs(unit - round(unit)) < 1e-9 * unit:
        return times.astype(np.int64) * round(unit)
    return np.rint(times * unit).astype(np.int64)


def spikes_allowed(max_rate: float, n_neurons: int) -> int:
    """Spikes of a network within a window of `WINDOW` at a mean rate of `max_rate` in hertz."""
    return min(max(1, round(max_rate * n_neurons * WINDOW / PICOSECONDS)), _LONGEST // 2)


def runaway(sample: int, seconds: float, max_rate: float) -> NetworkError:
    """Error about a sample that spiked too often until then."""
    return NetworkError(
        f"Runaway excitation: sample {sample} passed max_rate = {max_rate:g} Hz per neuron in {WINDOW / 1e9:g} ms, or "
        f"goes on and on without input, at {seconds:g} s. Weaken the recurrent weights, raise V_th, give a refractory "
        "period, set a spike budget as stop rule, or raise max_rate."
    )


class TimedEngine:
    """A network in continuous time.

    Parameters
    ----------
    connectivity : Connectivity
    model : AsynchronousModel
    scheduler : TimedScheduler
    dtype : {'float32', 'float64'}
    threads : int, optional
    """

    def __init__(self, connectivity, model, scheduler, dtype="float64", threads=None):
        self.connectivity, self.dtype = connectivity, np.dtype(dtype)
        self.threads = threads or processors()
        code = lower(model)
        n = connectivity.n_neurons
        source = render("asynchronous/timed/timed.cpp.jinja", **code.__dict__)
        self._ffi, self._lib = library(source, "asynchronous/timed/arguments.h", self.dtype.name)
        arrays = self._arrays = Arrays(self._ffi, self.dtype)
        full = lambda values: np.broadcast_to(np.asarray(values, dtype=float), (n,))  # noqa: E731
        axonal = np.asarray(scheduler.axonal, dtype=float)
        if axonal.shape not in ((), (n,)):
            raise NetworkError(f"axonal has {len(axonal)} delays for {n} neurons.")
        departure = np.concatenate([np.zeros(connectivity.n_inputs, np.int64), to_ticks(full(axonal), "axonal")])
        self._fields = {
            "n_inputs": connectivity.n_inputs,
            "n_neurons": n,
            "n_outputs": connectivity.n_outputs,
            "n_cores": scheduler.cores,
            "service": int(to_ticks(scheduler.service, "service")),
            "refractory": int(to_ticks(scheduler.refractory, "refractory")),
            **self._rows(scheduler),
            "axonal": arrays.input("axonal", departure, np.int64),
            "core": arrays.input("core", np.arange(n) * scheduler.cores // n, np.int32),
            "rate": arrays.input("rate", decay_rates(model, n) / PICOSECONDS, float),
            "parameters": arrays.table(
                [arrays.input(name, full(model.constants[name])) for name in code.parameters], "const R"
            ),
        }

    def _rows(self, scheduler) -> dict:
        """All synapses by source, each row sorted by delay: a travelling spike needs one place in the heap."""
        net = self.connectivity
        synaptic = scheduler.synaptic
        shared = not isinstance(synaptic, list | tuple) and np.ndim(synaptic) == 0
        if not shared and len(synaptic) != len(net.projections):
            raise NetworkError(f"synaptic has {len(synaptic)} entries for {len(net.projections)} projections.")
        parts = []
        for k, p in enumerate(net.projections):
            delay = np.asarray(synaptic if shared else synaptic[k], dtype=float)
            if sparse.issparse(p.weights):
                coo = p.weights.tocoo()
                rows, columns, values = coo.row, coo.col, coo.data
                expected = values.shape
                delay = np.broadcast_to(delay, expected) if delay.ndim == 0 else delay
            else:
                rows, columns = np.nonzero(p.weights)
                values, expected = p.weights[rows, columns], p.weights.shape
                delay = np.broadcast_to(delay, expected)[rows, columns] if delay.shape in ((), expected) else delay
            if delay.shape != values.shape:
                raise NetworkError(f"synaptic[{k}] has shape {delay.shape}; give one delay or shape {expected}.")
            first = int(net.starts[p.target]) - net.n_inputs
            parts.append((rows + int(net.starts[p.source]), columns + first, values, to_ticks(delay, "synaptic")))
        source, target, weight, delay = (np.concatenate(c) for c in zip(*parts, strict=True))
        order = np.lexsort((np.arange(len(source)), delay, source))
        n_sources = net.n_inputs + net.n_neurons
        ptr = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=n_sources))]).astype(np.int64)
        arrays = self._arrays
        return {
            "ptr": arrays.input("ptr", ptr, np.int64),
            "targets": arrays.input("targets", target[order], np.int32),
            "weights": arrays.input("weights", weight[order]),
            "delays": arrays.input("delays", delay[order], np.int64),
        }

    def run(self, offsets, units, ticks, max_rate: float, stop_output: bool = False, stop_spikes: int = 0):
        """Run a batch.

        Parameters
        ----------
        offsets : (n_samples + 1,) array
            Events of sample s are ``offsets[s] : offsets[s + 1]``.
        units : (n_events,) array
        ticks : (n_events,) array of int64
            Picoseconds, ascending within a sample.
        max_rate : float
            Spikes per neuron and second beyond which excitation counts as runaway, if `stop_spikes` does not end it.
        stop_output, stop_spikes
            Stop at the first output spike, or after so many spikes (0: never).

        Returns
        -------
        sizes : (n_samples,) array
            Spikes of every sample.
        times : (n_spikes,) array of int64
            Picoseconds.
        neurons : (n_spikes,) array
        synaptic_operations, tests : (n_samples,) arrays
        """
        arrays, n_samples, n_events = Arrays(self._ffi, self.dtype), len(offsets) - 1, len(units)
        failure, counts = np.zeros(2, np.int64), np.zeros((n_samples, 3), np.int64)
        arguments = {
            **self._fields,
            "n_samples": n_samples,
            "threads": self.threads,
            "window": WINDOW,
            "max_spikes": _LONGEST // 2 if stop_spikes else spikes_allowed(max_rate, self.connectivity.n_neurons),
            "stop_output": bool(stop_output),
            "stop_spikes": min(stop_spikes or _LONGEST, _LONGEST),
            "offsets": arrays.offsets("offsets", offsets, n_samples, n_events),
            "units": arrays.input("units", units, np.int32, least=0, below=self.connectivity.n_inputs),
            "times": arrays.input("times", ticks, np.int64, shape=(n_events,), least=0, below=_LONGEST),
            "counts": arrays.output(counts),
            "failure": arrays.output(failure),
        }
        samples = self._ffi.new("void**")
        status = self._lib.timed_run(self._ffi.new("TimedArguments*", arguments), samples)
        if status == self._lib.RUNAWAY:
            raise runaway(int(failure[0]), failure[1] / PICOSECONDS, max_rate)
        check_status(status, "run fewer samples at a time")
        times, neurons = np.zeros(counts[:, 0].sum(), np.int64), np.zeros(counts[:, 0].sum(), np.int32)
        self._lib.timed_take(samples[0], arrays.output(times), arrays.output(neurons))
        return counts[:, 0], times, neurons, counts[:, 1], counts[:, 2]
