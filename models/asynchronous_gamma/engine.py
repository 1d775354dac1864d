"""The compiled event loop of SpikingGamma layers: generated from the layers' equations and a scheduler's key."""

from __future__ import annotations

import ctypes

import numpy as np

from ..asynchronous.connectivity import Connectivity
from ..gamma.call import LayerParameters
from ..gamma.engine import GammaEngine
from ..native.build import compile_library, render
from ..native.structures import GammaLayer, GammaNetwork, address
from ..order.loop import EventLoop
from ..order.queue_code import queue_code


class AsynchronousGammaEngine(EventLoop):
    """The hidden layers of a SpikingGamma network under one scheduler, compiled.

    Parameters
    ----------
    engine : GammaEngine
        Of the same network: it holds the code of the layers, and runs the readout.
    sizes : sequence of int
        Input units, hidden layers, outputs.
    scheduler : Scheduler
        Only its form is compiled; its numbers are passed at every run.
    idle_at_start : bool
        Test all neurons at the start of a timestep, before any spike of the timestep reaches them.
    """

    remedy = "Raise theta, keep once_per_timestep=True, or set a spike budget as stop rule."

    def __init__(self, engine: GammaEngine, sizes, scheduler, idle_at_start: bool = False):
        self.engine, self.dtype, self.threads = engine, engine.dtype, engine.threads
        self.connectivity = Connectivity(sizes[:-1])
        hidden = engine.codes[:-1]
        kinds = list(dict.fromkeys(hidden))
        queue = queue_code(scheduler)
        self.compiled = queue["queue"] != "external"
        source = render(
            "asynchronous_gamma/gamma.cpp.jinja",
            kinds=kinds,
            n_constants=dict(zip(hidden, engine.n_constants, strict=False)),
            **queue,
        )
        layers = self._layers = (GammaLayer * len(hidden))()
        for index, code in enumerate(hidden):
            layers[index].kind = kinds.index(code)
            layers[index].n_pre, layers[index].n = sizes[index], sizes[index + 1]
            layers[index].first = sum(sizes[1 : index + 1])
            layers[index].fanout = sizes[index + 2] * len(engine.codes[index + 1].targets)
        self._layer_of = self.connectivity.layer_of()
        network = GammaNetwork(
            n_inputs=sizes[0],
            n_neurons=sum(sizes[1:-1]),
            n_layers=len(hidden),
            idle_at_start=idle_at_start,
            layer=address(self._layer_of),
            layers=ctypes.addressof(layers),
        )
        self._open(compile_library(source, self.dtype.name), network)

    def run(self, parameters: list[LayerParameters], events, scheduler, options: dict, counter: int = 0) -> dict:
        """Run a batch; the arguments besides `parameters` and the result are those of `AsynchronousEngine.run`.

        The record's ``multiplicity`` is what a delivered source carried: the sum of its waiting jumps.
        """
        kept = []

        def pointer(array) -> int:
            kept.append(np.ascontiguousarray(array, self.dtype))
            return address(kept[-1])

        for layer, p in zip(self._layers, parameters, strict=True):
            kept.append((ctypes.c_void_p * len(p.weights))(*map(pointer, p.weights)))
            layer.weights = ctypes.addressof(kept[-1])
            layer.parameters, layer.A = pointer(p.neurons), pointer(p.numbers.A)
            layer.c, layer.scales = pointer(p.numbers.constants), pointer(p.numbers.scales)
        return self._execute(events, scheduler, options, "tape", counter)
