"""Sigma-delta coding of a signal with few spikes, fixed and adaptive threshold, at any time step.

(A) A signal y added to `spiking_gamma` as an equation of the user's own, the estimate decoded from the spikes, and the
spikes, for a fixed threshold and for one that each spike raises by the factor m_f. (B) The coding error stays within
+-theta (shaded) except where the signal falls faster than the estimate can decay. (C) Spike rate against error over
theta, for three m_f, with the theory for a fixed threshold: theta/sqrt(3) and y/(2 theta tau). (D) Spike rate
against the time step; a neuron emits at most one spike per step (dashed).

Claim: with a fixed threshold the error is bounded by theta; adaptation trades precision for spikes along nearly the
same curve; the number of spikes does not depend on the time step until that limit is near.
"""

import numpy as np
from _style import BLUE, GREEN, GREY, RED, label_panels, make, run_script
from brian2 import Network, NeuronGroup, SpikeMonitor, StateMonitor, ms, prefs, second, seed
from matplotlib.figure import Figure

from brian2grad.equations import spiking_gamma
from brian2grad.training.plots.style import above

NAME = "sigma_delta"
TAU, TAU_THETA, THETA = 30 * ms, 50 * ms, 0.2
ADAPTATIONS = (0.0, 0.1, 0.3)
COLOURS = (BLUE, RED, GREEN)
DRIVE = """
drive = 1.5 + 0.8*sin(2*pi*t/(400*ms) + phase) + 0.4*sin(2*pi*t/(170*ms) + 2*phase) : 1
phase : 1 (constant)
"""


def encoder(n, dt, theta, adaptation):
    """Neurons whose signal y is the user's `drive`: group, spikes and traces."""
    neuron = spiking_gamma(1, TAU, theta, bias=False, adaptation=adaptation, tau_theta=TAU_THETA) + DRIVE
    group = NeuronGroup(n, neuron, **neuron.arguments, dt=dt)
    group.v0 = 1
    group.phase = "2*pi*i/N"
    group.run_regularly("z0 = drive", when="after_groups", dt=dt)  # bucket 0 is the signal, at every step
    traces = StateMonitor(group, ["y", "yhat", "theta"], record=True, when="end", dt=dt)
    return group, SpikeMonitor(group), traces


def run(encoders, duration):
    """Run any number of encoders together."""
    network = Network(*(part for parts in encoders for part in parts))
    network.add(*(group.contained_objects for group, _, _ in encoders))
    network.run(duration)


def rate_and_error(spikes, traces, duration, settle=0.1):
    """Spikes per neuron and second, and root mean square error behind the first rise from zero."""
    chosen = np.asarray(traces.t) >= settle
    late = np.asarray(spikes.t) >= settle
    error = (traces.y - traces.yhat)[:, chosen]
    return late.sum() / len(traces.y) / (float(duration) - settle), float(np.sqrt(np.mean(error**2)))


def simulate(quick):
    prefs.codegen.target = "numpy"  # few neurons: compiling would take longer than running
    seed(1)
    thetas = np.geomspace(0.03, 0.4, 3 if quick else 7)
    steps = np.array([0.5, 2]) if quick else np.array([0.05, 0.1, 0.2, 0.5, 1, 2, 5])
    data = {"thetas": thetas, "steps": steps, "adaptations": np.array(ADAPTATIONS)}

    duration = 600 * ms
    examples = [encoder(1, 0.2 * ms, THETA, m) for m in ADAPTATIONS[:2]]
    run(examples, duration)
    for name, (_, spikes, traces) in zip(("fixed", "adaptive"), examples, strict=True):
        data[f"spikes_{name}"] = np.asarray(spikes.t)
        data["t"] = np.asarray(traces.t)
        for variable in ("y", "yhat", "theta"):
            data[f"{variable}_{name}"] = getattr(traces, variable)[0]

    n, duration = (2, 0.4 * second) if quick else (8, 1 * second)
    grid = [encoder(n, 0.5 * ms, theta, m) for theta in thetas for m in ADAPTATIONS]
    run(grid, duration)
    points = [rate_and_error(spikes, traces, duration) for _, spikes, traces in grid]
    data["trade_off"] = np.array(points).reshape(len(thetas), len(ADAPTATIONS), 2)

    counts = []
    for step in steps:
        pair = [encoder(n, step * ms, THETA, m) for m in ADAPTATIONS]
        run(pair, duration)
        counts.append([rate_and_error(spikes, traces, duration) for _, spikes, traces in pair])
    data["by_step"] = np.array(counts)
    return data


def plot(data):
    figure = Figure(figsize=(7.1, 5.2))
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.15, 1))
    signal, error = top.subplots(2, 2, sharex=True, sharey="row", height_ratios=(1.6, 1)).reshape(2, 2)
    for column, (name, colour) in enumerate((("fixed", BLUE), ("adaptive", RED))):
        _plot_code(signal[column], error[column], data, name, colour)
    signal[0].set(ylabel="Signal", ylim=(-0.3, 3.1))
    error[0].set(ylabel=r"Error $y-\hat y$", ylim=(-0.62, 0.95))
    axes = bottom.subplots(1, 2)
    _plot_trade_off(axes[0], data)
    _plot_steps(axes[1], data)
    label_panels([signal[0], error[0]], "AB", x=-0.15)
    label_panels(axes, "CD", x=-0.15)
    return figure


def _plot_code(signal, error, data, name, colour):
    t = 1e3 * data["t"]
    y, yhat, theta, spikes = (data[f"{key}_{name}"] for key in ("y", "yhat", "theta", "spikes"))
    signal.plot(t, y, color=GREY, lw=2, label="signal $y$")
    signal.plot(t, yhat, color=colour, lw=0.8, label=r"decoded $\hat y$")
    signal.eventplot([1e3 * spikes], lineoffsets=-0.15, linelengths=0.2, linewidths=0.6, colors="black")
    m = data["adaptations"][0 if name == "fixed" else 1]
    signal.set_title(f"{name} threshold" + (f", $m_f={m:g}$" if m else "") + f"\n{len(spikes)} spikes")
    above(signal)
    error.fill_between(t, -theta, theta, color="0.85", lw=0, label=r"$\pm\theta(t)$")
    error.plot(t, y - yhat, color=colour, lw=0.6)
    error.set(xlabel="Time (ms)", xlim=(0, t[-1]))
    error.legend(loc="upper right", borderaxespad=0)


def _plot_trade_off(ax, data):
    for column, (m, colour) in enumerate(zip(data["adaptations"], COLOURS, strict=True)):
        rate, error = data["trade_off"][:, column].T
        ax.loglog(rate, error, "o-", color=colour, label=f"{m:g}")
    theta = np.geomspace(0.02, 0.7)
    mean = 1.5  # of the drive, over all phases
    ax.loglog(mean / (2 * theta * float(TAU)), theta / np.sqrt(3), color="0.8", lw=5, zorder=0, label="theory for 0")
    for row in (0, len(data["thetas"]) - 1):
        ax.annotate(rf"$\theta={data['thetas'][row]:g}$", data["trade_off"][row, 0], (-6, -4),
                    textcoords="offset points", fontsize=7, ha="right", va="top")  # fmt: skip
    ax.set(xlabel="Spikes per second", ylabel="RMS error", xlim=(25, 1000), ylim=(0.012, 0.5))
    _plain_ticks(ax.xaxis, (30, 100, 300, 1000))
    _plain_ticks(ax.yaxis, (0.02, 0.05, 0.1, 0.2, 0.5))
    ax.legend(title="$m_f$", title_fontsize=7, loc="upper right")


def _plot_steps(ax, data):
    for column, (m, colour) in enumerate(zip(data["adaptations"], COLOURS, strict=True)):
        ax.semilogx(data["steps"], data["by_step"][:, column, 0], "o-", color=colour, label=f"{m:g}")
    steps = np.geomspace(0.05, 8)
    ax.semilogx(steps, 1e3 / steps, color=GREY, lw=0.8, ls="--", zorder=0)
    ax.annotate(
        "one spike\nper step", (5, 200), (-4, 0), textcoords="offset points", fontsize=7, ha="right", va="center"
    )
    highest = data["by_step"][..., 0].max()
    ax.set(
        xlabel="Time step (ms)", ylabel="Spikes per second", ylim=(0, 1.9 * highest), xlim=(0.8 * min(data["steps"]), 9)
    )
    _plain_ticks(ax.xaxis, np.union1d(data["steps"], (0.5, 1, 2, 5)))
    ax.legend(title="$m_f$", title_fontsize=7, loc="upper left", ncols=3)


def _plain_ticks(axis, ticks):
    """Ticks of a logarithmic axis as plain numbers."""
    axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def main(quick=False, out=None, replot=False):
    """Draw the figure and return the paths of its files."""
    return make(NAME, simulate, plot, quick=quick, out=out, replot=replot)


if __name__ == "__main__":
    run_script(main)
