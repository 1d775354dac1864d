"""Pictures of a training run."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from .style import BLUE, GREY, RED, STYLE, above


def draw_history(axes, records) -> None:
    """Draw loss, accuracy and spikes per neuron of each epoch into three axes.

    Parameters
    ----------
    axes : three matplotlib Axes
    records : list of dict
        As in a run's ``metrics.jsonl``.
    """
    epochs = [record["epoch"] for record in records]
    curves = (
        ("Loss (nats)", (("loss", "training", GREY),)),
        ("Accuracy (%)", (("train_accuracy", "training", GREY), ("validation_accuracy", "validation", BLUE))),
        ("Spikes per neuron\nand sample", (("spikes_per_neuron", "hidden neurons", RED),)),
    )
    for ax, (label, lines) in zip(axes, curves, strict=True):
        for key, name, colour in lines:
            if all(key in record for record in records):
                values = np.array([record[key] for record in records])
                values = 100 * values if "accuracy" in key else values
                ax.plot(epochs, values, "o-", ms=2.5, color=colour, label=name)
        ax.set(xlabel="Epoch", ylabel=label)
        ax.xaxis.get_major_locator().set_params(integer=True)
        above(ax)
    losses = [record["loss"] for record in records]
    if min(losses) > 0 and max(losses) > 5 * min(losses):  # a narrow range leaves a logarithmic axis without ticks
        axes[0].set_yscale("log")
    else:
        axes[0].set_ylim(0, 1.1 * max(losses))
    axes[2].set_ylim(0, 1.1 * max(max(record["spikes_per_neuron"] for record in records), 0.1))


def history_figure(records) -> Figure:
    """Figure of `draw_history`."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.1, 2.1), layout="constrained")
        draw_history(figure.subplots(1, 3), records)
    return figure
