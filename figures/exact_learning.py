"""Networks of the user's own neurons learn Yin-Yang by the exact gradient of their spike times.

(A) Loss and (B) errors on new points in each epoch, leaky and quadratic integrate-and-fire neurons in the hidden layer;
black circles: EventProp with 200 hidden neurons (Wunderlich & Pehle 2021, as measured in a later reproduction).
(C) Spikes per neuron.

Claim: 120 neurons with trained weights and delays end below the errors of 200 with trained weights.
Without --run small networks learn points drawn here, and the circles are left out.
"""

from pathlib import Path

import numpy as np
from _style import BLUE, ORANGE, label_panels, make, run_script
from brian2 import ms
from matplotlib.figure import Figure

from brian2grad import HighestPotential, TrainableNetwork, TrainingOptions, train
from brian2grad.training import Run
from brian2grad.training.data import VectorArchive, encode_vectors
from brian2grad.training.exact import spike_task
from brian2grad.training.exact.ready import Layers, ready_network

NAME = "exact_learning"
KEYS = ("epoch", "loss", "train_accuracy", "validation_accuracy", "spikes_per_neuron")
MODELS = {"lif": ((300, 200), {"C": 1e-10, "V_r": -0.07, "t_ref": 0.0}), "qif": ((250, 170), {"C": 1e-10})}
PUBLISHED = np.array([[1, 81.1], [2, 90.7], [4, 94.8], [9, 96.7], [19, 97.0], [49, 97.8]])  # epoch, accuracy


def points(n, rng):
    """Points in the disc with labels yin, yang, dot, all classes alike."""
    xy = rng.random((10 * n, 2))
    xy = xy[np.hypot(*(xy.T - 0.5)) <= 0.5]
    left, right = (np.hypot(xy[:, 0] - x, xy[:, 1] - 0.5) for x in (0.25, 0.75))
    yin = (right <= 0.1) | ((left > 0.1) & (left <= 0.25)) | ((xy[:, 1] > 0.5) & (right > 0.25))
    labels = np.where((left < 0.1) | (right < 0.1), 2, np.where(yin, 0, 1))
    chosen = np.concatenate([np.flatnonzero(labels == k)[: n // 3] for k in range(3)])
    return spike_task(encode_vectors(VectorArchive(xy[chosen], labels[chosen])))


def learn(model, quick):
    """Records of the epochs of a small network."""
    rng, (weights, constants) = np.random.default_rng(0), MODELS[model]
    learned, held_out = points(300 if quick else 1500, rng), points(150 if quick else 600, rng)
    layers = Layers([20 if quick else 60], weights, trained=["w", "delay"], delay_ms=4, constants=constants,
                    output={"C": 1e-10})  # fmt: skip
    network = TrainableNetwork(**ready_network(model, 5, 3, layers, 60 * ms, seed=0))
    goal = HighestPotential(gain=50, wake=0.18, rate=0.3)
    options = TrainingOptions(epochs=2 if quick else 20, batch_size=32, learning_rate=4e-3, loss=goal)
    return list(train(network, learned, options, validation=held_out))


def simulate(quick, runs=None):
    """Curves of every run, or of small networks of both kinds."""
    if runs:
        records = {Run.open(run).config["network"]["model"]: Run.open(run).metrics() for run in runs}
    else:
        records = {model: learn(model, quick) for model in MODELS}
    data = {f"{model}.{key}": [r[key] for r in found] for model, found in records.items() for key in KEYS}
    return data | ({"published": PUBLISHED} if runs else {})


def plot(data):
    """Draw the three panels."""
    figure = Figure(figsize=(7.1, 2.5), layout="constrained")
    axes = figure.subplots(1, 3)
    for model, colour in zip(MODELS, (BLUE, ORANGE), strict=True):
        if f"{model}.epoch" in data:
            curve = {key: data[f"{model}.{key}"] for key in KEYS}
            values = (curve["loss"], 100 * (1 - curve["validation_accuracy"]), curve["spikes_per_neuron"])
            for ax, y in zip(axes, values, strict=True):
                ax.plot(curve["epoch"], y, "o-", ms=2, color=colour, label=model.upper())
    if "published" in data:
        epochs, accuracy = data["published"].T
        axes[1].plot(epochs, 100 - accuracy, "o", mfc="none", ms=4, color="black", label="EventProp, 200 LIF")
    for ax, label in zip(
        axes, ("Loss (nats)", "Errors on new points (%)", "Spikes per neuron\nand sample"), strict=True
    ):
        ax.set(xlabel="Epoch", ylabel=label)
        ax.xaxis.get_major_locator().set_params(integer=True)
    for ax in axes[:2]:
        lowest, highest = ax.dataLim.intervaly
        if highest > 5 * lowest > 0:  # a narrow range leaves a logarithmic axis without ticks
            ax.set_yscale("log")
    axes[2].set_ylim(0, 1.1 * axes[2].dataLim.y1)
    axes[1].legend()
    label_panels(axes)
    return figure


def main(quick=False, out=None, replot=False, run=None):
    """Draw the figure and return the paths of its files."""
    return make(NAME, lambda quick: simulate(quick, run), plot, quick=quick, out=out, replot=replot)


if __name__ == "__main__":
    run_script(main, ("--run", {"type": Path, "nargs": "+", "help": "run folders written by `brian2grad train exact`"}))
