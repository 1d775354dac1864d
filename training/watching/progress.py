"""One line that says how far something is, wherever it is written.

In a terminal the line is rewritten in place, in a notebook it is one output that changes, in a file it is a new line
every few seconds, so that a log stays short and nobody has to ask whether the program still runs.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class BatchProgress:
    """What a progress display needs after a batch: running means over the epoch so far."""

    epoch: int
    batch: int
    n_batches: int
    loss: float
    accuracy: float
    spikes_per_neuron: float


class Status:
    """A line of progress.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    every : float
        Seconds between two lines of a file.
    stream : text stream, optional
        By default standard error.
    """

    def __init__(self, quiet: bool = False, every: float = 5.0, stream=None):
        self.quiet, self.every = quiet, every
        self.stream = sys.stderr if stream is None else stream
        self._last, self._shown, self._output = time.monotonic(), 0, None

    def show(self, text: str) -> None:
        """Say how far it is."""
        now = time.monotonic()
        if self.quiet:
            return
        if _in_notebook():
            if now - self._last > 0.2 or self._output is None:
                self._last, self._output = now, _display(text, self._output)
        elif self.stream.isatty():
            if now - self._last > 0.1 or not self._shown:
                self._last = now
                self.stream.write("\r" + text.ljust(self._shown))
                self.stream.flush()
                self._shown = len(text)
        elif now - self._last >= self.every:
            self._last = now
            self.stream.write(text + "\n")
            self.stream.flush()

    def clear(self) -> None:
        """Take the line away from a terminal."""
        if self._shown:
            self.stream.write("\r" + " " * self._shown + "\r")
            self.stream.flush()
            self._shown = 0


class TrainingStatus(Status):
    """Progress of `train`: ``train(network, task, options, on_batch=TrainingStatus(options.epochs))``.

    Parameters
    ----------
    epochs : int
        How many there will be.
    quiet, every, stream
        See `Status`.
    """

    def __init__(self, epochs: int, quiet: bool = False, every: float = 5.0, stream=None):
        super().__init__(quiet, every, stream)
        self.epochs, self._began = epochs, None

    def __call__(self, state: BatchProgress) -> None:
        """Show the running epoch, and the time left."""
        done = (state.epoch - 1 + state.batch / state.n_batches) / self.epochs
        if self._began is None:  # a resumed run begins in the middle
            self._began = time.monotonic(), done
        began, at = self._began
        left = (time.monotonic() - began) * (1 - done) / (done - at) if done > at else None
        self.show(
            f"epoch {state.epoch}/{self.epochs}  batch {state.batch}/{state.n_batches}  loss {state.loss:.4f}  "
            f"accuracy {state.accuracy:.1%}  spikes/neuron {state.spikes_per_neuron:.2f}"
            + ("" if left is None else f"  about {_duration(left)} left")
        )
        if done == 1:
            self.clear()


@contextlib.contextmanager
def working(what: str, quiet: bool = False, every: float = 5.0, stream=None, first: float = 1.0) -> Iterator[None]:
    """Say after a second what is being done, and every few seconds that it still is; for steps whose end is not known.

    Parameters
    ----------
    what : str
    quiet, every, stream
        See `Status`.
    first : float
        Seconds until the first line: what is over before it needs none.
    """
    began, over = time.monotonic(), threading.Event()

    def beat(stream):
        wait, text = first, f"{what} ...\n"
        while not over.wait(wait):
            stream.write(text)
            stream.flush()
            wait, text = every, f"  {what}: {_duration(time.monotonic() + every - began)}\n"

    if quiet:
        yield
        return
    with _lasting(sys.stderr if stream is None else stream) as stream:
        thread = threading.Thread(target=beat, args=(stream,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _lasting(stream):
    """A stream that says what it is told while Brian 2 compiles, which turns the process's standard error elsewhere."""
    try:
        is_standard = stream.fileno() == 2
    except (AttributeError, OSError):  # of a test, or of a notebook
        is_standard = False
    return os.fdopen(os.dup(2), "w") if is_standard else contextlib.nullcontext(stream)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules and "IPython" in sys.modules


def _display(text: str, output):
    from IPython.display import Pretty, display

    if output is None:
        return display(Pretty(text), display_id=True)
    output.update(Pretty(text))
    return output
