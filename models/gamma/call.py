"""One call of the compiled SpikingGamma engine: its arguments, checked, and the arrays that it fills."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...equations.display import DisplayedFields
from ..errors import EngineError, NetworkError
from ..events import StepEvents
from ..native.interface import Arrays
from .tables import LayerGradient, LayerTables

LOSSES = {"none": 0, "cross_entropy": 1, "squared_error": 2, "external": 3}
# Gradients are summed over groups of samples, as many for any number of threads: results do not depend on it. Each has
# arrays of its own to clear and to add up, so that small batches have few.
MIN_SHARDS, MAX_SHARDS, SHARD_SAMPLES = 4, 32, 16


@dataclass
class GammaOptions:
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
        Weight of the signal of every hidden neuron at every step, added to the loss.
    train_tau : bool
        Also return the derivative with respect to the bucket update.
    rule : {'filter', 'direct', 'detached'}
        What a layer sends down, see `sent_down`.
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

    def check_loss(self, n_samples: int, n_steps: int, n_out: int) -> None:
        """Refuse an unknown loss, and one whose labels or targets are missing or have another shape."""
        if self.loss not in LOSSES:
            raise NetworkError(f"loss='{self.loss}' is unknown; available: {', '.join(LOSSES)}.")
        needed, shape = {
            "none": (None, ()),
            "cross_entropy": ("labels", (n_samples, n_steps)),
        }.get(self.loss, ("targets", (n_samples, n_steps, n_out)))
        if needed is None:
            return
        array = getattr(self, needed)
        if array is None:
            others = {"labels": "; for targets choose loss='squared_error'", "targets": "; for labels 'cross_entropy'"}
            raise NetworkError(f"loss='{self.loss}' needs {needed} of shape {shape}, got none{others[needed]}.")
        if np.shape(array) != shape:
            raise NetworkError(
                f"{needed} have shape {np.shape(array)}; loss='{self.loss}' expects {shape}: samples, steps"
                + (", outputs." if needed == "targets" else ".")
            )


@dataclass(repr=False)
class EngineResult(DisplayedFields):
    """What a call returns; arrays that were not asked for are ``None``.

    Attributes
    ----------
    readout : (n_samples, n_steps, n_out) array
    losses : (n_samples,) array
    spikes : (n_samples, n_hidden_layers) array of int
    neuron_spikes : (n_samples, n_hidden) array of int
    recorded : list over samples of list over hidden layers of (steps, units, amounts)
    signals, estimates : list over hidden layers of (n_samples, n_steps, n) arrays
    gradients : list of LayerGradient
    """

    readout: np.ndarray | None = None
    losses: np.ndarray | None = None
    spikes: np.ndarray | None = None
    neuron_spikes: np.ndarray | None = None
    recorded: list | None = None
    signals: list | None = None
    estimates: list | None = None
    gradients: list[LayerGradient] = field(default_factory=list)


def too_many_spikes(layer: int, neuron: int, sample: int, step: int, signal: float, count=None) -> NetworkError:
    """Error about a neuron (its layer counted from 0) whose signal stands for more spikes than are counted."""
    number = "too many" if count is None else f"{count:.3g}"
    return NetworkError(
        f"Layer {layer + 1}, neuron {neuron} (sample {sample}, step {step}): its signal {signal:g} stands for "
        f"{number} spikes in one step; at most {2**31 - 1} are counted, raise theta."
    )


class GammaCall:
    """Arguments of one call and the result that the library fills; owns every array whose address it passes.

    Parameters
    ----------
    engine : GammaEngine
    parameters : list of LayerParameters or LayerTables
    events : StepEvents
    options : GammaOptions
    """

    def __init__(self, engine, parameters, events: StepEvents, options: GammaOptions):
        self.engine, self.options, self.sizes = engine, options, engine.plan.sizes
        self._arrays = Arrays(engine.ffi, engine.dtype)
        self._steps = (events.n_samples, events.n_steps)
        if events.n_units != self.sizes[0]:
            raise NetworkError(
                f"The events have {events.n_units} units, the network {self.sizes[0]} inputs; they must agree."
            )
        options.check_loss(*self._steps, self.sizes[-1])
        self.result = self._result()
        self._failure = np.full(6, -1.0)
        layers = parameters
        if not isinstance(layers, LayerTables):
            layers = LayerTables(engine, parameters, options.gradient, options.rule, options.train_tau)
        self.result.gradients = layers.gradients
        self.arguments = self._arguments(self._arrays.keep(layers), events)

    def check(self, status: int, remedy: str = "use a smaller batch") -> EngineResult:
        """Return the result of a call that went well.

        Raises
        ------
        NetworkError
            If a neuron had more spikes than can be counted.
        EngineError
            If memory ran out.
        """
        if self._failure[0] >= 0:
            sample, step, layer, neuron = self._failure[:4].astype(int)
            raise too_many_spikes(layer, neuron, sample, step, self._failure[4], self._failure[5])
        if status == 1:
            raise EngineError(f"Out of memory in the compiled engine: {remedy}.")
        if status:
            raise EngineError("The compiled engine failed; this is a fault of the engine, please report it.")
        return self.result

    def _result(self) -> EngineResult:
        (n_samples, n_steps), dtype, wanted = self._steps, self.engine.dtype, self.options
        hidden = self.sizes[1:-1]
        result = EngineResult(spikes=np.zeros((n_samples, len(hidden)), np.int64), losses=np.zeros(n_samples))
        if wanted.readout:
            result.readout = np.zeros((n_samples, n_steps, self.sizes[-1]), dtype)
        if wanted.count_neurons:
            result.neuron_spikes = np.zeros((n_samples, sum(hidden)), np.int64)
        if wanted.traces:
            result.signals = [np.zeros((n_samples, n_steps, m), dtype) for m in hidden]
            result.estimates = [np.zeros((n_samples, n_steps, m), dtype) for m in hidden]
        return result

    def _arguments(self, layers: LayerTables, events: StepEvents):
        engine, wanted, result, arrays, steps = self.engine, self.options, self.result, self._arrays, self._steps
        table = lambda filled: engine.ffi.NULL if filled is None else arrays.table(map(arrays.output, filled))  # noqa: E731
        fields = {
            "layers": layers.table,
            "packed": layers.packed,
            "n_layers": len(self.sizes) - 1,
            "n_hidden": sum(self.sizes[1:-1]),
            "n_samples": events.n_samples,
            "n_steps": events.n_steps,
            "n_shards": min(MAX_SHARDS, max(MIN_SHARDS, events.n_samples // SHARD_SAMPLES)),
            "n_threads": engine.threads,
            "analog": wanted.analog,
            "gradient": wanted.gradient,
            "loss": LOSSES[wanted.loss],
            "activity": wanted.activity,
            "input": self._events("events", events),
            "given": self._given(events),
            "labels": arrays.input("labels", wanted.labels, np.int32, shape=steps, below=self.sizes[-1]),
            "targets": arrays.input("targets", wanted.targets, shape=(*steps, self.sizes[-1]), finite=True),
            "weight": arrays.input("weight", wanted.weight, shape=steps, finite=True),
            "readout": arrays.output(result.readout),
            "losses": arrays.output(result.losses),
            "spikes": arrays.output(result.spikes),
            "neuron_spikes": arrays.output(result.neuron_spikes),
            "signals": table(result.signals),
            "estimates": table(result.estimates),
            "failure": arrays.output(self._failure),
        }
        return arrays.keep(engine.ffi.new("GammaArguments*", fields))

    def _events(self, name: str, events: StepEvents) -> dict:
        """Checked events as ``BatchEvents``."""
        arrays, rows, n = self._arrays, events.n_samples * events.n_steps, len(events.units)
        ptr, unit_type = np.asarray(events.ptr), np.uint16 if events.units.dtype == np.uint16 else np.int32
        amount_type = np.uint8 if events.values.dtype == np.uint8 else self.engine.dtype
        view = {
            "ptr": arrays.input(f"{name}.ptr", ptr, np.int64, shape=(rows + 1,)),
            "units": arrays.input(f"{name}.units", events.units, unit_type, shape=(n,), least=0, below=events.n_units),
            "amounts": arrays.input(f"{name}.values", events.values, amount_type, shape=(n,), finite=True),
            "unit_bytes": np.dtype(unit_type).itemsize,
            "amount_bytes": np.dtype(amount_type).itemsize,
        }
        if ptr[0] != 0 or ptr[-1] != n:
            raise NetworkError(f"{name}.ptr runs from {ptr[0]} to {ptr[-1]}; expected 0 to the {n} events.")
        falls = np.flatnonzero(ptr[1:] < ptr[:-1])
        if len(falls):
            at = int(falls[0])
            raise NetworkError(f"{name}.ptr falls from {ptr[at]} to {ptr[at + 1]} at {at + 1}; expected it to ascend.")
        return view

    def _given(self, events: StepEvents):
        """Checked spikes given for every hidden layer."""
        layers = self.options.given
        if layers is None:
            return self.engine.ffi.NULL
        shapes = [(e.n_samples, e.n_steps, e.n_units) for e in layers]
        expected = [(*self._steps, n) for n in self.sizes[1:-1]]
        if shapes != expected:
            raise NetworkError(f"The given spikes have (samples, steps, units) {shapes}; the network's are {expected}.")
        views = [self._events(f"given[{index}]", e) for index, e in enumerate(layers)]
        return self._arrays.keep(self.engine.ffi.new("BatchEvents[]", views))
