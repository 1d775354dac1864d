"""Membrane, adjoint and accumulated gradient over time. Claim: the adjoint walks backward from event to event, and what
it gathers on the way is the gradient that central differences find.

Left: an LIF neuron with an exponential current, right: an AdEx neuron. From above: membrane potential and spikes;
p = dL/dV, which jumps at spikes; the part of the derivative by the input weight that is gathered from the end of the
run back to a time (line), beside the central difference (dashed).
"""

from __future__ import annotations

import numpy as np
from _style import BLUE, GREEN, GREY, ORANGE, label_panels, make, run_script
from brian2 import NeuronGroup, SpikeGeneratorGroup, Synapses, ms, mV, nA, pA, prefs
from matplotlib.figure import Figure

from brian2grad.equations.ready import adex, leaky_integrate_and_fire
from brian2grad.models.hybrid.adjoint import Backward
from brian2grad.training import HybridProblem, spike_loss
from brian2grad.training.exact.check import check_gradient

MODELS = {"lif": (leaky_integrate_and_fire, 0.25 * nA), "adex": (adex, 0.7 * nA)}
DURATION = 60


class Watched(Backward):
    """Keeps the adjoint of the membrane and the gradient of the weight at every event, walking backward."""

    def __init__(self, tape, key):
        super().__init__(tape)
        self.key, self.times, self.adjoints, self.gathered = key, [], [], []

    def _follow(self, group, index, flight, start, end):
        self.note(group, end)
        points = max(2, int((end - start) / 1e-3))
        for late, early in zip(np.linspace(end, start, points), np.linspace(end, start, points)[1:], strict=False):
            super()._follow(group, index, flight, early, late)
            self.note(group, early)

    def note(self, group, t):
        self.times.append(t)
        self.adjoints.append(self.p[group.name][0, group.states.index("v")])
        self.gathered.append(self.gradients[self.key][0])


def simulate(quick):
    """Traces of both models."""
    prefs.codegen.target, data = "numpy", {}
    for name, (make_model, drive) in MODELS.items():
        model = make_model()
        neuron = NeuronGroup(1, model, **model.arguments, name="neuron")
        model.assign(neuron)
        neuron.I_ext = drive
        inputs = SpikeGeneratorGroup(1, [0] * 4, [4, 17, 30, 41] * ms)
        synapses = Synapses(inputs, neuron, **model.synapse)
        synapses.connect()
        synapses.w = 150 * pA
        loss = spike_loss("(t/(20*ms))**2", neuron)
        problem = HybridProblem(
            [neuron, inputs, synapses], loss, [(synapses, "w")], DURATION * ms, {"ms": ms}, engine="oracle"
        )
        tape = problem.simulate()
        watched = Watched(tape, problem.keys[0])
        watched.run()
        flights = [*(e.flight for e in tape.events), tape.cells["neuron"][0].flight]
        column = problem.network.groups["neuron"].states.index("v")
        times = [t for f in flights for t in np.linspace(f.start, f.end, 20 if quick else 100)]
        v = [f(t)[column] / float(mV) for f in flights for t in np.linspace(f.start, f.end, 20 if quick else 100)]
        data |= {
            f"{name}_t": np.array(times) * 1e3, f"{name}_v": v,
            f"{name}_spikes": [t * 1e3 for t, owner, _ in tape.spikes if owner == "neuron"],
            f"{name}_back_t": np.array(watched.times) * 1e3, f"{name}_p": np.array(watched.adjoints) * 1e-3,
            f"{name}_gathered": np.array(watched.gathered) * 1e-9,
            f"{name}_difference": check_gradient(problem).entries[0].difference * 1e-9,
        }  # fmt: skip
    return data


def plot(data):
    """Draw three rows for each model."""
    figure = Figure(figsize=(6.6, 4.2), layout="constrained")
    axes = figure.subplots(3, 2, sharex=True)
    for column, (name, title) in enumerate((("lif", "Leaky integrate-and-fire"), ("adex", "AdEx"))):
        top, middle, bottom = axes[:, column]
        top.plot(data[f"{name}_t"], data[f"{name}_v"], color=BLUE)
        for t in data[f"{name}_spikes"]:
            top.axvline(t, color=GREY, lw=0.5, ls=":")
        middle.plot(data[f"{name}_back_t"], data[f"{name}_p"], color=ORANGE)
        bottom.plot(data[f"{name}_back_t"], data[f"{name}_gathered"], color=GREEN)
        bottom.axhline(float(data[f"{name}_difference"]), color=GREY, ls="--", lw=0.8, label="central difference")
        top.set_title(title)
        bottom.set_xlabel("Time (ms)")
    for ax, text in zip(axes[:, 0], ("Membrane (mV)", "dL/dV (1/mV)", "Gathered dL/dw (1/nA)"), strict=True):
        ax.set_ylabel(text)
    axes[2, 0].legend(frameon=False)
    label_panels(axes[0])
    return figure


def main(quick=False, out=None, replot=False):
    """Draw the figure and return the paths of its files."""
    return make("exact_traces", simulate, plot, quick=quick, out=out, replot=replot)


if __name__ == "__main__":
    run_script(main)
