"""The compiled SpikingGamma engine: generated from the layers' equations, called with numbers."""

from __future__ import annotations

import ctypes
import functools
import os
from dataclasses import dataclass, field

import numpy as np

from ..errors import EngineError, NetworkError
from ..events import StepEvents
from .build import compile_library, render
from .lowering import LayerCode, LayerNumbers, lower

LOSSES = {"none": 0, "cross_entropy": 1, "squared_error": 2, "external": 3}
# Gradients are summed over this many groups of samples, whatever the number of threads: results do not depend on it.
N_SHARDS = 4


@dataclass
class LayerParameters:
    """Trained numbers of one layer.

    Attributes
    ----------
    weights : list of (n_pre, n_post) arrays
        One, or one per bucket with per-synapse buckets.
    neurons : (n_parameters, n_post) array
        Bucket weights ``v0 ...`` and bias ``b``, in the order of the model's ``trained_names``.
    """

    weights: list[np.ndarray]
    neurons: np.ndarray


@dataclass
class EngineResult:
    """What a call returns; arrays that were not asked for are ``None``.

    Attributes
    ----------
    readout : (n_samples, n_steps, n_out) array
    losses : (n_samples,) array
    spikes : (n_samples, n_hidden_layers) array of int
    neuron_spikes : (n_samples, n_hidden) array of int
    recorded : list over samples of list over hidden layers of (steps, units, values)
    signals, estimates : list over hidden layers of (n_samples, n_steps, n) arrays
    gradients : list of LayerParameters
    dA : list of (K, K) arrays
        Derivative with respect to each layer's bucket update.
    """

    readout: np.ndarray | None = None
    losses: np.ndarray | None = None
    spikes: np.ndarray | None = None
    neuron_spikes: np.ndarray | None = None
    recorded: list | None = None
    signals: list | None = None
    estimates: list | None = None
    gradients: list[LayerParameters] = field(default_factory=list)
    dA: list[np.ndarray] = field(default_factory=list)


class GammaEngine:
    """Forward pass and filter gradient of a stack of SpikingGamma layers.

    Parameters
    ----------
    models : list of SpikingGammaModel
        Hidden layers and, last, the readout.
    dt : float
        Step in seconds.
    dtype : {'float32', 'float64'}
    threads : int, optional
        Default: all cores this process may use.
    """

    def __init__(self, models, dt: float, dtype: str = "float32", threads: int | None = None):
        self.dtype = np.dtype(dtype)
        self.threads = threads or len(os.sched_getaffinity(0))
        lowered = [lower(model, dt) for model in models]
        self.codes: list[LayerCode] = [code for code, _ in lowered]
        self.numbers: list[LayerNumbers] = [numbers for _, numbers in lowered]
        self.kinds = list(dict.fromkeys(self.codes))
        self.max_weights = max(len(code.targets) for code in self.codes)
        source = render(
            "gamma.cpp.jinja",
            kinds=self.kinds,
            max_weights=self.max_weights,
            n_constants={code: len(numbers.constants) for code, numbers in lowered},
        )
        headers = ("support.hpp", "lanes.hpp", "gamma_driver.hpp")
        self._library = compile_library(source, str(self.dtype), headers)
        self._library.gamma_record.restype = ctypes.c_void_p
        self._library.gamma_recorded.restype = ctypes.c_int64

    def run(
        self,
        parameters: list[LayerParameters],
        events: StepEvents,
        *,
        loss: str = "none",
        labels=None,
        targets=None,
        weight=None,
        gradient: bool = False,
        analog: bool = False,
        activity: float = 0.0,
        train_tau: bool = False,
        readout: bool = True,
        record: bool = False,
        count_neurons: bool = False,
        traces: bool = False,
    ) -> EngineResult:
        """Run a batch and, if asked, reverse it.

        Parameters
        ----------
        parameters : list of LayerParameters
        events : StepEvents
        loss : {'none', 'cross_entropy', 'squared_error', 'external'}
            ``'external'`` takes dL/dreadout as `targets`.
        labels : (n_samples, n_steps) array of int, optional
            -1 leaves a step out.
        targets : (n_samples, n_steps, n_out) array, optional
        weight : (n_samples, n_steps) array, optional
            Weight of each step in the loss.
        gradient, analog, record, count_neurons, traces, readout : bool
            What to compute: the gradient; the spike-free network; recorded spikes; spikes per neuron; signals and
            estimates; the readout.
        activity : float
            Weight of the mean hidden signal added to the loss (its gradient only).
        train_tau : bool
            Also return the derivative with respect to the bucket update.

        Returns
        -------
        EngineResult
        """
        call = _Call(self, parameters, events)
        return call(
            loss,
            labels,
            targets,
            weight,
            gradient,
            analog,
            activity,
            train_tau,
            readout,
            record,
            count_neurons,
            traces,
        )


class _Call:
    """One call of the library: owns the arrays whose addresses it passes."""

    def __init__(self, engine: GammaEngine, parameters, events: StepEvents):
        self.engine, self.events, self.keep = engine, events, []
        self.shapes = [(p.weights[0].shape) for p in parameters]
        if events.n_units != self.shapes[0][0]:
            raise NetworkError(
                f"The events have {events.n_units} units, the network {self.shapes[0][0]} inputs; they must agree."
            )
        self.parameters = parameters

    def pointer(self, array, dtype=None):
        """Address of a contiguous array of the engine's type (kept alive until the call is over)."""
        if array is None:
            return None
        array = np.ascontiguousarray(array, dtype or self.engine.dtype)
        self.keep.append(array)
        return array.ctypes.data

    def out(self, array):
        """Address of an array that the library fills."""
        self.keep.append(array)
        return array.ctypes.data

    def __call__(
        self,
        loss,
        labels,
        targets,
        weight,
        gradient,
        analog,
        activity,
        train_tau,
        readout,
        record,
        count,
        traces,
    ):
        engine, events = self.engine, self.events
        B, T, n = events.n_samples, events.n_steps, len(self.shapes)
        n_out = self.shapes[-1][1]
        hidden = [shape[1] for shape in self.shapes[:-1]]
        result = EngineResult(spikes=np.zeros((B, n - 1), np.int64), losses=np.zeros(B))
        if readout:
            result.readout = np.zeros((B, T, n_out), engine.dtype)
        if count:
            result.neuron_spikes = np.zeros((B, sum(hidden)), np.int32)
        if traces:
            result.signals = [np.zeros((B, T, m), engine.dtype) for m in hidden]
            result.estimates = [np.zeros((B, T, m), engine.dtype) for m in hidden]
        layers = self._layers(result, gradient, activity / max(1, B * T), train_tau)
        units = events.units if events.units.dtype == np.uint16 else np.asarray(events.units, np.int32)
        values = events.values if events.values.dtype == np.uint8 else np.asarray(events.values, engine.dtype)
        batch = _Batch(
            n, B, T, N_SHARDS, engine.threads, analog, gradient, LOSSES[loss],
            units.itemsize, values.itemsize if values.dtype == np.uint8 else 0,
            self.pointer(events.ptr, np.int64),
            self.pointer(units, units.dtype),
            self.pointer(values, values.dtype),
            self.pointer(labels, np.int32),
            self.pointer(targets),
            self.pointer(weight),
            self.out(result.readout) if readout else None,
            self.out(result.losses),
            self.out(result.spikes),
            self.out(result.neuron_spikes) if count else None,
            self._pointers(result.signals),
            self._pointers(result.estimates),
        )  # fmt: skip
        library = engine._library
        recording = ctypes.c_void_p(library.gamma_record(B, n - 1)) if record else None
        try:
            if library.gamma_run(layers, ctypes.byref(batch), engine.max_weights, recording):
                raise EngineError("Out of memory while running a batch; use a smaller one.")
            if record:
                result.recorded = self._recorded(recording, B, n - 1, T)
        finally:
            if record:
                library.gamma_free(recording)
        return result

    def _layers(self, result, gradient, activity, train_tau):
        engine, dtype = self.engine, self.engine.dtype
        structure = _layer_structure(engine.max_weights)
        layers = (structure * len(self.shapes))()
        for index, (code, numbers, p) in enumerate(zip(engine.codes, engine.numbers, self.parameters, strict=True)):
            layer = layers[index]
            layer.kind = engine.kinds.index(code)
            layer.n_pre, layer.n = p.weights[0].shape
            layer.parameters = self.pointer(p.neurons)
            layer.A, layer.c = self.pointer(numbers.A), self.pointer(numbers.constants)
            layer.scales = self.pointer(numbers.scales)
            layer.alpha = engine.numbers[index - 1].alpha if index else 0.0
            layer.activity = activity / layer.n
            for w, weights in enumerate(p.weights):
                layer.weights[w] = self.pointer(weights)
            if gradient:
                grads = LayerParameters([np.zeros(w.shape, dtype) for w in p.weights], np.zeros(p.neurons.shape, dtype))
                result.gradients.append(grads)
                layer.grad_parameters = self.out(grads.neurons)
                for w, array in enumerate(grads.weights):
                    layer.grad_weights[w] = self.out(array)
                if train_tau:
                    result.dA.append(np.zeros(numbers.A.shape, dtype))
                    layer.grad_A = self.out(result.dA[-1])
        return layers

    def _pointers(self, arrays):
        if arrays is None:
            return None
        table = (ctypes.c_void_p * len(arrays))(*[self.out(a) for a in arrays])
        self.keep.append(table)
        return ctypes.cast(table, ctypes.c_void_p)

    def _recorded(self, handle, n_samples, n_hidden, T):
        library, samples = self.engine._library, []
        for s in range(n_samples):
            layers = []
            for layer in range(n_hidden):
                index = s * n_hidden + layer
                size = library.gamma_recorded(handle, index)
                ptr, units = np.empty(T + 1, np.int64), np.empty(size, np.int32)
                values = np.empty(size, self.engine.dtype)
                arrays = [ctypes.c_void_p(a.ctypes.data) for a in (ptr, units, values)]
                library.gamma_copy(handle, index, *arrays)
                layers.append((np.repeat(np.arange(T), np.diff(ptr)), units, values))
            samples.append(layers)
        return samples


@functools.cache
def _layer_structure(max_weights: int):
    """Mirror of ``struct Layer`` in the template."""
    p = ctypes.c_void_p
    fields = [(name, ctypes.c_int32) for name in ("kind", "n_pre", "n", "reserved")]
    fields += [("weights", p * max_weights)]
    fields += [(name, p) for name in ("parameters", "A", "c", "scales")]
    fields += [("grad_weights", p * max_weights), ("grad_parameters", p), ("grad_A", p)]
    fields += [("alpha", ctypes.c_double), ("activity", ctypes.c_double)]
    return type("Layer", (ctypes.Structure,), {"_fields_": fields})


class _Batch(ctypes.Structure):
    """Mirror of ``struct Batch`` in the driver."""

    _fields_ = [
        *[
            (name, ctypes.c_int32)
            for name in (
                "n_layers",
                "n_samples",
                "n_steps",
                "n_shards",
                "n_threads",
                "analog",
                "gradient",
                "loss",
                "unit_bytes",
                "value_bytes",
            )
        ],
        *[
            (name, ctypes.c_void_p)
            for name in (
                "ptr units values labels targets weight readout losses spikes neuron_spikes signals estimates"
            ).split()
        ],
    ]
