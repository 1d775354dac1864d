"""Pictures of one sample run by a SpikingGamma network, from plain arrays."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ...models.readout import probabilities
from ..errors import TrainingError
from .style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, STYLE, above


def draw_events(ax, times, units, n_units, *, polarity=None, label="Unit") -> None:
    """Draw events as dots over time.

    Parameters
    ----------
    ax : matplotlib Axes
    times : (n_events,) array, second
    units : (n_events,) array of int
    n_units : int
    polarity : (n_events,) array of bool, optional
        Brighter (True) or darker (False): two colours and a legend.
    label : str
        Of the vertical axis.
    """
    times, units = 1e3 * np.asarray(times), np.asarray(units)
    size = np.clip(2000 / max(1, len(times)), 0.4, 6)
    style = {"s": size, "linewidths": 0, "rasterized": len(times) > 20000}
    if polarity is None:
        ax.scatter(times, units, color="black", **style)
    else:
        polarity = np.asarray(polarity, bool)
        for chosen, colour, name in ((polarity, RED, "brighter"), (~polarity, BLUE, "darker")):
            ax.scatter(times[chosen], units[chosen], color=colour, label=name, **style)
        above(ax, markerscale=float(np.sqrt(16 / size)), handlelength=0.8)
    ax.set(ylabel=label, ylim=(-0.02 * n_units, 1.02 * n_units))


def draw_buckets(ax, times, buckets) -> None:
    """Draw the buckets of one neuron, (n_steps, K), as lines from dark (0) to bright (K-1)."""
    K = buckets.shape[1]
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.88, K))
    for k in range(K):
        named = K <= 6 or k in (0, K - 1)
        ax.plot(1e3 * times, buckets[:, k], color=colours[k], label=f"{k}" if named else None)
    ax.axhline(0, color=GREY, lw=0.5, zorder=0)
    above(ax)


def draw_code(ax, times, signal, estimate) -> None:
    """Draw a neuron's signal y and the estimate that its spikes carry; both (n_steps,)."""
    ax.plot(1e3 * times, signal, color=GREY, lw=1.8, label="signal $y$")
    ax.step(1e3 * times, estimate, where="post", color=RED, lw=1, label=r"decoded $\hat y$")
    ax.set_ylim(bottom=min(0, 1.05 * float(min(signal.min(), estimate.min()))))


def overloaded(signal, estimate) -> bool:
    """Whether a signal leaves its estimate by more than a spike can say: one spike a step bounds what is followed.

    Parameters
    ----------
    signal, estimate : (n_steps,) arrays
    """
    jump = np.diff(estimate, prepend=0).max()  # of a spike, 2 theta; the code's own error is half of it
    return bool(jump > 0 and np.max(signal - estimate) > jump)


def draw_evidence(ax, times, readout, first=0, answer=None) -> tuple[int, float] | None:
    """Draw the evidence for every class over time, and say when the decision settles.

    The evidence after a step is the mean class probability since step `first`; the decision is its maximum.

    Parameters
    ----------
    ax : matplotlib Axes
    times : (n_steps,) array, second
    readout : (n_steps, n_out) array
    first : int
        First step that counts.
    answer : int, optional
        Right class, drawn thicker.

    Returns
    -------
    (class, time in seconds after which it stays), or None where nothing is read
    """
    ax.set(ylim=(-0.03, 1.05), ylabel="Class evidence")
    if first >= len(readout):
        return None
    evidence = probabilities(np.asarray(readout[first:], float)).cumsum(axis=0)
    evidence /= np.arange(1, len(evidence) + 1)[:, None]
    shown = list(np.argsort(-evidence.max(axis=0), kind="stable")[:4])
    if answer is not None and answer not in shown:
        shown[-1] = int(answer)
    named = dict(zip(sorted(shown), (BLUE, ORANGE, GREEN, PURPLE), strict=False))
    for c in range(evidence.shape[1]):
        kind = {"color": named[c], "label": f"{c}", "lw": 2 if c == answer else 1.2} if c in named else None
        ax.plot(1e3 * times[first:], evidence[:, c], **(kind or {"color": "#C8C8C8", "lw": 0.7, "zorder": 0}))
    decided = evidence.argmax(axis=1)
    changes = np.flatnonzero(decided[1:] != decided[:-1])
    settled = first + (int(changes[-1]) + 1 if len(changes) else 0)
    ax.axvline(1e3 * times[settled], color="black", lw=0.8, ls=(0, (4, 2)))
    wrong = f", right: {answer}" if answer not in (None, decided[-1]) else ""
    ax.set_title(f"Decision {decided[-1]} from {1e3 * times[settled]:.0f} ms{wrong}")
    above(ax)
    return int(decided[-1]), float(times[settled])


def by_activity(spikes, signals) -> np.ndarray:
    """Neurons, the most active first: by spikes, then by their largest signal.

    Parameters
    ----------
    spikes : (steps, units)
    signals : (n_steps, n_neurons) array
    """
    counts = np.bincount(np.asarray(spikes[1], int), minlength=signals.shape[1])
    return np.lexsort((-signals.max(axis=0), -counts))


def some_active(spikes, signals, n: int) -> np.ndarray:
    """Return n neurons, from the most active down to the median one of those that spike."""
    order = by_activity(spikes, signals)
    spiking = len(np.unique(spikes[1]))
    ranks = np.linspace(0, max(n - 1, spiking // 2), n).astype(int)
    return order[ranks[ranks < len(order)]]


def sample_figure(
    input_times,
    input_units,
    n_units,
    spikes,
    readout,
    *,
    dt,
    signals,
    estimates,
    buckets=None,
    polarity=None,
    first=0,
    label=None,
    title=None,
) -> Figure:
    """Draw one sample: events, spikes, buckets, signals against their decoded estimates, decision.

    Parameters
    ----------
    input_times : (n_events,) array, second
    input_units : (n_events,) array of int
    n_units : int
        Input units.
    spikes : list over hidden layers of (steps, units)
    readout : (n_steps, n_out) array
    dt : float, second
    signals, estimates : list over hidden layers of (n_steps, n) arrays
    buckets : list over layers of (n_steps, K, n) arrays, optional
        Drawn for two of the active neurons of the first layer.
    polarity : (n_events,) array of bool, optional
        Colours the input; `input_units` are then pixels.
    first : int
        First step that enters the decision.
    label : int, optional
        Right class.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    times = np.arange(len(readout)) * float(dt)
    per_layer = 3 if len(spikes) == 1 else 2
    coded = [some_active(s, y, per_layer) for s, y in zip(spikes, signals, strict=True)]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.1, 3.4 + 1.4 * max(1, len(spikes))), layout="constrained")
        left, right = figure.subfigures(1, 2)
        rasters = left.subplots(2 + len(spikes), 1, sharex=True)
        draw_events(
            rasters[0], input_times, input_units, n_units, polarity=polarity,
            label="Input unit" if polarity is None else "Pixel",
        )  # fmt: skip
        rasters[0].set_title("Input events")
        for index, (ax, (steps, units)) in enumerate(zip(rasters[1:-1], spikes, strict=True)):
            draw_events(ax, np.asarray(steps) * float(dt), units, signals[index].shape[1], label="Neuron")
            ax.set_title(f"Spikes of hidden layer {index + 1} ({len(steps)})")
        answer = None if np.ndim(label) else label
        draw_evidence(rasters[-1], times, readout, first, answer)
        shown = [(layer, j) for layer, chosen in enumerate(coded) for j in chosen]
        traced = [] if buckets is None or not coded else list(coded[0][:2])
        panels = right.subplots(len(traced) + len(shown), 1, sharex=True, squeeze=False)[:, 0] if shown else []
        for ax, j in zip(panels, traced, strict=False):
            draw_buckets(ax, times, buckets[0][:, :, j])
            ax.set(title=f"Buckets, neuron {j}", ylabel="$z_k$")
        for ax, (layer, j) in zip(panels[len(traced) :], shown, strict=True):
            draw_code(ax, times, signals[layer][:, j], estimates[layer][:, j])
            ax.set_title(f"Neuron {j}" if len(coded) == 1 else f"Layer {layer + 1}, neuron {j}")
            if overloaded(signals[layer][:, j], estimates[layer][:, j]):
                ax.text(0.99, 0.04, "faster than one spike a step says", transform=ax.transAxes, ha="right", fontsize=6)
        if shown:
            above(panels[len(traced)])
            panels[-1].set_xlabel("Time (ms)")
        rasters[-1].set(xlabel="Time (ms)", xlim=(0, 1e3 * len(times) * float(dt)))
        if shown:
            panels[-1].set_xlim(rasters[-1].get_xlim())
        if title:
            figure.suptitle(title, fontsize=8)
    return figure


def simulation_figure(network, events, result, label=None, *, sample=0) -> Figure:
    """`sample_figure` of a run in Brian 2 or in the compiled engine.

    Parameters
    ----------
    network : SpikingGammaNetwork
    events : StepEvents
        The samples that were run.
    result : BrianRun or EngineResult
        Of ``network.brian2(events, record=True)`` or ``network.forward(events, record=True, traces=True)`` (which
        has no buckets).
    label : int, optional
    sample : int
        Which of the samples.

    Raises
    ------
    TrainingError
        If the run was not recorded.
    """
    recorded = getattr(result, "recorded", None) or getattr(result, "spikes", None)
    if result.signals is None or not isinstance(recorded, list):
        raise TrainingError("The run holds no traces: run with record=True (compiled engine: and traces=True).")
    one = events.take([sample])
    steps = np.repeat(np.arange(one.n_steps), np.diff(one.ptr))
    units, polarity = pixels(one.units, one.n_units)
    buckets = getattr(result, "buckets", None)
    return sample_figure(
        steps * one.dt,
        units,
        one.n_units if polarity is None else one.n_units // 2,
        [layer[:2] for layer in recorded[sample]],
        result.readout[sample],
        dt=one.dt,
        signals=[y[sample] for y in result.signals],
        estimates=[y[sample] for y in result.estimates],
        buckets=buckets and [z[sample] for z in buckets],
        polarity=polarity,
        first=network.first_step(),
        label=label,
        title=None if label is None or np.ndim(label) else f"Sample with label {label}",
    )


def pixels(units, n_units: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixel and polarity of a camera's units, ``polarity * n_pixels + pixel``; other sensors have no polarity."""
    units = np.asarray(units, int)
    side = round((n_units / 2) ** 0.5)
    if 2 * side * side != n_units or side < 8:
        return units, None
    return units % (side * side), units >= side * side
