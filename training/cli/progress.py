"""Progress of a command: a bar per epoch in a terminal, lines in a file; one line per finished epoch."""

from __future__ import annotations

import contextlib

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..watching.progress import BatchProgress, Status, TrainingStatus
from .voice import console


class TrainingDisplay:
    """Bar over the batches of the running epoch and a line for each finished one.

    Parameters
    ----------
    epochs : int
    quiet : bool
        Print nothing.
    """

    def __init__(self, epochs: int, quiet: bool = False):
        self.console = console()
        self.epochs = epochs
        self._lines = None if self.console.is_terminal else TrainingStatus(epochs, quiet)
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/" + str(epochs)),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}  accuracy {task.fields[accuracy]:.2%}"),
            TextColumn("spikes/neuron {task.fields[spikes]:.2f}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self._task = None

    def __enter__(self):
        if self._lines is None:
            self._progress.start()
        return self

    def __exit__(self, *exception):
        if self._lines is None:
            self._progress.stop()

    def batch(self, state: BatchProgress) -> None:
        """Show the running epoch."""
        if self._lines is not None:
            self._lines(state)
            return
        values = {
            "epoch": state.epoch,
            "loss": state.loss,
            "accuracy": state.accuracy,
            "spikes": state.spikes_per_neuron,
        }
        if self._task is None:
            self._task = self._progress.add_task("", total=state.n_batches, **values)
        self._progress.update(self._task, completed=state.batch, total=state.n_batches, **values)

    def epoch(self, record: dict) -> None:
        """Print the line of a finished epoch."""
        text = f"epoch {record['epoch']:3d}/{self.epochs}  loss {record['loss']:.4f}"
        text += f"  train {record['train_accuracy']:.2%}"
        if "validation_accuracy" in record:
            text += f"  validation {record['validation_accuracy']:.2%}"
        text += f"  spikes/neuron {record['spikes_per_neuron']:.2f}  {record['seconds']:.1f} s"
        self._progress.console.print(text, soft_wrap=True)


@contextlib.contextmanager
def counting(total: int, what: str, quiet: bool = False):
    """Bar over `total` items; yields a function to call with the number done."""
    shown = console()
    if quiet or not shown.is_terminal:
        lines = Status(quiet or shown.quiet)
        yield lambda done: lines.show(f"{what}: {done} of {total}")
        return
    with Progress(
        TextColumn(what), BarColumn(bar_width=30), MofNCompleteColumn(), TimeRemainingColumn(),
        console=shown, transient=True,
    ) as progress:  # fmt: skip
        task = progress.add_task("", total=total)
        yield lambda done: progress.update(task, completed=done)
