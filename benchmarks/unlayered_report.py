"""Tables and figure of `unlayered_study.py`: claims against layered training, and every training under every order.

Panels: A accuracy at the first output spike, training order (rows) against test order (columns); B the same when
drained; C spikes per neuron and accuracy (random order, F = 8), drained (circles) and at the first output spike
(triangles); D network spikes until the first output spike against F; E spikes of each layer per sample; F operations.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from brian2grad.training.plots.style import BLUE, GREEN, GREY, PURPLE, RED, STYLE

COLOURS = {"layered": GREY, "random": BLUE, "momentum": RED, "fifo": GREEN, "mixed": PURPLE}
GROUPS = ("all", 16, 8, 4, 1)
LINES = ("-", (0, (5, 1)), "-", (0, (2, 1)), (0, (1, 1)))  # by the forward group in training, as in GROUPS


class Study:
    """Results by training order, means over seeds.

    Parameters
    ----------
    rows : list of dict
        Lines of a results file.
    """

    def __init__(self, rows: list[dict]):
        self.names = sorted(dict.fromkeys(map(name_of, rows)), key=_rank)
        self.of = {name: [row for row in rows if name_of(row) == name] for name in self.names}
        self.columns = rows[0]["columns"]
        self.tests = list(dict.fromkeys((t[0], t[1]) for t in rows[0]["tests"]))

    def values(self, name: str, scheduler: str, F, stop: str, column: str) -> np.ndarray:
        """One number per seed, nan where nothing was measured."""
        place = self.columns.index(column)
        found = [next(t for t in row["tests"] if t[:3] == [scheduler, F, stop])[place] for row in self.of[name]]
        return np.array([np.nan if v is None else v for v in found], float)

    def mean(self, *where) -> float:
        """Mean over seeds."""
        return float(self.values(*where).mean())


def name_of(row: dict) -> str:
    """Short name of a training order."""
    return row["order"] if row["order"] in ("layered", "mixed") else f"{row['order']} {row['F']}"


def _rank(name: str):
    order, _, F = name.partition(" ")
    return tuple(COLOURS).index(order), GROUPS.index(int(F) if F.isdigit() else F or "all")


def claims(study: Study, F=8) -> str:
    """Each asynchronous training against the layered one, run in its own order with F neurons per forward step."""
    lines = [
        "against layered training, both run asynchronously with F = 8 (mean over seeds, its range in brackets)",
        f"{'trained':<14}{'run in':<10}{'accuracy %':>16}{'first output %':>18}{'spikes':>9}{'until first':>13}",
    ]
    for order in ("random", "momentum", "fifo"):
        for name in ("layered", f"{order} {F}", "mixed"):
            if name not in study.of:
                continue
            pick = lambda stop, column, name=name, order=order: study.values(name, order, F, stop, column)  # noqa: E731
            base = lambda column, order=order: study.mean("layered", order, F, "drained", column)  # noqa: E731
            ratio = [pick("drained", c).mean() / base(c) for c in ("spikes_per_neuron", "spikes_first")]
            lines.append(
                f"{name:<14}{order:<10}{spread(pick('drained', 'accuracy')):>16}"
                f"{spread(pick('first-output', 'accuracy')):>18}{ratio[0]:>8.2f}x{ratio[1]:>12.2f}x"
            )
    return "\n".join(lines)


def spread(values: np.ndarray) -> str:
    """Mean and range in per cent."""
    values = 100 * values
    return f"{values.mean():.1f} ({values.min():.1f}-{values.max():.1f})"


def across(study: Study, stop: str) -> str:
    """Accuracy of every training under every order, and how far its worst order is from its best."""
    tests = [t for t in study.tests if not (t[0] == "timed" and stop not in ("drained", "first-output"))]
    head = "".join(f"{(s[:4] + ' ' + str(F)):>10}" for s, F in tests)
    lines = [f"accuracy (%), {stop}; columns: order of the test", f"{'trained':<14}{head}{'best-worst':>12}"]
    for name in study.names:
        values = [100 * study.mean(name, s, F, stop, "accuracy") for s, F in tests]
        lines.append(f"{name:<14}" + "".join(f"{v:>10.1f}" for v in values) + f"{max(values) - min(values):>12.1f}")
    return "\n".join(lines)


def details(study: Study, scheduler: str = "random", F=8) -> str:
    """Spikes, latency, reactivity and operations in one order."""
    columns = {
        "spikes_per_neuron": "spikes/neuron", "spikes_per_second": "per second", "spikes_first": "until first",
        "spikes_correct": "until correct", "steps_first": "steps", "ms_first": "ms",
        "currents_per_spike": "currents/spike", "synaptic_operations": "synops", "energy_nJ": "energy nJ",
    }  # fmt: skip
    lines = [
        f"run in {scheduler} order, F = {F}, drained; latencies are medians over the samples that decided",
        f"{'trained':<14}" + "".join(f"{title:>15}" for title in columns.values()),
    ]
    for name in study.names:
        values = (study.mean(name, scheduler, F, "drained", column) for column in columns)
        lines.append(f"{name:<14}" + "".join(f"{v:>15.4g}" for v in values))
    return "\n".join(lines)


def plot(study: Study) -> Figure:
    """Figure of the study."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.1, 8.4), layout="constrained")
        (A, B), (C, D), (E, F) = figure.subplots(3, 2, height_ratios=(1.25, 1, 1))
        for ax, stop, title in ((A, "first-output", "A  First output spike"), (B, "drained", "B  Drained")):
            _matrix(figure, ax, study, stop, f"{title}: accuracy (%)")
        for name in study.names:
            style = {"color": COLOURS[name.split()[0]], "ls": LINES[_rank(name)[1]]}
            for stop, marker in (("drained", "o"), ("first-output", "^")):
                at = [study.mean(name, "random", 8, stop, column) for column in ("spikes_per_neuron", "accuracy")]
                C.plot(at[0], 100 * at[1], marker, ms=4, color=style["color"])
            for ax, column in ((D, "spikes_first"), (F, "energy_nJ")):
                values = [study.mean(name, "random", g, "drained", column) for g in GROUPS]
                ax.plot(range(len(GROUPS)), values, marker="o", ms=3, label=name, **style)
            place = study.columns.index("spikes_per_layer")
            found = [
                next(t for t in row["tests"] if t[:3] == ["random", 8, "drained"])[place] for row in study.of[name]
            ]
            E.plot(np.mean(found, axis=0), marker="o", ms=3, **style)
        C.set(xlabel="Spikes per neuron (random order, F = 8)", ylabel="Accuracy (%)", xlim=(0, None))
        C.set_title("C  Circles: drained; triangles: first output")
        D.set(ylabel="Spikes until first output", ylim=(0, None))
        D.set_title("D")
        F.set(ylabel="Operations x 0.9 pJ (nJ)", ylim=(0, None))
        F.set_title("F")
        for ax in (D, F):
            ax.set(xlabel="Forward group F (random order)")
            ax.set_xticks(range(len(GROUPS)), GROUPS)
        n_layers = len(E.lines[0].get_xdata())
        E.set_xticks(range(n_layers), [*(f"hidden {k + 1}" for k in range(n_layers - 1)), "output"])
        E.set(ylabel="Spikes per sample (random, F = 8)", ylim=(0, None))
        E.set_title("E")
        figure.legend(*D.get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


def _matrix(figure, ax, study: Study, stop: str, title: str) -> None:
    values = [[100 * study.mean(n, s, F, stop, "accuracy") for s, F in study.tests] for n in study.names]
    image = ax.imshow(values, vmin=20, vmax=100, aspect="auto", cmap="viridis")
    ax.set_xticks(range(len(study.tests)), [f"{s} {F}" for s, F in study.tests], rotation=90)
    ax.set_yticks(range(len(study.names)), study.names)
    ax.set_title(title)
    figure.colorbar(image, ax=ax)


def report(rows: list[dict], stem: Path) -> None:
    """Print and write the tables, draw the figure."""
    study = Study(rows)
    parts = [claims(study)] if "layered" in study.of else []
    parts += [across(study, "drained"), across(study, "first-output"), details(study), details(study, "momentum")]
    text = "\n\n".join(parts)
    print(text)
    stem.with_suffix(".txt").write_text(text + "\n")
    figure = plot(study)
    for ending in ("png", "pdf"):
        figure.savefig(stem.with_suffix(f".{ending}"), dpi=200)
