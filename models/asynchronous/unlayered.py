"""The compiled reverse pass of asynchronous networks: generated from the neuron's equations and a surrogate."""

from __future__ import annotations

import ctypes
import functools
import os

import numpy as np
import sympy
from scipy import sparse

from ...equations import ModelError
from ...equations.update import compose, condition, expand_subexpressions, parse, symbol, update_map
from ..gradients import Unlayered
from ..native.build import compile_library, render
from ..native.express import cpp
from ..native.structures import Population, address
from ..order.tape import Tape
from .connectivity import Connectivity

# Gradients are summed over this many groups of samples, whatever the number of threads: results do not depend on it.
N_SHARDS = 8
FILLERS = {"none": 0, "first": 1, "random": 2, "all": 1}  # "all": first ones, without end
PRIMITIVES = {
    "arctan": "gain*arctan(k*x)",
    "fast_sigmoid": "gain*x/(1 + k*abs(x))",
    "sigmoid": "gain/(1 + exp(-k*x))",
}


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
        call = _Call(self.dtype)
        steepness, gain = gradient.numbers()
        endless = ties or gradient.filler == "all"
        n, (n_samples, n_steps) = connectivity.n_neurons, tape.steps.shape
        sources, projections, n_weights = call.network(connectivity)
        n_total = n_weights + (len(self.parameters) + 2) * n
        if self._work.size < N_SHARDS * n_total:
            self._work = np.zeros(N_SHARDS * n_total, self.dtype)
        total = np.zeros(n_total, self.dtype)
        ids = np.arange(n_samples) if sample_ids is None else sample_ids
        tables = [call.keep(np.broadcast_to(model.constants[name], (n,))) for name in self.parameters]
        job = Job(
            n_samples=n_samples, n_steps=n_steps, n_inputs=connectivity.n_inputs, n_neurons=n,
            n_outputs=connectivity.n_outputs, n_weights=n_weights, first_layer=connectivity.sizes[1],
            layer_of=call.keep(connectivity.layer_of(), np.int32), sources=sources, projections=projections,
            leak=call.keep(leak(model, dt, n)), sigma=None if sigma is None else call.keep(sigma),
            parameters=call.keep(np.array(tables or [0]), np.uint64),
            sample_ids=call.keep(ids, np.int64), initial=call.optional(initial), first_step=first_step,
            seed=seed % 2**64, spike_dropout=spike_dropout,
            every=gradient.variant == "v2", cut=gradient.state == "cut", detach_reset=gradient.reset == "detached",
            slots=2**62 if endless else slots, ties=ties, filler=FILLERS[gradient.filler],
            truncate=int(gradient.truncate), cut_timesteps=gradient.cut_timesteps, train_leak=train_leak,
            steepness=steepness, gain=gain, sigma_steepness=steepness, sigma_gain=gain,
            by_count=call.keep(by_count), by_membrane=call.optional(by_membrane),
            by_latency=call.optional(by_latency), by_spike=by_spike,
            n_shards=N_SHARDS, threads=self.threads, n_total=n_total,
            work=address(self._work), gradient=address(total),
            **{name: call.keep(getattr(tape, name), kind) for name, kind in _TAPE.items()},
        )  # fmt: skip
        self._library.unlayered_reverse(ctypes.byref(job))
        return self._split(connectivity, total, n_weights)

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
