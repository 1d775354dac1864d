"""Gamma kernels and their delays: theory, Brian 2 and the compiled engine agree to rounding.

(A) Response of the buckets of a gamma memory to one unit jump: the continuous kernel (t/tau)^k exp(-t/tau)/k! (grey),
Brian 2 integrating the chain exactly (lines) and by exponential Euler, the published recursion (dots), and the
compiled engine on that recursion (circles). (B) Largest difference of each engine from the theory of its own
discretisation, and of the recursion from the continuous kernel. (C) Bucket k delays the signal by k*tau with a width
of sqrt(k+1)*tau. (D) Change of the delay of the last bucket with the time step: none for the continuous memory; the
recursion delays by half a step more per bucket.

Claim: the recursion and the continuous kernel are two integration methods of one equation, and every engine computes
either of them to rounding. Buckets are delays of k*tau at any time step.
"""

import numpy as np
from _style import BLUE, GREY, RED, label_panels, make, run_script
from brian2 import Network, NeuronGroup, StateMonitor, defaultclock, ms, prefs
from matplotlib import colormaps
from matplotlib.figure import Figure
from scipy.stats import gamma, nbinom

from brian2grad.equations import gamma_memory
from brian2grad.models import SpikingGammaNetwork, StepEvents

NAME = "gamma_kernels"
TAU = 10 * ms
MEMORIES = ("continuous", "paper")


def theory(memory, K, dt, n_steps):
    """Response (n_steps, K) to a unit jump: the continuous kernel, or the recursion's negative binomial."""
    n, k = np.arange(n_steps)[:, None], np.arange(K)
    if memory == "continuous":
        return gamma.pdf(n * dt, k + 1, scale=float(TAU)) * float(TAU)
    alpha = np.exp(-dt / float(TAU))
    return nbinom.pmf(n - k, k + 1, 1 - alpha) / (1 - alpha)


def in_brian2(memory, K, dt, n_steps):
    """Response (n_steps, K) of `gamma_memory` in Brian 2."""
    defaultclock.dt = dt
    chain = gamma_memory(K, TAU, memory=memory)
    group = NeuronGroup(1, chain, **chain.arguments)
    group.z0 = 1
    names = [f"z{k}" for k in range(K)]
    monitor = StateMonitor(group, names, record=True)
    Network(group, monitor).run(n_steps * dt)
    return np.stack([getattr(monitor, name)[0] for name in names], axis=1)


def in_engine(memory, K, dt, n_steps):
    """Response (n_steps, K) of a network of K readouts, each of which reads one bucket of the same input."""
    network = SpikingGammaNetwork([1, K], K=K, tau=TAU, dt=dt, memory=memory, bias=False, dtype="float64", threads=1)
    network.parameters["layer1.w"][:] = 1
    network.parameters["layer1.v"][:] = np.eye(K)
    events = StepEvents.from_triples([0], [0], [0], (1, n_steps, 1), dt)  # one event, in the first step
    return network.forward(events).readout[0]


def moments(response, dt, memory):
    """Mean time and width of each bucket's response, second."""
    t = np.arange(len(response))[:, None] * dt
    weight = response.copy()
    if memory == "continuous":
        weight[0] /= 2  # trapezoidal rule: samples of a continuous function that begins with a jump
    weight /= weight.sum(axis=0)
    mean = (weight * t).sum(axis=0)
    return mean, np.sqrt((weight * (t - mean) ** 2).sum(axis=0))


def simulate(quick):
    prefs.codegen.target = "numpy"  # a handful of variables: compiling would take longer than running
    K, dt = (5, 1 * ms) if quick else (9, 1 * ms)
    n_steps = 300 if quick else 600
    data = {"dt": float(dt), "tau": float(TAU), "K": K}
    for memory in MEMORIES:
        data[f"theory_{memory}"] = theory(memory, K, float(dt), n_steps)
        data[f"brian2_{memory}"] = in_brian2(memory, K, dt, n_steps)
        data[f"engine_{memory}"] = in_engine(memory, K, dt, n_steps)
    steps = np.array([0.5, 1, 2, 5]) if quick else np.array([0.1, 0.2, 0.5, 1, 2, 5])
    data["steps"] = steps
    for memory in MEMORIES:
        delays = []
        for step in steps:
            response = in_brian2(memory, K, step * ms, round(400 / step))
            mean, _ = moments(response, step * 1e-3, memory)
            delays.append(mean[-1] - mean[0])
        data[f"delay_{memory}"] = np.array(delays)
    return data


def plot(data):
    K, dt, tau = int(data["K"]), float(data["dt"]), float(data["tau"])
    figure = Figure(figsize=(7.1, 4.8))
    axes = figure.subplots(2, 2).ravel()
    _plot_kernels(axes[0], data, K, dt)
    _plot_errors(axes[1], data, K)
    _plot_delays(axes[2], data, K, dt, tau)
    _plot_step(axes[3], data, K, tau)
    label_panels(axes, x=-0.17)
    return figure


def _plot_kernels(ax, data, K, dt):
    shown = [k for k in (0, 1, 2, 4, 8) if k < K]
    colours = colormaps["viridis"](np.linspace(0, 0.75, len(shown)))
    t = np.arange(len(data["theory_continuous"])) * dt * 1e3
    for k, colour in zip(shown, colours, strict=True):
        names = ["theory", "Brian 2, continuous", "Brian 2, paper", "engine, paper"] if k == 0 else [None] * 4
        dots = {"ls": "", "ms": 3, "color": colour}
        ax.plot(t, data["theory_continuous"][:, k], color="0.8", lw=4, label=names[0])
        ax.plot(t, data["brian2_continuous"][:, k], color=colour, label=names[1])
        ax.plot(t[::4], data["brian2_paper"][::4, k], marker=".", label=names[2], **dots)
        ax.plot(t[2::4], data["engine_paper"][2::4, k], marker="o", mfc="none", mew=0.6, label=names[3], **dots)
        peak = data["theory_continuous"][:, k].argmax()
        if k:
            ax.annotate(f"$k={k}$", (t[peak], data["theory_continuous"][peak, k]), (2, 6), textcoords="offset points",
                        fontsize=7)  # fmt: skip
    ax.annotate("$k=0$", (4, 0.75), fontsize=7)
    ax.set(xlabel="Time since the jump (ms)", ylabel="Bucket $z_k$", xlim=(-1, 150), ylim=(0, 1.03))
    ax.legend(loc="upper right")


def _plot_errors(ax, data, K):
    k = np.arange(K)
    differences = (
        ("recursion $-$ continuous", data["theory_paper"] - data["theory_continuous"], GREY, "s"),
        ("Brian 2, continuous", data["brian2_continuous"] - data["theory_continuous"], BLUE, "^"),
        ("engine, continuous", data["engine_continuous"] - data["theory_continuous"], BLUE, "o"),
        ("Brian 2, paper", data["brian2_paper"] - data["theory_paper"], RED, "v"),
        ("engine, paper", data["engine_paper"] - data["theory_paper"], RED, "o"),
    )
    for name, difference, colour, marker in differences:
        largest = np.maximum(np.abs(difference).max(axis=0), 1e-18)  # bucket 0 is sometimes hit exactly
        hollow = {"mfc": "none", "ms": 6} if name.startswith("engine") else {}
        ax.semilogy(k, largest, marker=marker, ls="-", lw=0.6, color=colour, label=name, **hollow)
    ax.axhline(np.finfo(float).eps, color="black", lw=0.7, ls=":")
    ax.annotate("double precision", (K - 1, np.finfo(float).eps), (0, -10), textcoords="offset points",
                fontsize=7, ha="right")  # fmt: skip
    ax.set(xlabel="Bucket $k$", ylabel="Largest difference", ylim=(3e-19, 1), xticks=k)
    ax.legend(loc="center right", bbox_to_anchor=(1, 0.56))


def _plot_delays(ax, data, K, dt, tau):
    k = np.arange(K)
    ax.plot(k, k * tau * 1e3, color="0.8", lw=4, label=r"theory $k\tau$, $\sqrt{k+1}\,\tau$")
    ax.plot(k, np.sqrt(k + 1) * tau * 1e3, color="0.8", lw=4)
    for memory, colour, marker in (("continuous", BLUE, "^"), ("paper", RED, "v")):
        mean, width = moments(data[f"brian2_{memory}"], dt, memory)
        ax.plot(k, (mean - mean[0]) * 1e3, marker, color=colour, label=f"delay, {memory}")
        ax.plot(k, width * 1e3, marker, color=colour, mfc="none", label=f"width, {memory}")
    ax.set(xlabel="Bucket $k$", ylabel="Delay and width (ms)", xticks=k)
    ax.legend(loc="upper left")


def _plot_step(ax, data, K, tau):
    steps = data["steps"]
    expected = (K - 1) * tau
    alpha = np.exp(-steps * 1e-3 / tau)
    ax.semilogx(steps, 100 * ((K - 1) * steps * 1e-3 / (1 - alpha) / expected - 1), color="0.8", lw=4, label="theory")
    ax.semilogx(steps, 0 * steps, color="0.8", lw=4)
    for memory, colour, marker in (("continuous", BLUE, "^"), ("paper", RED, "v")):
        ax.semilogx(steps, 100 * (data[f"delay_{memory}"] / expected - 1), marker, color=colour, label=memory)
    ax.set(xlabel="Time step (ms)", ylabel=f"Change of the delay, $k={K - 1}$ (%)", xticks=steps)
    ax.set_xticks([], minor=True)
    ax.set_xticklabels([f"{s:g}" for s in steps])
    ax.legend(loc="upper left")


def main(quick=False, out=None, replot=False):
    """Draw the figure and return the paths of its files."""
    return make(NAME, simulate, plot, quick=quick, out=out, replot=replot)


if __name__ == "__main__":
    run_script(main)
