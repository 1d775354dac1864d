"""Pictures of a trained network for the demonstration: its input, what it does in Brian 2, how it learned.

Three figures. demo_events: the events of one recording in space and time (A) and summed over the thirds of the
recording, as many as its saccades (B to D). demo_sample: the same recording in the network, run by Brian 2: input,
spikes, evidence for each class, buckets of two neurons, and signals against the estimates decoded from spikes.
demo_learning: loss, accuracy and spikes per neuron in each epoch.

Claim: the network that was trained in the compiled engine is an ordinary Brian 2 network whose every variable can be
looked at. Without --run a small network learns the embedded digits first.
"""

from pathlib import Path

import numpy as np
from _style import BLUE, RED, label_panels, make, run_script
from brian2 import prefs
from learning_curve import HISTORY, first_recognised, from_run, train_quickly
from matplotlib.figure import Figure

from brian2grad.models import bin_events
from brian2grad.training.plots.history import history_figure
from brian2grad.training.plots.sample import draw_events, pixels, sample_figure

NAME = "demo_report"


def simulate(quick, run=None, data_root=None, sample=None):
    prefs.codegen.target = "numpy"  # one short sample: compiling would take longer than running
    network, records, archive, n_steps = train_quickly(quick) if run is None else from_run(run, data_root)
    recording = archive[first_recognised(network, archive, n_steps) if sample is None else sample]
    result = network.brian2(bin_events(recording, network.dt, n_steps), record=True)
    units, polarity = pixels(recording.units, archive.n_units)
    data = {key: [record[key] for record in records] for key in HISTORY if all(key in r for r in records)}
    data |= {
        "event_times": recording.times * (1e-6 * float(recording.time_unit_us)),
        "event_units": units,
        "n_units": archive.n_units if polarity is None else archive.n_units // 2,
        "readout": result.readout[0],
        "label": recording.labels[0],
        "dt": float(network.dt),
        "first": int(np.ceil(float(network.read_from) / float(network.dt) - 1e-9)),
        "n_layers": len(result.signals),
    }
    if polarity is not None:
        data["polarity"] = polarity
    for layer, (steps, neurons) in enumerate(result.spikes[0]):
        data |= {f"steps_{layer}": steps, f"neurons_{layer}": neurons, f"buckets_{layer}": result.buckets[layer][0]}
        data |= {f"y_{layer}": result.signals[layer][0], f"yhat_{layer}": result.estimates[layer][0]}
    return data


def plot(data):
    figures = {"demo_events": plot_events(data), "demo_sample": plot_sample(data)}
    if "epoch" in data and len(data["epoch"]):
        keys = [key for key in HISTORY if key in data]
        rows = zip(*(data[key] for key in keys), strict=True)
        figures["demo_learning"] = history_figure([dict(zip(keys, row, strict=True)) for row in rows])
    return figures


def plot_events(data):
    """Events of a camera in space and time, and as images; of another sensor as a raster."""
    times, units, n_units = data["event_times"], data["event_units"], int(data["n_units"])
    if "polarity" not in data:
        figure = Figure(figsize=(7.1, 3))
        ax = figure.subplots()
        draw_events(ax, times, units, n_units, label="Unit")
        ax.set_xlabel("Time (ms)")
        return figure
    side, brighter = round(n_units**0.5), data["polarity"].astype(bool)
    # Three-dimensional axes reserve no room for their labels, so places are given here.
    figure = Figure(figsize=(7.1, 4.2), layout="none")
    _plot_space(figure.add_axes((-0.03, -0.04, 0.71, 1.08), projection="3d"), times, units, brighter, side)
    images = figure.add_gridspec(3, 1, left=0.765, right=0.9, top=0.93, bottom=0.12, hspace=0.38).subplots()
    edges = np.linspace(0, len(data["readout"]) * float(data["dt"]), 4)
    windows = list(zip(edges[:-1], edges[1:], strict=True))
    frames = [_frame(units, brighter, (times >= a) & (times < b), side) for a, b in windows]
    largest = max(1, max(np.abs(frame).max() for frame in frames))
    for ax, frame, (a, b) in zip(images, frames, windows, strict=True):
        image = ax.imshow(frame, cmap="RdBu_r", vmin=-largest, vmax=largest)
        ax.set(title=f"{1e3 * a:.0f} to {1e3 * b:.0f} ms", xticks=(0, side - 1), yticks=(0, side - 1))
        ax.spines[:].set_visible(True)
        ax.tick_params(labelbottom=ax is images[-1])
    images[1].set_ylabel("Pixel row", labelpad=-4)
    images[2].set_xlabel("Pixel column")
    figure.colorbar(image, cax=figure.add_axes((0.925, 0.3, 0.014, 0.4)), label="Events, brighter $-$ darker")
    label_panels(images, "BCD", x=-0.32, y=1.02)
    figure.text(0.01, 0.945, "A", fontsize=10, fontweight="bold")
    return figure


def _plot_space(ax, times, units, brighter, side):
    ax.computed_zorder = False
    for chosen, colour, name in ((brighter, RED, "brighter"), (~brighter, BLUE, "darker")):
        x, y, t = units[chosen] % side, units[chosen] // side, 1e3 * times[chosen]
        ax.scatter(t, x, y, s=2.5, linewidths=0, color=colour, label=name, depthshade=False)
    ax.set(xlabel="Time (ms)", ylabel="Pixel column", zlabel="Pixel row", zlim=(side - 1, 0))
    ax.set(yticks=range(0, side, 10), zticks=range(0, side, 10))
    for axis, pad in ((ax.xaxis, 0), (ax.yaxis, -4), (ax.zaxis, -9)):
        axis.labelpad = pad
    ax.tick_params(pad=-1)
    ax.set_box_aspect((2.1, 1, 1), zoom=1.0)
    ax.view_init(elev=18, azim=-62)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0.93), markerscale=3, ncols=2)


def _frame(units, brighter, chosen, side):
    signs = np.where(brighter[chosen], 1, -1)
    return np.bincount(units[chosen], weights=signs, minlength=side * side).reshape(side, side)


def plot_sample(data):
    layers = range(int(data["n_layers"]))
    label = int(data["label"]) if data["label"].ndim == 0 else None
    return sample_figure(
        data["event_times"],
        data["event_units"],
        int(data["n_units"]),
        [(data[f"steps_{layer}"], data[f"neurons_{layer}"]) for layer in layers],
        data["readout"],
        dt=float(data["dt"]),
        signals=[data[f"y_{layer}"] for layer in layers],
        estimates=[data[f"yhat_{layer}"] for layer in layers],
        buckets=[data[f"buckets_{layer}"] for layer in layers],
        polarity=data.get("polarity"),
        first=int(data["first"]),
        label=label,
        title=None if label is None else f"Held-out recording of class {label}, run by Brian 2",
    )


def main(quick=False, out=None, replot=False, run=None, data_root=None, sample=None):
    """Draw the figures and return the paths of their files."""
    simulation = lambda quick: simulate(quick, run, data_root, sample)  # noqa: E731
    return make(NAME, simulation, plot, quick=quick, out=out, replot=replot)


if __name__ == "__main__":
    run_script(
        main,
        ("--run", {"type": Path, "help": "run folder written by `brian2grad train gamma`"}),
        ("--data-root", {"type": Path, "help": "folder of the run's recordings (or BRIAN2GRAD_DATA)"}),
        ("--sample", {"type": int, "help": "which held-out recording (the first that is recognised)"}),
    )
