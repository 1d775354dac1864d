"""Loss along a weight, with the exact gradient. Claim: the loss of a leaky integrate-and-fire neuron jumps where a
spike appears or vanishes, that of a quadratic one does not, as its spikes come and go only at the end of the trial;
between jumps the gradient is the slope.

A: squared distance of all spike times from 12 ms, weighed down to zero at the end of the trial, of an LIF neuron with
two input spikes. B: the same of a QIF neuron. Below: derivative, by the adjoint (line) and by differences (points).
"""

from __future__ import annotations

import numpy as np
from _style import BLUE, GREY, ORANGE, label_panels, make, run_script
from brian2 import NeuronGroup, SpikeGeneratorGroup, Synapses, ms, prefs
from matplotlib.figure import Figure

from brian2grad.training import HybridProblem, spike_loss

MODELS = {
    "lif": ("dv/dt = (I - v)/tau : 1", "v > 1", "v = 0", (3.4, 6.4)),
    "qif": ("dv/dt = (v*(v - 1) + I)/tau : 1", "v > 30", "v = -2", (2.5, 7.5)),
}
NAMES = {"tau": 10 * ms, "tau_s": 5 * ms, "ms": ms}


def problem_of(name):
    """One neuron, two input spikes, one weight."""
    flow, threshold, reset, _ = MODELS[name]
    neuron = NeuronGroup(1, flow + "\ndI/dt = -I/tau_s : 1", threshold=threshold, reset=reset)
    inputs = SpikeGeneratorGroup(1, [0, 0], [2, 11] * ms)
    synapses = Synapses(inputs, neuron, "w : 1", on_pre="I_post += w")
    synapses.connect()
    loss = spike_loss("((t - 12*ms)/(10*ms))**2*(1 - t/(40*ms))**2", neuron)
    return HybridProblem([neuron, inputs, synapses], loss, [(synapses, "w")], 40 * ms, NAMES, engine="oracle")


def simulate(quick):
    """Loss, exact derivative and number of spikes along the weight."""
    prefs.codegen.target, data = "numpy", {}
    for name, (*_, (low, high)) in MODELS.items():
        problem = problem_of(name)
        key, weights = problem.keys[0], np.linspace(low, high, 25 if quick else 121)
        losses, slopes, counts = [], [], []
        for w in weights:
            value, (slope,) = problem.loss_and_gradients({key: np.array([w])})
            losses.append(value)
            slopes.append(slope[0])
            tape = problem.simulate({key: np.array([w])})
            counts.append(len(tape.spikes) - len(tape.input_spikes))
        data |= {f"{name}_w": weights, f"{name}_loss": losses, f"{name}_slope": slopes, f"{name}_count": counts}
    return data


def plot(data):
    """Draw loss and derivative of both neurons."""
    figure = Figure(figsize=(6.6, 3.6), layout="constrained")
    axes = figure.subplots(2, 2, sharex="col")
    for column, (name, title) in enumerate((("lif", "Leaky"), ("qif", "Quadratic"))):
        w, loss, slope, count = (data[f"{name}_{part}"] for part in ("w", "loss", "slope", "count"))
        top, bottom = axes[:, column]
        for piece in np.split(np.arange(len(w)), np.flatnonzero(np.diff(count)) + 1):
            top.plot(w[piece], loss[piece], color=BLUE)
            bottom.plot(w[piece], slope[piece], color=ORANGE)
            if len(piece) > 2:
                middle = 0.5 * (w[piece][1:] + w[piece][:-1])
                bottom.plot(middle, np.diff(loss[piece]) / np.diff(w[piece]), ".", color=GREY, ms=2)
        for jump in np.flatnonzero(np.diff(count)):
            top.axvline(0.5 * (w[jump] + w[jump + 1]), color=GREY, lw=0.5, ls=":")
        limit = np.quantile(np.abs(slope), 0.97) * 1.3
        bottom.set(xlabel="Weight", ylim=(-limit, limit))
        top.set_title(f"{title} integrate-and-fire")
    axes[0, 0].set_ylabel("Loss")
    axes[1, 0].set_ylabel("Derivative")
    label_panels([axes[0, 0], axes[0, 1]])
    return figure


def main(quick=False, out=None, replot=False):
    """Draw the figure and return the paths of its files."""
    return make("exact_landscape", simulate, plot, quick=quick, out=out, replot=replot)


if __name__ == "__main__":
    run_script(main)
