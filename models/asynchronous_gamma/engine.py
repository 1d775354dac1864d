"""The compiled event loop of SpikingGamma layers: generated from the layers' equations and a scheduler's key."""

from __future__ import annotations

import numpy as np

from ..asynchronous.connectivity import Connectivity
from ..gamma.engine import GammaEngine
from ..gamma.tables import LayerParameters
from ..native.build import render
from ..native.interface import Arrays, library
from ..order.loop import EventLoop, LoopArguments
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
        self._shapes = [
            {
                "kind": kinds.index(code),
                "n_pre": sizes[index],
                "n": sizes[index + 1],
                "first": sum(sizes[1 : index + 1]),
                "fanout": sizes[index + 2] * len(engine.codes[index + 1].targets),
            }
            for index, code in enumerate(hidden)
        ]
        self._network = {"n_inputs": sizes[0], "n_neurons": sum(sizes[1:-1]), "n_layers": len(hidden),
                         "idle_at_start": bool(idle_at_start)}  # fmt: skip
        self._open(*library(source, "asynchronous_gamma/arguments.h", self.dtype.name))

    def run(self, parameters: list[LayerParameters], events, scheduler, arguments: LoopArguments) -> dict:
        """Run a batch; the arguments besides `parameters` and the result are those of `AsynchronousEngine.run`.

        The record's ``multiplicity`` is what a delivered source carried: the sum of its waiting jumps.
        """
        arrays, layers = Arrays(self._ffi, self.dtype), []
        for shape, p in zip(self._shapes, parameters, strict=True):
            weights = [arrays.input("weights", w, shape=(shape["n_pre"], shape["n"]), finite=True) for w in p.weights]
            layers.append(
                {
                    **shape,
                    "weights": arrays.table(weights, "const R"),
                    "parameters": arrays.input("parameters", p.neurons, finite=True),
                    "A": arrays.input("A", p.numbers.A),
                    "c": arrays.input("constants", p.numbers.constants),
                    "scales": arrays.input("scales", p.numbers.scales),
                }
            )
        network = {
            **self._network,
            "layer": arrays.input("layer", self.connectivity.layer_of(), np.int32),
            "layers": arrays.keep(self._ffi.new("Layer[]", layers)),
        }
        return self._execute(self._ffi.new("Network*", network), arrays, events, scheduler, arguments, "tape")
