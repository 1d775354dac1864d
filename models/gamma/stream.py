"""Endless streams: the engine runs on as steps arrive; gradients come with a fixed lag, in constant memory."""

from __future__ import annotations

import numpy as np

from ..errors import EngineError, NetworkError
from ..events import StepEvents
from .call import EngineResult, GammaCall, GammaOptions
from .engine import GammaEngine


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
        self.engine, self.window, self.filled, self.n_samples, self.learn = engine, int(window), 0, n_samples, learn
        call = GammaCall(engine, parameters, self._nothing(), GammaOptions(readout=False))
        handle = engine.ffi.new("void**")
        status = engine.library.gamma_open(call.arguments, self.window, int(learn), handle)
        call.check(status, f"use a window shorter than {window} steps")
        self._handle = engine.ffi.gc(handle[0], engine.library.gamma_close)

    def _nothing(self) -> StepEvents:
        empty = np.zeros(0, np.uint16), np.zeros(0, np.uint8)
        return StepEvents(np.zeros(1, np.int64), *empty, self.engine.plan.sizes[0], 0, self.n_samples, 1.0)

    def advance(self, parameters, events: StepEvents, *, changed: bool = True, **options) -> EngineResult:
        """Run the next steps, which must fit into what is left of the window.

        Parameters
        ----------
        parameters : list of LayerParameters
        events : StepEvents
        changed : bool
            Whether the parameters differ from the last call's (packing them costs time).
        **options
            Loss and its arrays, see `GammaOptions`.
        """
        if events.n_samples != self.n_samples:
            raise NetworkError(f"The events have {events.n_samples} samples, the stream {self.n_samples}.")
        if self.filled + events.n_steps > self.window:
            raise EngineError(
                f"{events.n_steps} steps do not fit: {self.filled} of the window's {self.window} are taken; "
                "call reverse first."
            )
        call = GammaCall(self.engine, parameters, events, GammaOptions(**options))
        status = self.engine.library.gamma_advance(self._open(), call.arguments, int(changed))
        if status:
            self.close()  # some samples have run, others have not
        self.filled += events.n_steps
        return call.check(status)

    def reverse(self, parameters, *, flush: bool = False, **options) -> EngineResult:
        """Gradient of the older window; with `flush`, of everything not yet taken (the stream ends).

        Returns
        -------
        EngineResult
            Only ``gradients``.
        """
        if not self.learn:
            raise EngineError("The stream was opened with learn=False: it keeps nothing that a gradient needs.")
        options = GammaOptions(gradient=True, readout=False, **options)
        call = GammaCall(self.engine, parameters, self._nothing(), options)
        self.filled = 0
        return call.check(self.engine.library.gamma_reverse(self._open(), call.arguments, int(flush)))

    def _open(self):
        if self._handle is None:
            raise EngineError("The stream is closed; open another one.")
        return self._handle

    def close(self) -> None:
        """Free the memory; the stream cannot be used any more."""
        if self._handle is not None:
            self.engine.ffi.release(self._handle)
            self._handle = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
