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
from .packing import HEADER, Kept
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
        self._work, self._numbers = np.zeros(0, self.dtype), Kept()

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
        look_through=True,
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
        look_through : bool
            Whether the tape's numbers may be wrong, as an engine's own from a moment ago are not.

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
        total, of_input = np.empty(n_total, self.dtype), np.empty(packed.n_input_weights, self.dtype)
        ids = np.arange(n_samples) if sample_ids is None else sample_ids
        constants = (dt, sigma if sigma is not None else (), n, *model.constants.values())
        numbers = arrays.keep(self._numbers.of(constants, lambda: self._per_neuron(n, dt, model, sigma)))
        per_timestep = (n_samples, T, n_out)
        arguments = {
            "network": arrays.keep(new("Network*", {**packed.fields, **numbers[0]})),
            "n_samples": n_samples,
            "n_timesteps": T,
            "n_weights": packed.n_weights,
            "first_layer": connectivity.sizes[1],
            **_tape(arrays, tape, len(packed.layer), n, look_through),
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
            "input_gradient": arrays.output(of_input),
        }
        status = self._lib.unlayered_backward(new("BackwardArguments*", arguments))
        check_status(status, "take the gradient of fewer samples at a time")
        return self._split(connectivity, packed, of_input, total)

    def _per_neuron(self, n: int, dt: float, model, sigma) -> tuple[dict, Arrays]:
        """Fields of the C structure that do not depend on weights, and what they point to."""
        arrays = Arrays(self._ffi, self.dtype)
        constants = [(name, np.broadcast_to(model.constants[name], (n,))) for name in self.parameters]
        fields = {
            "leak": arrays.input("leak", leak_factors(model, dt, n), shape=(n,)),
            "sigma": arrays.input("sigma", sigma, shape=(n,)),
            "parameters": arrays.table([arrays.input(name, value) for name, value in constants], "const R"),
        }
        return fields, arrays

    def _split(self, connectivity, packed, of_input, total) -> dict:
        weights = [(of_input if first else total)[place] for first, place in packed.places]
        shapes = [(-1,) if sparse.issparse(p.weights) else p.weights.shape for p in connectivity.projections]
        weights = [part.reshape(shape) for part, shape in zip(weights, shapes, strict=True)]
        rows = total[packed.n_weights :].reshape(-1, connectivity.n_neurons)
        return {"weights": weights, **dict(zip((*self.parameters, "leak", "sigma"), rows, strict=True))}


def _tape(arrays: Arrays, tape: Tape, n_sources: int, n: int, look_through: bool) -> dict:
    """Fields of a tape."""
    n_forward = int(tape.step_ptr[-1])

    def offsets(name, ptr, size, total):
        return arrays.offsets(f"tape.{name}", ptr, size, total) if look_through else arrays.output(ptr)

    fields = {"step_ptr": offsets("step_ptr", tape.step_ptr, tape.steps.size, n_forward)}
    for name, ptr, below in (
        ("group", "group_ptr", n_sources),
        ("received", "received_ptr", n),
        ("spikes", "spike_ptr", n),
    ):
        array, limits = getattr(tape, name), {"least": 0, "below": below} if look_through else {}
        fields[name] = arrays.input(f"tape.{name}", array, np.int32, **limits)
        fields[ptr] = offsets(ptr, getattr(tape, ptr), n_forward, len(array))
    fields["multiplicity"] = arrays.input("tape.multiplicity", tape.multiplicity, shape=tape.group.shape)
    fields["membrane"] = arrays.input("tape.membrane", tape.membrane, shape=tape.received.shape)
    fields["flags"] = arrays.input("tape.flags", tape.flags, np.uint8, shape=tape.spikes.shape)
    return fields
