"""Table and figure of the resolution study, from its lines."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from brian2grad.training.plots.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, STYLE

TITLES = {
    "filter": ("SpikingGamma, filter", BLUE, "o-"),
    "online": ("SpikingGamma, online", SKY, "s--"),
    "bptt": ("LIF, BPTT", GREY, "o-"),
    "ottt": ("LIF, OTTT", GREEN, "v-"),
    "es_d_rtrl": ("LIF, ES-D-RTRL", PURPLE, "^-"),
    "es_d_rtrl_step": ("LIF, ES-D-RTRL, decay per step", PURPLE, "v:"),
    "fptt": ("LIF, FPTT every step", RED, "D-"),
    "fptt_10ms": ("LIF, FPTT every 10 ms", ORANGE, "d--"),
}


def cells(rows, method: str, **what) -> list[dict]:
    """Trained networks of a method, coarsest step first."""
    chosen = [r for r in rows if r["kind"] == "accuracy" and r["method"] == method]
    return sorted((r for r in chosen if all(r[k] == v for k, v in what.items())), key=lambda r: -r["dt_ms"])


def result_at(row: dict, dt: float | None = None) -> dict:
    """Result of a network at a time step (default: its own)."""
    return next(t for t in row["tests"] if t["dt_ms"] == (row["dt_ms"] if dt is None else dt))


def over_seeds(rows, method: str, what: str, trained: float | None = None):
    """Steps, and mean, least and most over seeds of a result, at the step of training or trained at `trained`."""
    found: dict[float, list[float]] = {}
    for row in cells(rows, method, **({} if trained is None else {"dt_ms": trained})):
        for dt in [row["dt_ms"]] if trained is None else [t["dt_ms"] for t in row["tests"]]:
            found.setdefault(dt, []).append(result_at(row, dt)[what])
    dts = sorted(found, reverse=True)
    values = [found[dt] for dt in dts]
    steps = np.array([next(r["steps"] * r["dt_ms"] for r in cells(rows, method)) / dt for dt in dts])
    return steps, *(np.array([f(v) for v in values]) for f in (np.mean, np.min, np.max))


def invariance(rows, method: str) -> dict:
    """Largest changes of accuracy (points) and of spikes per neuron (relative) over time steps, of the worst seed."""
    chosen = cells(rows, method)
    seeds = {r["seed"] for r in chosen}
    series = {
        "own": [[result_at(r) for r in chosen if r["seed"] == s] for s in seeds],
        "across": [r["tests"] for r in chosen],
    }
    change = {}
    for name, groups in series.items():
        change[name] = max(np.ptp([t["accuracy"] for t in tests]) for tests in groups)
        counts = [[t["spikes_per_neuron"] for t in tests] for tests in groups]
        change[f"{name}_spikes"] = max(max(c) / min(c) - 1 for c in counts)
    return change


def table(rows) -> str:
    """The study as text."""
    dts = sorted({r["dt_ms"] for r in rows if r["kind"] == "accuracy"}, reverse=True)
    present = [m for m in TITLES if cells(rows, m)]
    lines = ["accuracy in %, spikes per hidden neuron and recording, at the step of training (mean over seeds)"]
    lines.append(f"{'':<32}" + "".join(f"{f'{dt:g} ms':>14}" for dt in dts) + f"{'updates':>16}")
    for method in present:
        entries = []
        for dt in dts:
            own = [result_at(r) for r in cells(rows, method, dt_ms=dt)]
            mean = [np.mean([t[k] for t in own]) for k in ("accuracy", "spikes_per_neuron")] if own else None
            entries.append(f"{mean[0]:>8.2f}{mean[1]:>6.2f}" if own else f"{'-':>14}")
        updates = [r["updates"] for r in cells(rows, method)]
        lines.append(f"{TITLES[method][0]:<32}{''.join(entries)}{f'{min(updates)}-{max(updates)}':>16}")
    lines += ["", "the same, trained at the step on the left, tested at that above"]
    for method in present:
        for trained in sorted({r["dt_ms"] for r in cells(rows, method)}, reverse=True):
            entries = []
            for dt in dts:
                found = [result_at(r, dt) for r in cells(rows, method, dt_ms=trained)]
                accuracy, spikes = (np.mean([t[k] for t in found]) for k in ("accuracy", "spikes_per_neuron"))
                entries.append(f"{accuracy:>8.2f}{spikes:>6.2f}")
            lines.append(f"{TITLES[method][0]:<32}{''.join(entries)}   {trained:g} ms, {len(found)} seed(s)")
    lines += [
        "",
        "largest change over the steps (worst seed), accuracy in points and spikes in %: same step, and across steps",
    ]
    for method in present:
        change = invariance(rows, method)
        lines.append(
            f"{TITLES[method][0]:<32}{change['own']:>8.2f}{100 * change['own_spikes']:>7.1f}"
            f"{change['across']:>12.2f}{100 * change['across_spikes']:>7.1f}"
        )
    lines += ["", "steps: growth of memory in training a batch of 50 (MiB)"]
    for method in TITLES:
        found = sorted((r for r in rows if r["kind"] == "memory" and r["method"] == method), key=lambda r: r["steps"])
        if found:
            entries = [f"{r['steps']:>6}: {r['mib']:.0f}" for r in found]
            lines.append(f"{TITLES[method][0]:<32}{''.join(entries)}")
    return "\n".join(lines)


def plot(rows) -> Figure:
    """The study as a figure."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.1, 5.6), layout="constrained")
        A, B, C, D = figure.subplots(2, 2, sharex=True).ravel()
        coarsest = max(r["dt_ms"] for r in rows if r["kind"] == "accuracy")
        for method, (title, colour, style) in TITLES.items():
            look = {"color": colour, "markersize": 3.5, "label": title}
            if cells(rows, method):
                curve(A, over_seeds(rows, method, "accuracy"), style, look)
                curve(C, over_seeds(rows, method, "spikes_per_neuron"), style, look)
            if cells(rows, method, dt_ms=coarsest):
                curve(B, over_seeds(rows, method, "accuracy", coarsest), style, look)
            memory = sorted((r["steps"], r["mib"]) for r in rows if r["kind"] == "memory" and r["method"] == method)
            if memory:
                D.plot(*zip(*memory, strict=True), style, **look)
        A.set_title("A  Trained and tested at the same step")
        B.set_title(f"B  Trained at {coarsest:g} ms, tested at others")
        C.set_title("C  Trained and tested at the same step")
        D.set_title("D  Training a batch of 50")
        limits = [f(ax.get_ylim()[i] for ax in (A, B)) for i, f in ((0, min), (1, max))]
        ticks = sorted({round(r["steps"]) for r in rows})
        for ax in (A, B):
            ax.set(ylabel="Accuracy (%)", xscale="log", ylim=limits)
            ax.set_xticks(ticks, ticks)
            ax.minorticks_off()
        C.set(ylabel="Spikes per neuron and recording", ylim=(0, None))
        D.set(ylabel="Memory above that of the data (MiB)", yscale="log")
        for ax in (C, D):
            ax.set_xlabel("Time steps per recording of 320 ms")
        shown = {label: handle for ax in (D, A) for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        shown = {title: shown[title] for title, *_ in TITLES.values() if title in shown}
        figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=4)
    return figure


def curve(ax, found, style, look) -> None:
    """Mean over seeds with the range of the seeds."""
    steps, mean, least, most = found
    ax.plot(steps, mean, style, **look)
    ax.fill_between(steps, least, most, color=look["color"], alpha=0.2, linewidth=0)
