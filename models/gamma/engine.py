"""The compiled SpikingGamma engine: generated from the layers' equations, called with numbers."""

from __future__ import annotations

import contextlib
import os

import numpy as np

from ..checks import processors
from ..events import StepEvents
from ..native.build import render
from ..native.interface import Arrays, library
from ..topology.plan import Plan
from .call import EngineResult, GammaCall, GammaOptions
from .lowering import LayerCode


class GammaEngine:
    """Forward pass and filter gradient of a stack of SpikingGamma layers: code only, numbers come with each call.

    Parameters
    ----------
    codes : list of LayerCode
        Hidden layers and, last, the readout.
    n_constants : list of int
        How many numbers each layer's expressions read.
    plan : Plan
        Layers and connections: the code is generated for blocks of neurons that suit them.
    dtype : {'float32', 'float64'}
    threads : int, optional
        Default: all cores this process may use.
    """

    def __init__(self, codes, n_constants, plan: Plan, dtype: str = "float32", threads: int | None = None):
        self.codes: list[LayerCode] = list(codes)
        self.n_constants, self.plan, self.dtype = list(n_constants), plan, np.dtype(dtype)
        self.threads = threads or processors()
        shaped = [
            (code, self._block(code, layer.shape[0])) for code, layer in zip(self.codes, plan.layers, strict=True)
        ]
        kinds = list(dict.fromkeys(shaped))
        self.code_of = [kinds.index(kind) for kind in shaped]
        source = render(
            "gamma/gamma.cpp.jinja",
            kinds=[code for code, _ in kinds],
            blocks=[block for _, block in kinds],
            n_constants=dict(zip(self.codes, self.n_constants, strict=True)),
        )
        with _sleeping_threads():
            self.ffi, self.library = library(
                source, "gamma/arguments.h", self.dtype.name, core='#include "gamma/stream.hpp"\n'
            )

    def _block(self, code: LayerCode, n: int) -> tuple[int, int]:
        """Vector registers (1, 2 or 4) that hold one state of a block of neurons, for registers of 32 and 64 bytes.

        A block of four costs about twice a block of one, because the chain of row additions bounds both; with more
        than six buckets four would not fit the registers.
        """
        allowed = (1, 2, 4) if len(code.buckets) <= 6 else (1, 2)
        vectors = [-(-n * self.dtype.itemsize // size) for size in (32, 64)]
        return tuple(min(allowed, key=lambda nv: -(-v // nv) * (1 + nv / 3)) for v in vectors)

    def run(self, parameters, events: StepEvents, **options) -> EngineResult:
        """Run a batch and, if asked, reverse it.

        Parameters
        ----------
        parameters : list of LayerParameters or LayerTables
        events : StepEvents
        **options
            Fields of `GammaOptions`.

        Returns
        -------
        EngineResult

        Raises
        ------
        NetworkError
            If an argument does not fit, or a neuron has too many spikes.
        """
        call = GammaCall(self, parameters, events, GammaOptions(**options))
        if not call.options.record:
            return call.check(self.library.gamma_run(call.arguments, self.ffi.NULL))
        record, n_hidden = self.ffi.new("void**"), len(self.codes) - 1
        result = call.check(self.library.gamma_run(call.arguments, record))
        spikes = self.ffi.gc(record[0], self.library.gamma_free)
        result.recorded = [
            [self._recorded(spikes, sample * n_hidden + layer, events.n_steps) for layer in range(n_hidden)]
            for sample in range(events.n_samples)
        ]
        return result

    def _recorded(self, record, index: int, n_steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Spikes of one sample and hidden layer as (steps, units, amounts)."""
        size = self.library.gamma_recorded(record, index)
        ptr, units, amounts = np.empty(n_steps + 1, np.int64), np.empty(size, np.int32), np.empty(size, self.dtype)
        arrays = Arrays(self.ffi, self.dtype)
        self.library.gamma_copy(record, index, *map(arrays.output, (ptr, units, amounts)))
        return np.repeat(np.arange(n_steps), np.diff(ptr)), units, amounts


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
