"""The compiled reverse pass of asynchronous networks: generated from the neuron's equations and a surrogate."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass

import numpy as np
import sympy
from scipy import sparse

from ...equations import ModelError
from ...equations.update import compose, condition, expand_subexpressions, parse, symbol, update_map
from ..native.build import render
from ..native.express import cpp
from ..native.interface import Arrays, check_status, library
from ..order.tape import Tape
from .connectivity import Connectivity
from .packing import HEADER

# Gradients are summed over this many groups of samples, whatever the number of threads: results do not depend on it.
N_SHARDS = 8
FILLERS = {"none": 0, "first": 1, "random": 2, "all": 1}  # "all": first ones, without end
PRIMITIVES = {
    "arctan": "gain*arctan(k*x)",
    "fast_sigmoid": "gain*x/(1 + k*abs(x))",
    "sigmoid": "gain/(1 + exp(-k*x))",
}


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
        code = _code(model, surrogate)
        self.parameters: tuple[str, ...] = code["parameters"]
        self._ffi, self._lib = library(render("asynchronous/unlayered.cpp.jinja", **code), HEADER, self.dtype.name)
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
        arrays, new = Arrays(self._ffi, self.dtype), self._ffi.new
        n, n_out, (n_samples, T) = connectivity.n_neurons, connectivity.n_outputs, tape.steps.shape
        packed = arrays.keep(connectivity.packed(self.dtype))
        n_total = packed.n_weights + (len(self.parameters) + 2) * n
        if self._work.size < N_SHARDS * n_total:
            self._work = np.zeros(N_SHARDS * n_total, self.dtype)
        gradient = np.zeros(n_total, self.dtype)
        ids = np.arange(n_samples) if sample_ids is None else sample_ids
        constants = {name: np.broadcast_to(model.constants[name], (n,)) for name in self.parameters}
        network = {
            **packed.fields,
            "leak": arrays.input("leak", leak(model, dt, n), shape=(n,)),
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
            "seed": reversal.seed % 2**64,
            "filler": FILLERS[reversal.filler],
            "train_leak": bool(train_leak),
            **{name: getattr(reversal, name) for name in _PLAIN},
            "by_count": arrays.input("by_count", by_count, shape=per_timestep, finite=True),
            "by_membrane": arrays.input("by_membrane", by_membrane, shape=per_timestep, finite=True),
            "by_latency": arrays.input("by_latency", by_latency, shape=(n_samples, n_out), finite=True),
            "by_spike": float(by_spike),
            "n_shards": N_SHARDS,
            "threads": self.threads,
            "n_total": n_total,
            "work": arrays.output(self._work),
            "gradient": arrays.output(gradient),
        }
        status = self._lib.unlayered_backward(new("BackwardArguments*", arguments))
        check_status(status, "take the gradient of fewer samples at a time")
        return self._split(connectivity, gradient, packed.n_weights)

    def _split(self, connectivity, gradient, n_weights) -> dict:
        weights, at = [], 0
        for p in connectivity.projections:
            size = p.weights.nnz if sparse.issparse(p.weights) else p.weights.size
            part = gradient[at : at + size]
            weights.append(part if sparse.issparse(p.weights) else part.reshape(p.weights.shape))
            at += size
        rows = gradient[n_weights:].reshape(-1, connectivity.n_neurons)
        return {"weights": weights, **dict(zip((*self.parameters, "leak", "sigma"), rows, strict=True))}


# Fields of the C structure that a `Reversal` has under the same name.
_PLAIN = ("every", "cut", "detach_reset", "slots", "ties", "truncate", "cut_timesteps", "steepness", "gain",
          "sigma_steepness", "sigma_gain", "spike_dropout")  # fmt: skip


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


def leak(model, dt: float, n: int, derivative: bool = False) -> np.ndarray:
    """Factor by which each of `n` membranes decays over a timestep of `dt` seconds, or its derivative by ``tau_m``."""
    key = tuple(str(e) for e in model.model.values()), dt
    if key not in _LEAKS:
        (state,) = model.model.diff_eq_names
        factor = sympy.simplify(update_map(model.model, dt, model.method).next[state].diff(symbol(state)))
        if {s.name for s in factor.free_symbols} - {"tau_m"}:
            raise ModelError(f"The leak factor {factor} may only depend on tau_m.")
        tau = symbol("tau_m")
        _LEAKS[key] = [sympy.lambdify([tau], f, "numpy") for f in (factor, factor.diff(tau))]
    tau = np.asarray(model.constants["tau_m"], dtype=float)
    return np.array(np.broadcast_to(_LEAKS[key][int(derivative)](tau), (n,)))


_LEAKS: dict = {}


def _code(model, surrogate: str) -> dict:
    """Template values: the margin, the reset and their derivatives, and the slope of the primitive."""
    key = (tuple(str(e) for e in model.model.values()), model.threshold, model.reset, surrogate)
    if key not in _CODES:
        _CODES[key] = _derive(model, surrogate)
    return _CODES[key]


_CODES: dict = {}


def _derive(model, surrogate: str) -> dict:
    (state,) = model.model.diff_eq_names
    v, x = symbol(state), symbol("x")
    margin = condition(model.model, model.threshold)
    reset = expand_subexpressions(model.model, compose(model.reset).get(state, v))
    names = tuple(sorted(s.name for s in (margin.free_symbols | reset.free_symbols) - {v}))
    text = lambda e: cpp(sympy.sympify(e).xreplace({v: symbol("v")}))  # noqa: E731
    return {
        "parameters": names,
        "margin": text(margin),
        "margin_by_v": text(margin.diff(v)),
        "margin_by": {name: text(margin.diff(symbol(name))) for name in names},
        "reset": text(reset),
        "reset_by_v": text(reset.diff(v)),
        "reset_by": {name: text(reset.diff(symbol(name))) for name in names},
        # The unqualified abs may be the one of integers.
        "slope": cpp(_slope(PRIMITIVES[surrogate], x)).replace("abs(", "std::abs("),
    }


@functools.cache
def _slope(primitive: str, x) -> sympy.Expr:
    slope = parse(primitive).diff(x)
    return sympy.simplify(slope.replace(lambda e: e.is_Mul and e.has(sympy.sign), _absolute))


def _absolute(product):
    """``x*sign(x)`` as ``abs(x)``."""
    (sign,) = product.atoms(sympy.sign)
    return product.subs(sign, 1).subs(sign.args[0], sympy.Abs(sign.args[0])) if product.has(sign.args[0]) else product
