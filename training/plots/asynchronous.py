"""Pictures of asynchronous runs: spikes in the order in which they were processed, how activity spreads, latencies."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from .style import BLUE, GREEN, GREY, ORANGE, RED, STYLE, above


def layer_of(network) -> np.ndarray:
    """Layer of every neuron, counted from 1, (N,)."""
    return network.connectivity.layer_of()[network.n_inputs :]


def draw_processing_order(ax, network, spikes, label=None) -> None:
    """Raster over the running number of the spike: what is side by side was processed one after another.

    Parameters
    ----------
    ax : matplotlib Axes
    network : AsynchronousNetwork
    spikes : SpikeList
        Of one sample.
    label : int, optional
        Class whose output's spikes are marked as correct.
    """
    order, layers = np.arange(len(spikes)), layer_of(network)
    output = layers == layers.max()
    is_output = output[spikes.neuron]
    ax.plot(order[~is_output], spikes.neuron[~is_output], ".", color=GREY, ms=2.5, label="hidden")
    first = network.n_neurons - network.connectivity.n_outputs
    correct = is_output & (spikes.neuron - first == (-1 if label is None else label))
    ax.plot(order[is_output & ~correct], spikes.neuron[is_output & ~correct], "x", color=RED, ms=4, label="output")
    if label is not None:
        ax.plot(order[correct], spikes.neuron[correct], "o", color=GREEN, ms=4, label=f"output {label}, correct")
    for boundary in np.flatnonzero(np.diff(layers)) + 0.5:
        ax.axhline(boundary, color=GREY, lw=0.4)
    for boundary in np.flatnonzero(np.diff(spikes.timestep)) + 0.5:
        ax.axvline(boundary, color=GREY, lw=0.4, ls=":")
    ax.set(xlabel="Spike, in processing order (dotted: next timestep)", ylabel="Neuron")
    above(ax)


def spread(network, spikes, forward_steps) -> np.ndarray:
    """Mean spikes of each layer per sample and timestep at every forward step, (max steps, n_layers)."""
    layers = layer_of(network)
    n_layers, longest = int(layers.max()), int(spikes.step.max(initial=0)) + 1
    flat = spikes.step.astype(np.int64) * n_layers + layers[spikes.neuron] - 1
    counts = np.bincount(flat, minlength=longest * n_layers).reshape(longest, n_layers)
    return counts / np.asarray(forward_steps).size


def draw_spread(ax, network, result) -> None:
    """How activity moves through the layers within a timestep, against forward steps.

    Parameters
    ----------
    ax : matplotlib Axes
    network : AsynchronousNetwork
    result : AsynchronousResult
        Recorded.
    """
    table = spread(network, result.spikes, result.counters["forward_steps"])
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.88, table.shape[1]))
    for k, column in enumerate(table.T):
        name = "output" if k == table.shape[1] - 1 else f"layer {k + 1}"
        ax.step(np.arange(len(column)), column, where="mid", color=colours[k], label=name)
    ax.set(xlabel="Forward step of the timestep", ylabel="Spikes per timestep")
    above(ax)


def draw_latency(ax, result, labels) -> None:
    """Histogram of the network spikes until the first output spike, and until the first correct one."""
    values = [found.spikes[np.isfinite(found.spikes)] for found in (result.latency(), result.latency(labels))]
    top = max((float(v.max()) for v in values if len(v)), default=1.0)
    width = max(1, int(np.ceil((top + 1) / 30)))  # spikes are counted: no bin between two numbers
    bins = np.arange(-0.5, top + width + 0.5, width)
    for data, colour, name in zip(values, (BLUE, ORANGE), ("first output", "correct output"), strict=True):
        ax.hist(data, bins, histtype="step", color=colour, label=name)
        if len(data):
            ax.axvline(float(np.median(data)), color=colour, lw=0.7, ls="--")
    ax.set(xlabel="Network spikes until decision (dashed: median)", ylabel="Samples")
    for axis in (ax.xaxis, ax.yaxis):
        axis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    above(ax)


def async_figure(network, seen, label, many, labels) -> Figure:
    """One sample in processing order; spread of activity and decision latencies over many samples.

    Parameters
    ----------
    network : AsynchronousNetwork
    seen : object
        Run of the sample, with ``spikes``.
    label : int
    many : AsynchronousResult
        Recorded run of several samples.
    labels : (n_samples,) array of int
        Theirs.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.1, 5.0), layout="constrained")
        grid = figure.add_gridspec(2, 2, height_ratios=(3, 2))
        draw_processing_order(figure.add_subplot(grid[0, :]), network, seen.spike_list, label)
        draw_spread(figure.add_subplot(grid[1, 0]), network, many)
        draw_latency(figure.add_subplot(grid[1, 1]), many, labels)
    return figure
