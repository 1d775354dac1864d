"""The compiled reverse pass of asynchronous networks: generated from the neuron's equations and a surrogate."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ..checks import processors
from ..gradients import Unlayered
from ..native.build import render
from ..native.interface import Arrays, check_status, library
from ..order.tape import Tape
from .connectivity import Connectivity
from .lowering import leak_factors
from .packing import HEADER
from .surrogate_lowering import lower_surrogate

# Gradients are summed over at most so many groups of samples, whatever the number of threads: it changes no result.
N_SHARDS = 8
FILLERS = {"none": 0, "first": 1, "random": 2, "all": 1}  # "all": first ones, without end


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
        self.threads = threads or processors()
        code = lower_surrogate(model, surrogate)
        self.parameters: tuple[str, ...] = code["parameters"]
        self._ffi, self._lib = library(render("asynchronous/unlayered.cpp.jinja", **code), HEADER, self.dtype.name)
        self._work = np.zeros(0, self.dtype)

    def reverse(
        self,
        tape: Tape,
        connectivity: Connectivity,
        model,
        dt: float,
        gradient: Unlayered,
        *,
        slots,
        seed,
        ties=False,
        spike_dropout=0.0,
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
        gradient : Unlayered
        slots : int
            Neurons per forward group, silent ones included.
        seed : int
            Of the run that wrote the tape.
        ties : bool
            A group is all that waits with the smallest key (layer-synchronous order); all silent neurons go with it.
        spike_dropout : float
            Of that run.
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
        steepness, gain = gradient.numbers()
        endless = ties or gradient.filler == "all"
        arrays, new = Arrays(self._ffi, self.dtype), self._ffi.new
        n, n_out, (n_samples, T) = connectivity.n_neurons, connectivity.n_outputs, tape.steps.shape
        packed = arrays.keep(connectivity.packed(self.dtype))
        n_total = packed.n_weights + (len(self.parameters) + 2) * n
        n_shards = min(N_SHARDS, n_samples)
        if self._work.size < n_shards * n_total:
            self._work = np.zeros(n_shards * n_total, self.dtype)
        total = np.zeros(n_total, self.dtype)
        ids = np.arange(n_samples) if sample_ids is None else sample_ids
        constants = {name: np.broadcast_to(model.constants[name], (n,)) for name in self.parameters}
        network = {
            **packed.fields,
            "leak": arrays.input("leak", leak_factors(model, dt, n), shape=(n,)),
            "sigma": arrays.input("sigma", sigma, shape=(n,)),
            "parameters": arrays.table([arrays.input(name, value) for name, value in constants.items()], "const R"),
        }
        per_timestep = (n_samples, T, n_out)
        arguments = {
            "network": arrays.keep(new("Network*", network)),
            "n_samples": n_samples,
            "n_timesteps": T,
            "n_weights": packed.n_weights,
            "first_layer": connectivity.sizes[1],
            **_tape(arrays, tape, len(packed.layer), n),
            "sample_ids": arrays.input("sample_ids", ids, np.int64, shape=(n_samples,)),
            "initial": arrays.input("initial", initial, shape=(n_samples, n), finite=True),
            "first_timestep": int(first_step),
            "seed": seed % 2**64,
            "spike_dropout": spike_dropout,
            "every": gradient.variant == "v2",
            "cut": gradient.state == "cut",
            "detach_reset": gradient.reset == "detached",
            "slots": 2**62 if endless else slots,
            "ties": bool(ties),
            "filler": FILLERS[gradient.filler],
            "truncate": int(gradient.truncate),
            "cut_timesteps": gradient.cut_timesteps,
            "steepness": steepness,
            "gain": gain,
            "sigma_steepness": steepness,
            "sigma_gain": gain,
            "train_leak": bool(train_leak),
            "by_count": arrays.input("by_count", by_count, shape=per_timestep, finite=True),
            "by_membrane": arrays.input("by_membrane", by_membrane, shape=per_timestep, finite=True),
            "by_latency": arrays.input("by_latency", by_latency, shape=(n_samples, n_out), finite=True),
            "by_spike": float(by_spike),
            "n_shards": n_shards,
            "threads": self.threads,
            "n_total": n_total,
            "work": arrays.output(self._work),
            "gradient": arrays.output(total),
        }
        status = self._lib.unlayered_backward(new("BackwardArguments*", arguments))
        check_status(status, "take the gradient of fewer samples at a time")
        return self._split(connectivity, total, packed.n_weights)

    def _split(self, connectivity, gradient, n_weights) -> dict:
        weights, at = [], 0
        for p in connectivity.projections:
            size = p.weights.nnz if sparse.issparse(p.weights) else p.weights.size
            part = gradient[at : at + size]
            weights.append(part if sparse.issparse(p.weights) else part.reshape(p.weights.shape))
            at += size
        rows = gradient[n_weights:].reshape(-1, connectivity.n_neurons)
        return {"weights": weights, **dict(zip((*self.parameters, "leak", "sigma"), rows, strict=True))}


def _tape(arrays: Arrays, tape: Tape, n_sources: int, n: int) -> dict:
    """Fields of a tape."""
    n_forward = int(tape.step_ptr[-1])
    fields = {"step_ptr": arrays.offsets("tape.step_ptr", tape.step_ptr, tape.steps.size, n_forward)}
    for name, kind, below in (("group", np.int32, n_sources), ("received", np.int32, n), ("spikes", np.int32, n)):
        array, ptr = getattr(tape, name), f"{name.rstrip('s') if name == 'spikes' else name}_ptr"
        fields[name] = arrays.input(f"tape.{name}", array, kind, least=0, below=below)
        fields[ptr] = arrays.offsets(f"tape.{ptr}", getattr(tape, ptr), n_forward, len(array))
    fields["multiplicity"] = arrays.input("tape.multiplicity", tape.multiplicity, shape=tape.group.shape)
    fields["membrane"] = arrays.input("tape.membrane", tape.membrane, shape=tape.received.shape)
    fields["flags"] = arrays.input("tape.flags", tape.flags, np.uint8, shape=tape.spikes.shape)
    return fields
