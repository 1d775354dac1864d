"""Endless streams: the engine runs on as steps arrive; gradients come with a fixed lag, in constant memory."""

from __future__ import annotations

import ctypes

import numpy as np

from ..errors import EngineError
from ..events import StepEvents
from .engine import Call, EngineResult, GammaEngine, Request


class GammaStream:
    """State of a batch of streams between calls.

    Gradients of a step are taken when its errors have had between one and two windows of time to arrive. With the
    window longer than the stream this is the `filter` gradient; a shorter one cuts off the tail of the gamma kernels
    beyond it. Memory holds two windows, whatever the length of the stream.

    Parameters
    ----------
    engine : GammaEngine
    parameters : list of LayerParameters
    n_samples : int
    window : int
        Steps.
    learn : bool
        Keep what gradients need.
    """

    def __init__(self, engine: GammaEngine, parameters, n_samples: int, window: int, learn: bool = True):
        if window < 1:
            raise EngineError(f"window = {window}: a stream needs a window of at least one step.")
        self.engine, self.window, self.filled, self.n_samples = engine, int(window), 0, n_samples
        call = Call(engine, parameters, self._nothing(parameters), Request(readout=False))
        handle = engine.library.gamma_open(call.layers, ctypes.byref(call.batch), self.window, int(learn))
        if not handle:
            raise EngineError(f"Out of memory for a window of {window} steps; use a shorter one.")
        self._handle = ctypes.c_void_p(handle)

    def _nothing(self, parameters) -> StepEvents:
        n_units = parameters[0].weights[0].shape[0]
        empty = np.zeros(0, np.uint16), np.zeros(0, np.uint8)
        return StepEvents(np.zeros(1, np.int64), *empty, n_units, 0, self.n_samples, 1.0)

    def advance(self, parameters, events: StepEvents, *, changed: bool = True, **request) -> EngineResult:
        """Run the next steps, which must fit into what is left of the window.

        Parameters
        ----------
        parameters : list of LayerParameters
        events : StepEvents
        changed : bool
            Whether the parameters differ from the last call's (packing them costs time).
        **request
            Loss and its arrays, see `Request`.
        """
        call = Call(self.engine, parameters, events, Request(**request))
        if self.engine.library.gamma_advance(self._handle, call.layers, ctypes.byref(call.batch), int(changed)):
            raise EngineError(
                f"{events.n_steps} steps do not fit: {self.filled} of the window's {self.window} are taken; "
                "call reverse first."
            )
        self.filled += events.n_steps
        return call.result

    def reverse(self, parameters, *, flush: bool = False, **request) -> EngineResult:
        """Gradient of the older window; with `flush`, of everything not yet taken (the stream ends).

        Returns
        -------
        EngineResult
            ``gradients`` and, with ``train_tau``, ``dA``.
        """
        call = Call(
            self.engine, parameters, self._nothing(parameters), Request(gradient=True, readout=False, **request)
        )
        self.engine.library.gamma_reverse(
            self._handle, call.layers, ctypes.byref(call.batch), self.engine.max_weights, int(flush)
        )
        self.filled = 0
        return call.result

    def close(self) -> None:
        """Free the memory; the stream cannot be used any more."""
        if self._handle is not None:
            self.engine.library.gamma_close(self._handle)
            self._handle = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
