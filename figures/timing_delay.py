"""One spiking neuron learns a delay online, from 1 to 100 ms, at time steps from 1 to 0.01 ms.

A network of one input and one SpikingGamma neuron (16 buckets, memory of 1.5 delays), whose spikes a receiver
decodes. The wanted output is the input's random spike train, each spike a bump, delayed by d. Rule `online`: one pass
over recordings that are seen once, one update per recording. (A) After learning d = 10 ms at dt = 0.01 ms, on a new
train: input spikes, output spikes, decoded output and target. (B) Decoded response to a single spike while it learns.
(C) Learned delay, the centroid of the decoded response to a single spike, against the wanted one. (D) Its relative
error (line: mean over two seeds; dots: seeds; crosses: the neuron's own signal, before its code of spikes); dashed:
the bar of 2 %. (E) Output spikes that answer one input spike.

Claim: at dt = 0.01 ms, a step 10 000 times shorter than the longest delay, every delay is learned online to better
than 2 % (centroid of the decoded response; a single spike more or less moves it by about 1 %; the peak of the
neuron's own, slightly skewed signal lies about 3 % early). Spikes per response do not depend on the step where the
step is far below the delay.
"""

import numpy as np
from _style import BLUE, GREEN, GREY, RED, label_panels, run_script
from _timing import cosine, make_from_points
from brian2 import ms
from matplotlib import colormaps
from matplotlib.figure import Figure

from brian2grad.models import SpikingGammaNetwork
from brian2grad.training import Adam
from brian2grad.training.timing_tasks.synthetic import delayed_signal, grid_events
from brian2grad.training.timing_tasks.timing import decode_spikes, learn, output_spikes

NAME = "timing_delay"
K, SPAN, THETA, WIDTH, RATE = 16, 1.5, 0.05, 0.15, 0.03
COLOURS = {1.0: GREEN, 0.1: RED, 0.01: BLUE}
SHOWN = (0, 15, 40, 1000)  # updates after which (B) shows the response; the last is the end


def measure_delay(delay, dt, seed, updates):
    """Learn one delay (ms) at one time step (ms); the response to a single spike, and an example."""
    d = delay * ms
    network = SpikingGammaNetwork(
        [1, 1, 1], K=K, tau=SPAN * d / K, dt=dt * ms, theta=THETA, multiple=True, bias=False, seed=seed, threads=1
    )
    fixed = [decode_spikes(network)]
    network.parameters["layer1.w"][:] = 1
    optimiser = Adam(RATE)
    responses, losses = [], []
    for step in range(updates):
        if step in SHOWN:
            responses.append(response(network, delay, dt)[0])
        batch = delayed_signal(2, d, dt * ms, duration=8 * d, width=WIDTH, seed=1000 * seed + step)
        losses.append(learn(network, optimiser, batch, fixed=fixed, factor=cosine(step, updates)))
    final, signal, spikes = response(network, delay, dt)
    t = np.arange(len(final)) * dt
    result = {
        "learned": (t * final).sum() / final.sum(),
        "analog": (t * signal).sum() / signal.sum(),
        "peak": t[signal.argmax()],
        "spikes": spikes,
        "loss": np.array(losses),
    }
    if seed == 0:
        result |= {"responses": np.array([*responses, final]), "t": t} | example(network, d, dt * ms)
    return result


def response(network, delay, dt):
    """Decoded and internal signal, and spikes, that follow a single spike at time zero."""
    steps = max(8, round(4 * delay / dt))
    run = network.forward(grid_events([0], [0], [0], 1, steps, 1, dt * ms), traces=True)
    return run.readout[0, :, 0], run.signals[0][0, :, 0], run.spikes.sum()


def example(network, d, dt):
    """A new train, its answer and its target."""
    batch = delayed_signal(1, d, dt, duration=10 * d, width=WIDTH, seed=10**6)
    times, _ = output_spikes(network, batch.events)[0]
    inputs = np.flatnonzero(np.diff(batch.events.ptr)) * float(dt)
    return {
        "input": 1e3 * inputs,
        "output": 1e3 * times,
        "decoded": network.forward(batch.events).readout[0, :, 0],
        "target": batch.goal["targets"][0, :, 0],
    }


def simulate(quick, points):
    delays = np.array([3.0, 10.0] if quick else [1.0, 3.0, 10.0, 30.0, 100.0])
    steps = np.array([1.0, 0.1] if quick else [1.0, 0.1, 0.01])
    seeds, updates = (1, 30) if quick else (2, 150)
    data = {"delays": delays, "steps": steps, "n_seeds": seeds, "updates": updates}
    shape = (len(steps), len(delays), seeds)
    for name in ("learned", "analog", "peak", "spikes"):
        data[name] = np.zeros(shape)
    for place in np.ndindex(*shape):
        s, d, seed = place
        result = points(measure_delay, delay=delays[d], dt=steps[s], seed=seed, updates=updates)
        for name in ("learned", "analog", "peak", "spikes"):
            data[name][place] = result[name]
        print(f"dt {steps[s]:g} ms, delay {delays[d]:g} ms: learned {result['learned']:.4f} ms", flush=True)
        if delays[d] == 10 and s == len(steps) - 1 and seed == 0:
            data |= {key: result[key] for key in ("responses", "t", "input", "output", "decoded", "target", "loss")}
    return data


def plot(data):
    figure = Figure(figsize=(7.1, 5.0))
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.1))
    axes = [*top.subplots(1, 2, width_ratios=(1.7, 1)), *bottom.subplots(1, 3, width_ratios=(1, 1, 1))]
    _plot_example(axes[0], data)
    _plot_learning(axes[1], data)
    _plot_delays(axes[2], data)
    _plot_errors(axes[3], data)
    _plot_spikes(axes[4], data)
    label_panels(axes[:1], "A", x=-0.11)
    label_panels(axes[1:], "BCDE", x=-0.24)
    return figure


def _plot_example(ax, data):
    dt = data["steps"][-1]
    t = np.arange(len(data["target"])) * dt
    ax.plot(t, data["target"], color="0.75", lw=3, label="target")
    ax.plot(t, data["decoded"], color=BLUE, lw=0.9, label="decoded output")
    ax.eventplot([data["input"]], lineoffsets=-0.18, linelengths=0.2, colors="black", linewidths=1.2)
    ax.eventplot([data["output"]], lineoffsets=-0.45, linelengths=0.2, colors=BLUE, linewidths=0.4)
    ax.text(t[-1] * 1.01, -0.18, "input", fontsize=7, va="center")
    ax.text(t[-1] * 1.01, -0.45, "output", fontsize=7, va="center", color=BLUE)
    ax.set(xlabel="Time (ms)", ylabel="Signal", xlim=(0, t[-1]), ylim=(-0.6, 1.65), yticks=[0, 0.5, 1])
    ax.set_title(f"Delay 10 ms, time step {dt:g} ms")
    ax.legend(loc="upper left", ncols=2)


def _plot_learning(ax, data):
    seen = [step for step in SHOWN if step < data["updates"]] + [int(data["updates"])]
    for row, (count, colour) in enumerate(zip(seen, colormaps["viridis"](np.linspace(0.9, 0, len(seen))), strict=True)):
        ax.plot(data["t"], data["responses"][row], color=colour, lw=0.9, label=f"{count}")
    ax.axvline(10, color=GREY, lw=0.8, ls=":")
    ax.set(xlabel="Time since a spike (ms)", ylabel="Decoded response", xlim=(0, 25))
    ax.legend(title="updates", title_fontsize=7, loc="upper right")


def _plot_delays(ax, data):
    delays = data["delays"]
    ax.loglog(delays, delays, color="0.8", lw=4, label="wanted")
    for row, step in enumerate(data["steps"]):
        ax.loglog(delays, data["learned"][row].mean(axis=1), "os^"[row], ms=7 - 2 * row, mfc="none",
                  color=COLOURS[step], label=f"dt = {step:g} ms")  # fmt: skip
    _plain(ax.xaxis, delays)
    _plain(ax.yaxis, delays)
    ax.set(xlabel="Wanted delay (ms)", ylabel="Learned delay (ms)")
    ax.legend(loc="upper left")


def _plot_errors(ax, data):
    delays = data["delays"]
    for row, step in enumerate(data["steps"]):
        error = 100 * np.abs(data["learned"][row] / delays[:, None] - 1)
        ax.semilogx(delays, error.mean(axis=1), "-", marker="os^"[row], ms=4, color=COLOURS[step])
        signal = 100 * np.abs(data["analog"][row] / delays[:, None] - 1).mean(axis=1)
        ax.semilogx(delays, signal, "x", ms=4, mew=0.8, color=COLOURS[step])
        ax.semilogx(np.repeat(delays, error.shape[1]), error.ravel(), ".", ms=3, color=COLOURS[step])
    ax.axhline(2, color=GREY, lw=0.8, ls="--")
    ax.set(xlabel="Wanted delay (ms)", ylabel="Error of the delay (%)", ylim=(0, None))
    _plain(ax.xaxis, delays)


def _plot_spikes(ax, data):
    for row, step in enumerate(data["steps"]):
        ax.semilogx(data["delays"], data["spikes"][row].mean(axis=1), "-", marker="os^"[row], ms=4, color=COLOURS[step])
    ax.set(xlabel="Wanted delay (ms)", ylabel="Spikes per response", ylim=(0, 1.15 * data["spikes"].max()))
    _plain(ax.xaxis, data["delays"])


def _plain(axis, ticks):
    """Ticks of a logarithmic axis as plain numbers."""
    axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def main(quick=False, out=None, replot=False):
    """Draw the figure and return the paths of its files."""
    return make_from_points(NAME, simulate, plot, quick=quick, out=out, replot=replot)


if __name__ == "__main__":
    run_script(main)
