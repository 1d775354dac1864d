"""The compiled SpikingGamma engine: generated from the layers' equations, called with numbers."""

from __future__ import annotations

import contextlib
import ctypes
import os
from dataclasses import dataclass, field

import numpy as np

from ...equations.display import DisplayedFields
from ..errors import EngineError, NetworkError
from ..events import StepEvents
from ..native.build import compile_library, render
from .lowering import LayerCode, LayerNumbers, lower
from .structures import Batch, layer_structure

LOSSES = {"none": 0, "cross_entropy": 1, "squared_error": 2, "external": 3}
# Gradients are summed over groups of samples, as many for any number of threads: results do not depend on it. Each has
# arrays of its own to clear and to add up, so that small batches have few.
MIN_SHARDS, MAX_SHARDS, SHARD_SAMPLES = 4, 32, 16


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
class Request:
    """What a call is to compute.

    Attributes
    ----------
    loss : {'none', 'cross_entropy', 'squared_error', 'external'}
        ``'external'`` takes dL/dreadout as `targets`.
    labels : (n_samples, n_steps) array of int, optional
        -1 leaves a step out.
    targets : (n_samples, n_steps, n_out) array, optional
    weight : (n_samples, n_steps) array, optional
        Weight of each step in the loss.
    gradient, analog, record, count_neurons, traces, readout : bool
        The gradient; the spike-free network; recorded spikes; spikes per neuron; signals and estimates; the readout.
    activity : float
        Weight of the mean hidden signal added to the loss (its gradient only).
    train_tau : bool
        Also return the derivative with respect to the bucket update.
    rule : {'filter', 'direct', 'detached'}
        What a layer sends down, see `GammaEngine.send`.
    given : list over hidden layers of StepEvents, optional
        Spikes that the layers are taken to have emitted, in place of those of their own code: replays, and reverses,
        a run in another order. Signals and readout are those of the given spikes.
    """

    loss: str = "none"
    labels: np.ndarray | None = None
    targets: np.ndarray | None = None
    weight: np.ndarray | None = None
    gradient: bool = False
    analog: bool = False
    activity: float = 0.0
    train_tau: bool = False
    readout: bool = True
    record: bool = False
    count_neurons: bool = False
    traces: bool = False
    rule: str = "filter"
    given: list[StepEvents] | None = None


@dataclass(repr=False)
class EngineResult(DisplayedFields):
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
    sizes : sequence of int, optional
        Neurons of each layer: the code is generated for blocks of neurons that suit them.
    """

    def __init__(self, models, dt: float, dtype: str = "float32", threads: int | None = None, sizes=None):
        self.dtype, self.dt = np.dtype(dtype), dt
        self.threads = threads or len(os.sched_getaffinity(0))
        lowered = [lower(model, dt) for model in models]
        self.codes: list[LayerCode] = [code for code, _ in lowered]
        self.numbers: list[LayerNumbers] = [numbers for _, numbers in lowered]
        self.theta = _thetas(models)
        sizes = sizes or [128] * len(models)
        shaped = [(code, self._block(code, n)) for code, n in zip(self.codes, sizes, strict=True)]
        kinds = list(dict.fromkeys(shaped))
        self.kind_of = [kinds.index(kind) for kind in shaped]
        self.max_weights = max(len(code.targets) for code in self.codes)
        source = render(
            "gamma/gamma.cpp.jinja",
            kinds=[code for code, _ in kinds],
            blocks=[block for _, block in kinds],
            max_weights=self.max_weights,
            n_constants={code: len(numbers.constants) for code, numbers in lowered},
        )
        with _sleeping_threads():
            self.library = compile_library(source, str(self.dtype))
        self.library.gamma_record.restype = self.library.gamma_open.restype = ctypes.c_void_p
        self.library.gamma_recorded.restype = ctypes.c_int64

    def renumber(self, models) -> None:
        """Take the numbers of models that differ from the engine's in thresholds only; nothing is compiled.

        Raises
        ------
        EngineError
            If their equations have another form.
        """
        lowered = [lower(model, self.dt) for model in models]
        if [code for code, _ in lowered] != self.codes:
            raise EngineError("The models' equations are not those this engine was generated from; make a new one.")
        self.numbers, self.theta = [numbers for _, numbers in lowered], _thetas(models)

    def _block(self, code: LayerCode, n: int) -> tuple[int, int]:
        """Vector registers (1, 2 or 4) that hold one state of a block of neurons, for registers of 32 and 64 bytes.

        A block of four costs about twice a block of one, because the chain of row additions bounds both; with more
        than six buckets four would not fit the registers.
        """
        allowed = (1, 2, 4) if len(code.buckets) <= 6 else (1, 2)
        vectors = [-(-n * self.dtype.itemsize // size) for size in (32, 64)]
        return tuple(min(allowed, key=lambda nv: -(-v // nv) * (1 + nv / 3)) for v in vectors)

    def run(self, parameters: list[LayerParameters], events: StepEvents, **request) -> EngineResult:
        """Run a batch and, if asked, reverse it.

        Parameters
        ----------
        parameters : list of LayerParameters
        events : StepEvents
        **request
            Fields of `Request`.

        Returns
        -------
        EngineResult
        """
        call = Call(self, parameters, events, Request(**request))
        handle = None
        n_hidden = len(parameters) - 1
        try:
            if call.request.record:
                handle = ctypes.c_void_p(self.library.gamma_record(events.n_samples, n_hidden))
            if self.library.gamma_run(call.layers, ctypes.byref(call.batch), self.max_weights, handle):
                raise EngineError("Out of memory while running a batch; use a smaller one.")
            if call.request.record:
                call.result.recorded = call.recorded(handle, n_hidden)
        finally:
            if handle is not None:
                self.library.gamma_free(handle)
        return call.result

    def send(self, index: int, rule: str) -> np.ndarray | None:
        """Error that layer `index` sends down per unit of error in each bucket, at the same step.

        With D_k the derivative of the sender's bucket k by its signal, ``'direct'`` takes every bucket for an
        instantaneous copy (D_k = 1: the response to a constant signal), ``'detached'`` only bucket 0 (D_0 = 1, else 0).
        ``'filter'`` sends errors back through the memory in time: ``None``.

        Returns
        -------
        (n_weights, K) array or None
        """
        if rule == "filter" or index == 0:
            return None
        A, targets = self.numbers[index].A, list(self.codes[index].targets)
        if rule == "detached":
            return np.eye(len(A))[targets]
        # An event is what the signal gained over its decayed value, 1 - alpha of it when constant.
        return (1 - self.numbers[index - 1].alpha) * np.linalg.inv(np.eye(len(A)) - A).T[targets]


def _thetas(models) -> tuple[float, ...]:
    return tuple(model.theta for model in models[:-1])


@contextlib.contextmanager
def _sleeping_threads():
    """Let the threads of a GNU OpenMP that is loaded now sleep soon when they wait.

    Its default is to spin for milliseconds, as long as a whole small batch takes: on a machine with other work,
    spinning threads take the processor from the thread that they wait for.
    """
    variables = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    if any(v in os.environ for v in variables):  # the user has decided
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = "10000"
    try:
        yield
    finally:
        del os.environ["GOMP_SPINCOUNT"]


class Call:
    """One call of the library: owns the arrays whose addresses it passes, and the result they fill."""

    def __init__(self, engine: GammaEngine, parameters, events: StepEvents, request: Request):
        self.engine, self.request, self._kept = engine, request, []
        self._shapes = [p.weights[0].shape for p in parameters]
        if events.n_units != self._shapes[0][0]:
            raise NetworkError(
                f"The events have {events.n_units} units, the network {self._shapes[0][0]} inputs; they must agree."
            )
        self.result = self._result(events.n_samples, events.n_steps)
        self.layers = self._layers(parameters, request.activity / max(1, events.n_samples * events.n_steps))
        self.batch = self._batch(events)

    def _pointer(self, array, dtype=None):
        """Address of a contiguous array of the engine's type (kept alive with the call)."""
        if array is None:
            return None
        array = np.ascontiguousarray(array, dtype or self.engine.dtype)
        self._kept.append(array)
        return array.ctypes.data

    def _out(self, array):
        """Address of an array that the library fills."""
        if array is None:
            return None
        self._kept.append(array)
        return array.ctypes.data

    def _result(self, n_samples, n_steps) -> EngineResult:
        dtype, wanted = self.engine.dtype, self.request
        hidden = [shape[1] for shape in self._shapes[:-1]]
        result = EngineResult(spikes=np.zeros((n_samples, len(hidden)), np.int64), losses=np.zeros(n_samples))
        if wanted.readout:
            result.readout = np.zeros((n_samples, n_steps, self._shapes[-1][1]), dtype)
        if wanted.count_neurons:
            result.neuron_spikes = np.zeros((n_samples, sum(hidden)), np.int32)
        if wanted.traces:
            result.signals = [np.zeros((n_samples, n_steps, m), dtype) for m in hidden]
            result.estimates = [np.zeros((n_samples, n_steps, m), dtype) for m in hidden]
        return result

    def _batch(self, events: StepEvents) -> Batch:
        engine, wanted, result = self.engine, self.request, self.result
        # Small integer types are passed as they are: a data set is kept in them.
        units = events.units if events.units.dtype == np.uint16 else np.asarray(events.units, np.int32)
        values = events.values if events.values.dtype == np.uint8 else np.asarray(events.values, engine.dtype)
        n_shards = min(MAX_SHARDS, max(MIN_SHARDS, events.n_samples // SHARD_SAMPLES))
        return Batch(
            len(self._shapes), events.n_samples, events.n_steps, n_shards, engine.threads,
            wanted.analog, wanted.gradient, LOSSES[wanted.loss],
            units.itemsize, values.itemsize if values.dtype == np.uint8 else 0,
            self._pointer(events.ptr, np.int64),
            self._pointer(units, units.dtype),
            self._pointer(values, values.dtype),
            self._pointer(wanted.labels, np.int32),
            self._pointer(wanted.targets),
            self._pointer(wanted.weight),
            self._out(result.readout),
            self._out(result.losses),
            self._out(result.spikes),
            self._out(result.neuron_spikes),
            self._pointers(result.signals),
            self._pointers(result.estimates),
            *self._given(wanted.given, events),
        )  # fmt: skip

    def _given(self, layers, events: StepEvents) -> list:
        """Tables of the spikes given for every hidden layer."""
        if layers is None:
            return []
        shapes = [(e.n_samples, e.n_steps, e.n_units) for e in layers]
        expected = [(events.n_samples, events.n_steps, shape[1]) for shape in self._shapes[:-1]]
        if shapes != expected:
            raise NetworkError(f"The given spikes have (samples, steps, units) {shapes}; the network's are {expected}.")
        arrays = [[np.ascontiguousarray(e.ptr, np.int64) for e in layers],
                  [np.ascontiguousarray(e.units, np.int32) for e in layers],
                  [np.ascontiguousarray(e.values, self.engine.dtype) for e in layers]]  # fmt: skip
        return [self._pointers(column) for column in arrays]

    def _layers(self, parameters, activity):
        engine, dtype = self.engine, self.engine.dtype
        layers = (layer_structure(engine.max_weights) * len(self._shapes))()
        for index, (numbers, p) in enumerate(zip(engine.numbers, parameters, strict=True)):
            layer = layers[index]
            layer.kind = engine.kind_of[index]
            layer.n_pre, layer.n = p.weights[0].shape
            layer.parameters = self._pointer(p.neurons)
            layer.A, layer.c = self._pointer(numbers.A), self._pointer(numbers.constants)
            layer.scales = self._pointer(numbers.scales)
            layer.send = self._pointer(engine.send(index, self.request.rule))
            layer.alpha = engine.numbers[index - 1].alpha if index else 0.0
            layer.activity = activity / layer.n
            for w, weights in enumerate(p.weights):
                layer.weights[w] = self._pointer(weights)
            if self.request.gradient:
                grads = LayerParameters([np.zeros(w.shape, dtype) for w in p.weights], np.zeros(p.neurons.shape, dtype))
                self.result.gradients.append(grads)
                layer.grad_parameters = self._out(grads.neurons)
                for w, array in enumerate(grads.weights):
                    layer.grad_weights[w] = self._out(array)
                if self.request.train_tau:
                    self.result.dA.append(np.zeros(numbers.A.shape, dtype))
                    layer.grad_A = self._out(self.result.dA[-1])
        return layers

    def _pointers(self, arrays):
        if arrays is None:
            return None
        table = (ctypes.c_void_p * len(arrays))(*[self._out(a) for a in arrays])
        self._kept.append(table)
        return ctypes.cast(table, ctypes.c_void_p)

    def recorded(self, handle, n_hidden) -> list:
        """Spikes of every sample and hidden layer as (steps, units, values)."""
        library, samples, T = self.engine.library, [], self.batch.n_steps
        for s in range(self.batch.n_samples):
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
