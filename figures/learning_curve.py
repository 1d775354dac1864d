"""A SpikingGamma network learns recordings of an event camera, and what it does on one of them.

(A) Loss, accuracy and spikes per neuron in each epoch. (B) Events of one held-out recording, (C) spikes of the hidden
layer, (D) the readout of every class, (E) the evidence for every class (mean probability so far) and the time after
which the decision stays (dashed), (F) signals of four neurons,
from the most active to the median one, and the estimates decoded from their spikes;
a neuron emits at most one spike per step, so that an estimate cannot exceed 2 theta/(1 - exp(-dt/tau)).

Claim: direct error backpropagation through the decoded signals learns the task with few spikes per neuron, and the
decision is there before the recording ends. Without --run a small network learns the embedded digits first.
"""

from pathlib import Path

import numpy as np
from _style import GREY, label_panels, make, run_script
from brian2 import ms
from matplotlib.figure import Figure

from brian2grad.models import SpikingGammaNetwork, bin_events
from brian2grad.training import Run, TrainingOptions, load, load_splits, make_task, train
from brian2grad.training.plots.history import draw_history
from brian2grad.training.plots.sample import draw_code, draw_events, draw_evidence, pixels, some_active

NAME = "learning_curve"
HISTORY = ("epoch", "loss", "train_accuracy", "validation_accuracy", "spikes_per_neuron")


def train_quickly(quick):
    """Train on the embedded digits: network, records of the epochs, held-out recordings, duration of a sample."""
    limit, epochs = (256, 3) if quick else (None, 20)
    parts = load_splits("digits")
    task, held_out = (make_task(part, 10 * ms, limit=limit) for part in parts)
    network = SpikingGammaNetwork([task.events.n_units, 128, 10], K=5, tau=30 * ms, dt=10 * ms, read_from=50 * ms)
    options = TrainingOptions(epochs=epochs, batch_size=32, learning_rate=2e-3, activity=0.1, shift=1)
    return network, list(train(network, task, options, validation=held_out)), parts[1], task.events.n_steps


def from_run(folder, data_root):
    """Network, records, held-out recordings and number of steps of a run folder."""
    run = Run.open(folder)
    network = SpikingGammaNetwork.load(run.weights)
    data = run.config["data"]
    name = data["name"]
    root = data_root or run.config.get("run", {}).get("data_root")
    archive = load(name, root, "validation", held_out_speaker=data.get("held_out_speaker"))
    return network, run.metrics(), archive, int(np.ceil(data["duration_ms"] * 1e-3 / float(network.dt) - 1e-6))


def first_recognised(network, archive, n_steps):
    """Index of the first of the recordings that the network gets right: a typical case of a trained network."""
    right = network.predict(archive[:50], n_steps=n_steps) == archive.labels[:50]
    return int(right.argmax())


def simulate(quick, run=None, data_root=None, sample=None):
    network, records, archive, n_steps = train_quickly(quick) if run is None else from_run(run, data_root)
    recording = archive[first_recognised(network, archive, n_steps) if sample is None else sample]
    result = network.forward(bin_events(recording, network.dt, n_steps), record=True, traces=True)
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
    for layer, (steps, neurons, _) in enumerate(result.recorded[0]):
        signal, estimate = result.signals[layer][0], result.estimates[layer][0]
        shown = some_active((steps, neurons), signal, 4)
        data |= {f"steps_{layer}": steps, f"neurons_{layer}": neurons, f"n_{layer}": signal.shape[1]}
        data |= {f"shown_{layer}": shown, f"y_{layer}": signal[:, shown], f"yhat_{layer}": estimate[:, shown]}
    return data


def plot(data):
    n_layers = int(data["n_layers"])
    figure = Figure(figsize=(7.1, 5.7 + 1.1 * n_layers))
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.7, 3.6 + 1.1 * n_layers))
    history = top.subplots(1, 3)
    _plot_history(history, data)
    left, right = bottom.subfigures(1, 2)
    panels = left.subplots(3 + n_layers, 1, sharex=True)
    _plot_sample(panels, data, n_layers)
    coded = right.subplots(4, 1, sharex=True)
    _plot_code(coded, data, n_layers)
    panels[0].set_xlim(0, 1e3 * len(data["readout"]) * float(data["dt"]))
    coded[0].set_xlim(panels[0].get_xlim())
    label_panels(history[:1], "A", x=-0.3)
    label_panels([*panels, coded[0]], "BCDEFGHIJ", x=-0.17)
    return figure


def _plot_history(axes, data):
    keys = [key for key in HISTORY if key in data]
    if len(data["epoch"]):
        draw_history(axes, [dict(zip(keys, row, strict=True)) for row in zip(*(data[k] for k in keys), strict=True)])


def _plot_sample(panels, data, n_layers):
    dt = float(data["dt"])
    draw_events(panels[0], data["event_times"], data["event_units"], int(data["n_units"]),
                polarity=data.get("polarity"), label="Pixel" if "polarity" in data else "Unit")  # fmt: skip
    panels[0].set_title("Input")
    for layer in range(n_layers):
        ax = panels[1 + layer]
        steps = data[f"steps_{layer}"]
        draw_events(ax, steps * dt, data[f"neurons_{layer}"], int(data[f"n_{layer}"]), label="Neuron")
        ax.set_title(f"Hidden layer {layer + 1}: {len(steps) / int(data[f'n_{layer}']):.2f} spikes per neuron")
    t = np.arange(len(data["readout"])) * dt
    label = int(data["label"]) if data["label"].ndim == 0 else None
    for c, x in enumerate(data["readout"].T):
        right = c == label
        panels[-2].plot(1e3 * t, x, color="black" if right else "0.7", lw=1.4 if right else 0.6, zorder=2 + right)
    panels[-2].set(ylabel="Readout $x$")
    panels[-2].set_title("Readout" if label is None else f"Readout, class {label} is right (black)")
    draw_evidence(panels[-1], t, data["readout"], int(data["first"]), label)
    panels[-1].set_xlabel("Time (ms)")
    panels[-1].axvspan(0, 1e3 * int(data["first"]) * dt, color="0.93", lw=0)


def _plot_code(axes, data, n_layers):
    shown = [(layer, k) for k in range(4) for layer in range(n_layers)][:4]
    t = np.arange(len(data["readout"])) * float(data["dt"])
    for ax, (layer, k) in zip(axes, sorted(shown), strict=True):
        draw_code(ax, t, data[f"y_{layer}"][:, k], data[f"yhat_{layer}"][:, k])
        neuron = data[f"shown_{layer}"][k]
        spikes = data[f"steps_{layer}"][data[f"neurons_{layer}"] == neuron]
        ax.eventplot([1e3 * spikes * float(data["dt"])], lineoffsets=0, linelengths=0.12 * ax.get_ylim()[1],
                     colors="black", linewidths=0.8)  # fmt: skip
        ax.set_title(f"Neuron {neuron}" if n_layers == 1 else f"Layer {layer + 1}, neuron {neuron}")
        ax.set_ylabel("Signal")
    axes[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.1)
    axes[-1].set_xlabel("Time (ms)")
    axes[-1].axhline(0, color=GREY, lw=0.5)


def main(quick=False, out=None, replot=False, run=None, data_root=None, sample=None):
    """Draw the figure and return the paths of its files."""
    simulation = lambda quick: simulate(quick, run, data_root, sample)  # noqa: E731
    return make(NAME, simulation, plot, quick=quick, out=out, replot=replot)


if __name__ == "__main__":
    run_script(
        main,
        ("--run", {"type": Path, "help": "run folder written by `brian2grad train gamma`"}),
        ("--data-root", {"type": Path, "help": "folder of the run's recordings (or BRIAN2GRAD_DATA)"}),
        ("--sample", {"type": int, "help": "which held-out recording (the first that is recognised)"}),
    )
