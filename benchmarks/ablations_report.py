"""Table, energy estimate and figure of ``ablations.py``."""

from __future__ import annotations

import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure

from brian2grad.training.plots.style import BLUE, GREEN, RED, STYLE

COLOURS = {"nmnist8": BLUE, "fsdd": RED, "qtdb": GREEN}
AXES = {
    "theta": ("Threshold", ["fixed", "adaptive"], "fixed"),
    "code": ("Code", ["sigma-delta", "analog"], "sigma-delta"),
    "K": ("Buckets, K", [1, 2, 3, 5, 6, 8], None),
    "buckets": ("Bucket weights", ["shared", "neuron", "synapse"], "neuron"),
    "tau": ("Time constants", ["equal", "geometric", "trained"], "geometric"),
    "loss": ("Loss", ["every step", "last step"], "every step"),
    "depth": ("Hidden layers", [1, 2, 3, 4, 5, 6], 1),
    "deep": ("Hidden layers, relative updates", [1, 2, 3, 4, 5, 6], None),
}
BASE_K = {"nmnist8": 5, "fsdd": 6, "qtdb": 8}
# Picojoule of a 32-bit floating-point operation in 45 nm at 0.9 V: Horowitz 2014, "Computing's energy problem (and what
# we can do about it)", ISSCC, doi:10.1109/ISSCC.2014.6757323. Memory, which costs more there (10 pJ for 64 bits of a
# cache of 8 kB), is left out: it depends on the machine.
ENERGY_PJ = {"add": 0.9, "multiply": 3.7}


def nanojoule(row: dict) -> tuple[float, float]:
    """Arithmetic of a sample in nJ: one addition per synaptic operation; the same and every state updated each step."""
    synapses = ENERGY_PJ["add"] * row["synaptic_operations"]
    states = sum(ENERGY_PJ[kind] * n for kind, n in row["state_operations"].items())
    return synapses * 1e-3, (synapses + states) * 1e-3


def select(rows, data: str, axis: str, value) -> list[dict]:
    """Lines of all seeds of a cell; the base stands for the usual value of every axis."""
    usual = BASE_K[data] if axis == "K" else AXES[axis][2] if axis in AXES else None
    if value == usual and usual is not None:
        axis, value = "base", "-"
    return [r for r in rows if r["kind"] == "accuracy" and (r["data"], r["axis"], r["value"]) == (data, axis, value)]


def _line(name: str, found: list[dict]) -> str:
    accuracy = 100 * np.array([r["accuracy"] for r in found])
    spread = f" ({accuracy.min():.1f} to {accuracy.max():.1f})" if len(found) > 1 else ""
    energy = np.mean([nanojoule(r) for r in found], axis=0)
    mean = lambda key: np.mean([r[key] for r in found])  # noqa: E731
    return (
        f"{name:<26}{accuracy.mean():6.1f} %{spread:<16}{mean('spikes_per_neuron'):8.2f}{mean('spikes'):10.0f}"
        f"{mean('synaptic_operations') / 1e3:10.1f}{energy[0]:10.1f}{energy[1]:10.1f}{len(found):6}"
    )


def table(rows) -> str:
    """Means over seeds, per data set; and memory."""
    lines = []
    for data in COLOURS:
        base = select(rows, data, "base", "-")
        if not base:
            continue
        lines += ["", f"{data}: {base[0]['n']} held-out answers"]
        columns = ("a neuron", "spikes", "k synops", "nJ syn", "nJ all")
        lines.append(f"{'':<26}{'accuracy (seeds)':<24}{columns[0]:>8}" + "".join(f"{c:>10}" for c in columns[1:]))
        lines.append(_line("base", base))
        for axis, (_, values, usual) in AXES.items():
            for value in values:
                if value == usual or (axis == "K" and value == BASE_K[data]):
                    continue
                if found := select(rows, data, axis, value):
                    lines.append(_line(f"{axis} {value}", found))
        lifs = {r["value"] for r in rows if r["kind"] == "accuracy" and r["data"] == data and r["axis"] == "LIF"}
        for value in sorted(lifs, key=lambda v: (v.count("-"), int(v.split("-")[0]))):
            lines.append(_line(f"LIF {value}", select(rows, data, "LIF", value)))
        if lifs:
            lines.append(f"LIF of nearest accuracy: {nearest(rows, data)}")
    memory = [r for r in rows if r["kind"] == "memory"]
    lines += ["", "a gradient whose loss comes at the last step only (128-64-10, K = 4, 8 samples)"] if memory else []
    lines += [f"{r['rule']:<8}{r['steps']:>8} steps{r['mib']:9.1f} MiB more{r['seconds']:8.2f} s" for r in memory]
    return "\n".join(lines)


def nearest(rows, data: str) -> str:
    """The LIF network whose mean accuracy is nearest to the base's."""
    own = [r for r in rows if r["kind"] == "accuracy" and r["data"] == data and r["axis"] == "LIF"]
    mean = lambda found: np.mean([r["accuracy"] for r in found])  # noqa: E731
    wanted = mean(select(rows, data, "base", "-"))
    return min({r["value"] for r in own}, key=lambda v: abs(mean(select(rows, data, "LIF", v)) - wanted))


def plot(rows) -> Figure:
    """Accuracy above the base's, one panel an axis; accuracy against energy beside an LIF network."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.1, 4.2), layout="constrained")
        panels = figure.subplots(2, 4)
        for ax, letter, (axis, (title, values, _)) in zip(panels.flat, "ABCDEFG", AXES.items(), strict=False):
            for shift, (data, colour) in zip((-0.15, 0, 0.15), COLOURS.items(), strict=True):
                _panel(ax, rows, data, axis, values, shift, colour)
                if axis == "depth":
                    _panel(ax, rows, data, "deep", values, shift, colour, "--")
                    ax.set_xlabel("dashed: relative updates")
            ax.axhline(0, color="k", lw=0.5, zorder=0)
            ax.set_xticks(range(len(values)), values, rotation=0 if axis in ("K", "depth") else 25)
            ax.set_title(f"{letter}  {title}")
        for ax in panels[:, 0]:
            ax.set_ylabel("Accuracy minus base (points)")
        _energy_panel(panels[1, 3], rows)
        handles = [
            matplotlib.lines.Line2D([], [], color=c, marker="o", ls="", label=data) for data, c in COLOURS.items()
        ]
        handles += [
            matplotlib.lines.Line2D([], [], color="k", marker=m, mfc="none", ls="", label=text)
            for m, text in (("o", "SpikingGamma"), ("s", "LIF"))
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure


def _panel(ax, rows, data, axis, values, shift, colour, line="-") -> None:
    base = {r["seed"]: r["accuracy"] for r in select(rows, data, "base", "-")}
    places, means = [], []
    for x, value in enumerate(values):
        found = [100 * (r["accuracy"] - base[r["seed"]]) for r in select(rows, data, axis, value) if r["seed"] in base]
        if found:
            ax.plot(np.full(len(found), x + shift), found, ".", color=colour, ms=3, alpha=0.6)
            places, means = [*places, x + shift], [*means, np.mean(found)]
    ax.plot(places, means, "o", ls=line, color=colour, ms=3.5, lw=0.8)


def _energy_panel(ax, rows) -> None:
    for data, colour in COLOURS.items():
        for axis, marker in (("base", "o"), ("depth", "o"), ("K", "o"), ("LIF", "s")):
            cells = {r["value"] for r in rows if r["kind"] == "accuracy" and (r["data"], r["axis"]) == (data, axis)}
            for value in cells:
                found = [r for r in rows if (r.get("data"), r.get("axis"), r.get("value")) == (data, axis, value)]
                energy = np.mean([nanojoule(r)[1] for r in found])
                ax.plot(energy, 100 * np.mean([r["accuracy"] for r in found]), marker, color=colour, mfc="none", ms=3.5)
    ax.set_xscale("log")
    ax.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    ax.set(xlabel="Energy (nJ a sample)", ylabel="Accuracy (%)")
    ax.set_title("H  All states updated")
