"""Pictures of a page, as text that a page can hold."""

from __future__ import annotations

import base64
import io

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ..plots.style import BLUE, RED, STYLE


def svg(figure: Figure) -> str:
    """A figure as SVG without its preamble; the same figure gives the same text."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "brian2grad", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def image(content: bytes) -> str:
    """A PNG as the address of an image."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def confusion_figure(table: np.ndarray) -> Figure:
    """Confusion matrix, rows in per cent; a column for no answer where there is any."""
    n = len(table)
    shown = table if table[:, n].any() else table[:, :n]
    share = 100 * shown / np.maximum(shown.sum(axis=1, keepdims=True), 1)
    with matplotlib.rc_context(STYLE):
        size = min(5.5, 1.4 + 0.3 * n)
        figure = Figure(figsize=(size + 0.6, size), layout="constrained")
        ax = figure.subplots()
        drawn = ax.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        if n <= 20:
            for (row, column), value in np.ndenumerate(shown):
                if value:
                    colour = "white" if share[row, column] > 60 else "black"
                    ax.text(column, row, value, ha="center", va="center", color=colour, fontsize=6)
        ticks = list(range(0, n, max(1, n // 20)))
        columns = [*ticks, n] if shown.shape[1] > n else ticks
        ax.set_xticks(columns, [str(t) if t < n else "none" for t in columns])
        ax.set_yticks(ticks)
        ax.set(xlabel="Answer", ylabel="Class")
        figure.colorbar(drawn, ax=ax, label="Share of the class (%)", shrink=0.8)
    return figure


def layers_figure(per_layer: np.ndarray, sizes: list[int] | None) -> Figure:
    """Spikes per sample, layer by layer, and of known sizes per neuron: median and middle half of the samples."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.4, 2.2), layout="constrained")
        ax = figure.subplots()
        density = per_layer / np.asarray(1 if sizes is None else sizes)
        low, middle, high = np.percentile(density, [25, 50, 75], axis=0)
        places = np.arange(density.shape[1])
        ax.bar(places, middle, color=RED, width=0.6)
        ax.errorbar(places, middle, [middle - low, high - middle], fmt="none", ecolor="black", lw=0.8, capsize=2)
        if sizes is None:
            ax.set_xticks(places, [str(k + 1) for k in places])
            ax.set(xlabel="Group, the outputs last", ylabel="Spikes per sample")
        else:
            ax.set_xticks(places, [f"{k + 1}\n({n})" for k, n in enumerate(sizes)])
            ax.set(xlabel="Layer (neurons)", ylabel="Spikes per neuron\nand sample")
    return figure


def latency_figure(times_ms: np.ndarray) -> Figure:
    """Share of samples that have decided, and rightly, over time; (n_samples, 2) milliseconds, nan for never."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.4, 2.2), layout="constrained")
        ax = figure.subplots()
        for column, (name, colour) in enumerate((("decided", BLUE), ("decided, and right", RED))):
            times = np.sort(times_ms[:, column][~np.isnan(times_ms[:, column])])
            ax.step(
                np.r_[0, times], 100 * np.arange(len(times) + 1) / len(times_ms), where="post", color=colour, label=name
            )
        ax.set(xlabel="Time (ms)", ylabel="Samples (%)", ylim=(0, 102))
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    return figure
