"""Progress on the terminal: one bar per epoch, one line per finished epoch."""

from __future__ import annotations

import contextlib

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..loop import BatchProgress


class TrainingDisplay:
    """Bar over the batches of the running epoch and a line for each finished one.

    Parameters
    ----------
    epochs : int
    quiet : bool
        Print nothing.
    """

    def __init__(self, epochs: int, quiet: bool = False):
        self.console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self.epochs = epochs
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
        self._progress.start()
        return self

    def __exit__(self, *exception):
        self._progress.stop()

    def batch(self, state: BatchProgress) -> None:
        """Show the running epoch."""
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
    console = Console(stderr=True, quiet=quiet, highlight=False)
    with Progress(
        TextColumn(what), BarColumn(bar_width=30), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, transient=True,
    ) as progress:  # fmt: skip
        task = progress.add_task("", total=total)
        yield lambda done: progress.update(task, completed=done)
