"""Delayed match to sample: the memory of a feedforward spiking network bridges silent gaps, learned online.

A stimulus (one of four groups of 5 inputs, 50 ms at 200 spikes per second), a silent gap, a probe: is it the same?
The gap varies by 20 % to either side from trial to trial, so the answer cannot be read off one delay. Network: 20
inputs, 64 SpikingGamma neurons (per-synapse buckets, K = 8), linear readout; rule `online`, every trial seen once;
nothing is recurrent. (A) One trial with a gap of one second: input, hidden spikes, readout; the question is asked in
the shaded time. (B) Correct answers on new trials while learning, for three gaps, with a memory K*tau of 1.3 gaps.
(C) Correct answers against the gap for three fixed memories and for one that grows with the gap. (D) Spikes per
hidden neuron and trial.

Claim: a gap is bridged, at any length, by buckets that reach as far as the gap; a shorter memory answers at chance.
Where the task is solved a hidden neuron spends 5 to 6 spikes, however long the gap.
"""

import numpy as np
from _style import BLUE, GREEN, GREY, ORANGE, RED, label_panels, run_script
from _timing import cosine, make_from_points
from brian2 import ms, second
from matplotlib.figure import Figure

from brian2grad.models import SpikingGammaNetwork
from brian2grad.training import Adam
from brian2grad.training.plots.style import above
from brian2grad.training.timing_tasks.synthetic import match_to_sample
from brian2grad.training.timing_tasks.timing import learn

NAME = "timing_match"
STIMULI, UNITS, HIDDEN, K, THETA, RATE, BATCH, DT = 4, 5, 64, 8, 0.5, 0.01, 32, 10 * ms
COLOURS = (GREEN, ORANGE, RED)


def measure_gap(gap, memory, seed, updates):
    """Learn one gap (s) with a memory K*tau (s); correct answers and spikes on new trials."""
    options = {"n_stimuli": STIMULI, "n_units": UNITS}
    network = SpikingGammaNetwork(
        [STIMULI * UNITS, HIDDEN, 2], K=K, tau=memory / K * second, dt=DT, theta=THETA, buckets="synapse", seed=seed,
        threads=1,
    )  # fmt: skip
    test = match_to_sample(200, gap * second, DT, seed=10**6, **options)
    network.calibrate(match_to_sample(16, gap * second, DT, seed=10**6 + 1, **options).events)
    optimiser, history = Adam(RATE), []
    for step in range(updates + 1):
        if step % max(1, updates // 10) == 0 or step == updates:
            history.append((step * BATCH, *score(network, test)))
        if step < updates:
            batch = match_to_sample(BATCH, gap * second, DT, seed=1000 * (seed + 1) + step, **options)
            learn(network, optimiser, batch, factor=cosine(step, updates))
    sample = test.events.take(int(np.flatnonzero(test.answers == 1)[0]))
    run = network.forward(sample, record=True)
    steps, neurons, _ = run.recorded[0][0]
    inputs = np.repeat(np.arange(sample.n_steps), np.diff(sample.ptr))
    return {
        "history": np.array(history),
        "inputs": np.stack([inputs, sample.units]),
        "hidden": np.stack([steps, neurons]),
        "readout": run.readout[0],
        "asked": test.goal["weight"][0],
    }


def score(network, test):
    """Correct answers, and spikes per hidden neuron and trial."""
    run = network.forward(test.events)
    asked = test.goal["weight"][0] > 0
    right = run.readout[:, asked].sum(axis=1).argmax(axis=1) == test.answers
    return right.mean(), run.spikes.mean() / HIDDEN


def simulate(quick, points):
    gaps = [0.1, 1.0] if quick else [0.1, 0.3, 1.0, 3.0]
    memories = [0.13, 0.0] if quick else [0.13, 0.39, 1.3, 0.0]  # 0: 1.3 times the gap
    updates, seeds = (10, 1) if quick else (150, 1)
    data = {
        "gaps": gaps,
        "memories": memories,
        "final": np.zeros((len(memories), len(gaps), seeds, 2)),
        "dt": float(DT),
    }
    for m, g, seed in np.ndindex(data["final"].shape[:3]):
        run = points(measure_gap, gap=gaps[g], memory=memories[m] or 1.3 * gaps[g], seed=seed, updates=updates)
        data["final"][m, g, seed] = run["history"][-1, 1:]
        print(f"memory {memories[m] or 1.3 * gaps[g]:g} s, gap {gaps[g]:g} s: {data['final'][m, g, seed]}", flush=True)
        if memories[m] == 0 and seed == 0:
            data[f"history {gaps[g]:g}"] = run["history"]
            if gaps[g] == 1:
                data |= {key: value for key, value in run.items() if key != "history"}
    return data


def plot(data):
    figure = Figure(figsize=(7.1, 4.9))
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.35, 1))
    trial = top.subplots(3, 1, sharex=True, height_ratios=(1, 1.6, 1))
    _plot_trial(trial, data)
    axes = bottom.subplots(1, 3)
    _plot_history(axes[0], data)
    _plot_gaps(axes[1], data, 0, 100)
    axes[1].axhline(50, color=GREY, lw=0.8, ls=":")
    axes[1].set(ylabel="Correct answers (%)", ylim=(40, 103))
    _plot_gaps(axes[2], data, 1, 1)
    axes[2].set(ylabel="Spikes per hidden neuron", ylim=(0, None))
    axes[2].legend(title=r"memory $K\tau$", title_fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    label_panels(trial[:1], "A", x=-0.075)
    label_panels(axes, "BCD", x=-0.24)
    return figure


def _plot_trial(axes, data):
    dt = float(data["dt"])
    steps, units = data["inputs"]
    axes[0].plot(steps * dt, units, "|", ms=3, color="black")
    axes[0].set(ylabel="Input", ylim=(-1, STIMULI * UNITS))
    steps, neurons = data["hidden"]
    axes[1].plot(steps * dt, neurons, "|", ms=2, mew=0.5, color=BLUE)
    axes[1].set(ylabel="Hidden\nneuron", ylim=(-1, HIDDEN))
    t = np.arange(len(data["readout"])) * dt
    for output, (name, colour) in enumerate((("different", GREY), ("same (right)", "black"))):
        axes[2].plot(t, data["readout"][:, output], color=colour, label=name)
    above(axes[2])
    asked = np.flatnonzero(data["asked"]) * dt
    axes[2].axvspan(asked[0], asked[-1] + dt, color="0.92", lw=0)
    axes[2].set(xlabel="Time (s)", ylabel="Readout", xlim=(0, len(t) * dt))


def _plot_history(ax, data):
    shown = [g for g in (0.1, 1.0, 3.0) if f"history {g:g}" in data]
    for gap, colour in zip(shown, COLOURS, strict=False):
        trials, correct, _ = data[f"history {gap:g}"].T
        ax.plot(trials, 100 * correct, color=colour, label=f"{gap:g} s")
    ax.axhline(50, color=GREY, lw=0.8, ls=":")
    ax.set(xlabel="Trials seen", ylabel="Correct answers (%)", ylim=(40, 103))
    ax.legend(title="gap", title_fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))


def _plot_gaps(ax, data, column, factor):
    for row, memory in enumerate(data["memories"]):
        name, colour = (f"{memory:g} s", COLOURS[row % 3]) if memory else ("1.3 gaps", BLUE)
        values = factor * data["final"][row, ..., column]
        ax.semilogx(data["gaps"], values.mean(axis=1), "o-", ms=3.5, color=colour, label=name)
    ax.set(xlabel="Gap (s)")
    ax.xaxis.set_ticks(data["gaps"], labels=[f"{gap:g}" for gap in data["gaps"]])
    ax.xaxis.set_ticks([], minor=True)


def main(quick=False, out=None, replot=False):
    """Draw the figure and return the paths of its files."""
    return make_from_points(NAME, simulate, plot, quick=quick, out=out, replot=replot)


if __name__ == "__main__":
    run_script(main)
