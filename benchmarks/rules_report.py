"""Table and figure of ``rules.py``, and what a study needs to write its picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from brian2grad.models.files import atomic
from brian2grad.training.plots.style import BLUE, GREEN, RED, STYLE

TITLES = {"gaps": "which gap", "delay": "45 ms later", "nmnist8": "nmnist8"}
ORDER = (
    "filter",
    "online/1",
    "online/2",
    "online/4",
    "online/8",
    "online/16",
    "D1",
    "D2",
    "direct",
    "detached",
    "frozen",
)
DEPTH_COLOURS = {1: BLUE, 2: RED, 3: GREEN}
MARKERS = {1: "o", 2: "s", 3: "^"}


def losses(rows, task: str, depth: int, rule: str) -> np.ndarray:
    """Final losses of the seeds that both this rule and `filter` have, relative to the mean of `filter`."""
    of = lambda r: {  # noqa: E731
        row["seed"]: row["loss"]
        for row in rows
        if row["kind"] == "loss" and (row["task"], row["depth"], row["rule"]) == (task, depth, r)
    }
    own, exact = of(rule), of("filter")
    seeds = sorted(own.keys() & exact.keys())
    return np.array([own[s] for s in seeds]) / np.mean([exact[s] for s in seeds]) if seeds else np.zeros(0)


def layer_cosines(rows, task: str, depth: int, when: str, rule: str) -> np.ndarray:
    """Cosines (seeds, layers)."""
    chosen = [r for r in rows if r["kind"] == "cosine" and (r["task"], r["depth"]) == (task, depth)]
    return np.array([r[when][rule] for r in chosen])


def table(rows) -> str:
    """Both parts of the study as text: mean over seeds."""
    lines = ["cosine to filter, first layer (before training | after)"]
    cells = [(t, d) for t in TITLES for d in (1, 2, 3)]
    head = f"{'rule':<10}" + "".join(f"{t + ' ' + str(d):>16}" for t, d in cells)
    lines.append(head)
    for rule in ORDER[1:-1]:
        line = f"{rule:<10}"
        for task, depth in cells:
            found = [layer_cosines(rows, task, depth, when, rule) for when in ("before", "after")]
            line += f"{' | '.join(f'{f[:, 0].mean():.3f}' for f in found):>16}" if all(map(len, found)) else f"{'':>16}"
        lines.append(line)
    lines += ["", "final loss / filter's (mean; worst seed)", head]
    for rule in ORDER:
        line = f"{rule:<10}"
        for task, depth in cells:
            found = losses(rows, task, depth, rule)
            line += f"{f'{found.mean():.2f} ({found.max():.1f})':>16}" if len(found) else f"{'':>16}"
        lines.append(line)
    for task in ("gaps", "delay"):
        own = [r for r in rows if r["kind"] == "loss" and (r["task"], r["rule"]) == (task, "filter")]
        exact = ([r["loss"] for r in own if r["depth"] == d] for d in (1, 2, 3))
        text = ", ".join(f"{np.mean(v):.4g} ({len(v)} seeds)" for v in exact if v)
        lines.append(f"filter's own mean loss, {task}, 1 to 3 hidden layers: {text}")
    return "\n".join(lines)


def plot(rows) -> Figure:
    """Cosines above, final losses below."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.1, 5.2), layout="constrained")
        axes = figure.subplots(2, 3)
        for ax, task, letter in zip(axes[0], TITLES, "ABC", strict=True):
            _cosine_panel(ax, rows, task)
            ax.set_title(f"{letter}  First layer: {TITLES[task]}")
        axes[0, 0].set_ylabel("Cosine to filter gradient")
        for ax, task, letter in zip(axes[1], ("gaps", "delay"), "DE", strict=False):
            _loss_panel(ax, rows, task)
            ax.set_title(f"{letter}  After learning: {TITLES[task]}")
        axes[1, 0].set_ylabel("Final loss / filter's mean")
        _layer_panel(axes[1, 2], rows)
        axes[1, 2].set_title("F  By layer: nmnist8, 3 hidden")
        handles = [
            matplotlib.lines.Line2D([], [], color=c, marker=MARKERS[d], ls="", label=f"{d} hidden layer{'s' * (d > 1)}")
            for d, c in DEPTH_COLOURS.items()
        ]
        handles.append(
            matplotlib.lines.Line2D([], [], color="k", marker="o", mfc="none", ls="", label="before training")
        )
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def _rule_axis(ax, rules) -> None:
    ax.set_xticks(range(len(rules)), rules, rotation=60, ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.6, len(rules) - 0.4)


def _cosine_panel(ax, rows, task) -> None:
    rules = ORDER[1:-1]
    for depth, colour in DEPTH_COLOURS.items():
        for when, filled in (("before", "none"), ("after", colour)):
            for x, rule in enumerate(rules):
                found = layer_cosines(rows, task, depth, when, rule)
                if not len(found):
                    continue
                place = x + 0.25 * (depth - 2)
                ax.plot(place, found[:, 0].mean(), MARKERS[depth], color=colour, mfc=filled, ms=3.5)
                if when == "after":
                    ax.vlines(place, found[:, 0].min(), found[:, 0].max(), color=colour, lw=0.8)
    if ax.get_ylim()[0] < 0:
        ax.axhline(0, color="k", lw=0.5)
    ax.set_ylim(top=1.05)
    _rule_axis(ax, rules)


def _loss_panel(ax, rows, task) -> None:
    for depth, colour in DEPTH_COLOURS.items():
        for x, rule in enumerate(ORDER):
            found = losses(rows, task, depth, rule)
            if not len(found):
                continue
            place = np.full(len(found), x + 0.25 * (depth - 2))
            ax.plot(place, found, ".", color=colour, ms=2.5, alpha=0.6)
            ax.plot(place[0], found.mean(), MARKERS[depth], color=colour, ms=3.5)
    ax.axhline(1.5, color="k", lw=0.6, ls="--")
    ax.set_yscale("log")
    _rule_axis(ax, ORDER)


def _layer_panel(ax, rows) -> None:
    shown = ("online/4", "online/16", "D1", "D2", "direct", "detached")
    found = {rule: layer_cosines(rows, "nmnist8", 3, "after", rule) for rule in shown}
    if not len(found["D1"]):
        ax.text(0.5, 0.5, "give --data-root", transform=ax.transAxes, ha="center")
        return
    for rule, cosine in found.items():
        ax.plot(range(1, 5), cosine.mean(axis=0), "o-", ms=3, lw=1, label=rule)
    ax.set_xticks(range(1, 5), ["first", "second", "third", "readout"])
    ax.set_ylim(top=1.05)
    ax.legend()


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write PNG and PDF, each complete or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png", folder / f"{name}.pdf"]
    for path in paths:
        with atomic(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=200)
    return paths
