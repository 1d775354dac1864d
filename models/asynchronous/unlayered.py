"""The compiled reverse pass of asynchronous networks: generated from the neuron's equations and a surrogate."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ..native.build import compile_library, render
from ..native.structures import Population, address
from ..order.tape import Tape
from .connectivity import Connectivity
from .lowering import leak_factors
from .surrogate_lowering import lower_surrogate

# Gradients are summed over this many groups of samples, whatever the number of threads: results do not depend on it.
N_SHARDS = 8
FILLERS = {"none": 0, "first": 1, "random": 2, "all": 1}  # "all": first ones, without end


@dataclass(frozen=True)
class Reversal:
    """What the reverse pass differentiates; see `brian2grad.training.unlayered.Unlayered`.

    Attributes
    ----------
    every : bool
        Every neuron has a surrogate term in every step, not only those that took current.
    cut, detach_reset : bool
        No gradient from one forward step to the next through the membrane; none through the reset.
    filler : {'first', 'random', 'all', 'none'}
        Which silent neurons fill the free slots of a forward group.
    slots : int
        Neurons per forward group, silent ones included.
    ties : bool
        A group is all that waits with the smallest key (layer-synchronous order); all silent neurons go with it.
    truncate : int
        Cut membranes and queue at every so many forward steps; 0 never.
    cut_timesteps : bool
        Cut them between timesteps.
    steepness, gain, sigma_steepness, sigma_gain : float
        Numbers ``k`` and ``gain`` of the primitive, for the membrane and the synchronisation threshold.
    seed : int
        Of the run that wrote the tape.
    spike_dropout : float
        Of that run.
    """

    every: bool
    cut: bool
    detach_reset: bool
    filler: str
    slots: int
    ties: bool
    truncate: int
    cut_timesteps: bool
    steepness: float
    gain: float
    sigma_steepness: float
    sigma_gain: float
    seed: int
    spike_dropout: float


class UnlayeredEngine:
    """Reverse pass over tapes of networks with one neuron model and one surrogate.

    Parameters
    ----------
    model : AsynchronousModel
    surrogate : {'arctan', 'fast_sigmoid', 'sigmoid'}
    dtype : {'float32', 'float64'}
        Of the tapes as well.
    threads : int, optional
        Default: all cores this process may use.
    """

    def __init__(self, model, surrogate="arctan", dtype="float32", threads=None):
        self.dtype = np.dtype(dtype)
        self.threads = threads or len(os.sched_getaffinity(0))
        code = lower_surrogate(model, surrogate)
        self.parameters: tuple[str, ...] = code["parameters"]
        source = render("asynchronous/unlayered.cpp.jinja", **code)
        self._library = compile_library(source, self.dtype.name)
        self._library.unlayered_reverse.restype = None
        self._work = np.zeros(0, self.dtype)

    def reverse(
        self,
        tape: Tape,
        connectivity: Connectivity,
        model,
        dt: float,
        reversal: Reversal,
        *,
        by_count,
        by_membrane=None,
        by_latency=None,
        by_spike=0.0,
        sigma=None,
        sample_ids=None,
        train_leak=False,
        initial=None,
        first_step=0,
    ) -> dict:
        """Gradient of a loss over the tape.

        Parameters
        ----------
        tape : Tape
            Recorded with ``record='tape'``, drained.
        connectivity : Connectivity
        model : AsynchronousModel
        dt : float
            Length of a timestep in seconds.
        reversal : Reversal
        by_count : (n_samples, T, n_out) array
            Derivative of the loss with respect to the output counts.
        by_membrane : (n_samples, T, n_out) array, optional
            ... to the output membranes at the end of each timestep.
        by_latency : (n_samples, n_out) array, optional
            ... to the number of forward steps before each output's first spike.
        by_spike : float
            ... to every spike.
        sigma : (N,) array, optional
            Synchronisation threshold; ``None`` without one.
        sample_ids : (n_samples,) array of int, optional
            Those of the run.
        train_leak : bool
            Whether the gradient of the leak factor is wanted.
        initial : (n_samples, N) array, optional
            Membranes before the leak of the first timestep, constants here; at rest by default.
        first_step : int
            Number of the first timestep, as in the run.

        Returns
        -------
        dict
            ``weights`` (one array per projection; of the stored weights where sparse), ``leak`` (N,), ``sigma``
            (N,), and one (N,) array per threshold parameter.
        """
        call = _Call(self.dtype)
        n, (n_samples, n_steps) = connectivity.n_neurons, tape.steps.shape
        sources, projections, n_weights = call.network(connectivity)
        n_total = n_weights + (len(self.parameters) + 2) * n
        if self._work.size < N_SHARDS * n_total:
            self._work = np.zeros(N_SHARDS * n_total, self.dtype)
        gradient = np.zeros(n_total, self.dtype)
        ids = np.arange(n_samples) if sample_ids is None else sample_ids
        tables = [call.keep(np.broadcast_to(model.constants[name], (n,))) for name in self.parameters]
        job = Job(
            n_samples=n_samples, n_steps=n_steps, n_inputs=connectivity.n_inputs, n_neurons=n,
            n_outputs=connectivity.n_outputs, n_weights=n_weights, first_layer=connectivity.sizes[1],
            layer_of=call.keep(connectivity.layer_of(), np.int32), sources=sources, projections=projections,
            leak=call.keep(leak_factors(model, dt, n)), sigma=None if sigma is None else call.keep(sigma),
            parameters=call.keep(np.array(tables or [0]), np.uint64),
            sample_ids=call.keep(ids, np.int64), initial=call.optional(initial), first_step=first_step,
            seed=reversal.seed % 2**64, spike_dropout=reversal.spike_dropout,
            every=reversal.every, cut=reversal.cut, detach_reset=reversal.detach_reset, slots=reversal.slots,
            ties=reversal.ties, filler=FILLERS[reversal.filler], truncate=reversal.truncate,
            cut_timesteps=reversal.cut_timesteps, train_leak=train_leak,
            steepness=reversal.steepness, gain=reversal.gain,
            sigma_steepness=reversal.sigma_steepness, sigma_gain=reversal.sigma_gain,
            by_count=call.keep(by_count), by_membrane=call.optional(by_membrane),
            by_latency=call.optional(by_latency), by_spike=by_spike,
            n_shards=N_SHARDS, threads=self.threads, n_total=n_total,
            work=address(self._work), gradient=address(gradient),
            **{name: call.keep(getattr(tape, name), kind) for name, kind in _TAPE.items()},
        )  # fmt: skip
        self._library.unlayered_reverse(ctypes.byref(job))
        return self._split(connectivity, gradient, n_weights)

    def _split(self, connectivity, gradient, n_weights) -> dict:
        weights, at = [], 0
        for p in connectivity.projections:
            size = p.weights.nnz if sparse.issparse(p.weights) else p.weights.size
            part = gradient[at : at + size]
            weights.append(part if sparse.issparse(p.weights) else part.reshape(p.weights.shape))
            at += size
        rows = gradient[n_weights:].reshape(-1, connectivity.n_neurons)
        return {"weights": weights, **dict(zip((*self.parameters, "leak", "sigma"), rows, strict=True))}


_TAPE = {
    "step_ptr": np.int64, "group_ptr": np.int64, "group": np.int32, "multiplicity": None,
    "received_ptr": np.int64, "received": np.int32, "membrane": None,
    "spike_ptr": np.int64, "spikes": np.int32, "flags": np.uint8,
}  # fmt: skip


class _Call:
    """Owns the arrays whose addresses one call passes."""

    def __init__(self, dtype):
        self.dtype, self._kept = dtype, []

    def keep(self, array, dtype=None) -> int:
        array = np.ascontiguousarray(array, dtype or self.dtype)
        self._kept.append(array)
        return address(array)

    def optional(self, array):
        return None if array is None else self.keep(array)

    def network(self, net: Connectivity):
        """Tables of senders and projections; gradients lie in the order of ``net.projections``."""
        offsets = np.cumsum([0] + [p.weights.nnz if sparse.issparse(p.weights) else p.weights.size
                                   for p in net.projections])  # fmt: skip
        blocks, populations = [], []
        for index, (first, size) in enumerate(zip(net.starts, net.sizes, strict=True)):
            begin = len(blocks)
            for k, p in enumerate(net.projections):
                if p.source == index:
                    blocks.append(self._projection(p, int(net.starts[p.target]) - net.n_inputs, int(offsets[k])))
            populations.append(Population(int(first), size, begin, len(blocks)))
        tables = (Population * len(populations))(*populations), (Projection * max(1, len(blocks)))(*blocks)
        self._kept.extend(tables)
        return ctypes.addressof(tables[0]), ctypes.addressof(tables[1]), int(offsets[-1])

    def _projection(self, p, first: int, offset: int) -> Projection:
        w = p.weights
        if not sparse.issparse(w):
            return Projection(first=first, width=w.shape[1], dense=self.keep(w), offset=offset)
        return Projection(
            first=first, width=w.shape[1], ptr=self.keep(w.indptr, np.int64),
            targets=self.keep(w.indices + np.int32(first), np.int32), weights=self.keep(w.data), offset=offset,
        )  # fmt: skip


_int, _pointer, _real = ctypes.c_int64, ctypes.c_void_p, ctypes.c_double


def _fields(text: str, kind) -> list:
    return [(name, kind) for name in text.split()]


class Projection(ctypes.Structure):
    """``Projection`` of ``unlayered.hpp``."""

    _fields_ = _fields("first width", _int) + _fields("dense ptr targets weights", _pointer) + _fields("offset", _int)


class Job(ctypes.Structure):
    """``Job`` of ``unlayered.hpp``."""

    _fields_ = [
        *_fields("n_samples n_steps n_inputs n_neurons n_outputs n_weights first_layer", _int),
        *_fields("layer_of sources projections leak sigma parameters", _pointer),
        *_fields("step_ptr group_ptr group multiplicity received_ptr received membrane", _pointer),
        *_fields("spike_ptr spikes flags sample_ids initial", _pointer),
        ("first_step", _int),
        ("seed", ctypes.c_uint64),
        ("spike_dropout", _real),
        *_fields("every cut detach_reset slots ties filler truncate cut_timesteps train_leak", _int),
        *_fields("steepness gain sigma_steepness sigma_gain", _real),
        *_fields("by_count by_membrane by_latency", _pointer),
        ("by_spike", _real),
        *_fields("n_shards threads n_total", _int),
        *_fields("work gradient", _pointer),
    ]
