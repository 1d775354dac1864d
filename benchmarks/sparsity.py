"""Accuracy against spikes on nmnist8: what the activity penalty and the threshold buy.

    python benchmarks/sparsity.py --data-root DIR [--minutes M] [--seeds 2] [--quick] [--replot]

Trains 2312-128-8 networks (eight epochs, shifts only) with activity penalties from 0 to 30, and some with another
threshold or a threshold schedule. Every trained network is also run with its threshold multiplied, without training
again. Accuracy and spikes per hidden neuron and sample are those of ``nmnist8_validation`` after the last epoch.
One line of ``results/sparsity.jsonl`` per network; a line that is there is not computed again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib
import numpy as np
from brian2 import ms
from matplotlib.figure import Figure
from result_lines import Results
from rules_report import save

from brian2grad.training import TrainingOptions, load_splits, make_task, train
from brian2grad.training.evaluation import evaluate_native
from brian2grad.training.gamma.configuration import build as build_network
from brian2grad.training.plots.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, STYLE

HERE = Path(__file__).resolve().parent
DATA = {"dt_ms": 10.0, "duration_ms": 320.0}
NETWORK = {"hidden": [128], "K": 5, "tau_ms": 30.0, "read_from_ms": 50.0}
TRAINING = {"epochs": 8, "batch_size": 64, "learning_rate": 2e-3, "shift": 2}
ACTIVITIES = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
FACTORS = (0.5, 1.0, 1.5, 2.0, 3.0)
PLAIN = {"theta": 1.0, "theta_start": 1.0}
OTHERS = [
    *({"activity": a, "theta": t, "theta_start": 1.0} for t in (0.3, 3.0) for a in (0.1, 1.0)),
    *({"activity": a, "theta": 1.0, "theta_start": 0.25} for a in (1.0, 10.0)),
]


def grid(seeds: int) -> list[dict]:
    """Networks to train."""
    cells = [*({"activity": a, **PLAIN} for a in ACTIVITIES), *OTHERS]
    return [{"kind": "network", **cell, "seed": seed} for cell in cells for seed in range(seeds)]


def run_cell(cell: dict, tasks, training: dict) -> dict:
    """Train one network and run it at every multiple of its threshold."""
    config = {"data": DATA, "network": NETWORK | {"theta": cell["theta"]}}
    network = build_network(config, tasks[0], cell["seed"], threads=1)
    own = {name: cell[name] for name in ("activity", "theta_start", "seed")}
    began = time.process_time()
    record = list(train(network, tasks[0], TrainingOptions(**training, **own)))[-1]
    seconds, theta, at = time.process_time() - began, network.theta, {}
    for factor in FACTORS:
        network.theta = tuple(t * factor for t in theta)
        found = evaluate_native(network, tasks[1], dtype="float32")
        at[str(factor)] = [round(found.accuracy, 5), round(found.spikes_per_neuron, 4)]
    return cell | {"at": at, "train_accuracy": round(record["train_accuracy"], 4), "seconds": round(seconds, 1)}


def simulate(arguments, results: Results, training: dict) -> None:
    """Train what is missing, while there is time."""
    results.settle(network=NETWORK, training=training, data=DATA, validation="nmnist8_validation")
    tasks = None
    for cell in results.missing(grid(arguments.seeds), arguments.minutes):
        tasks = tasks or [
            make_task(archive, DATA["dt_ms"] * ms, DATA["duration_ms"] * ms, 640 if arguments.quick else None)
            for archive in load_splits("nmnist8", arguments.data_root)
        ]
        row = run_cell(cell, tasks, training)
        results.add(row)
        print(*(f"{k} {v}" for k, v in row.items() if k != "kind"), flush=True)


def means(rows, factor: float = 1.0, **what) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy (%) and spikes (seeds,) of the networks with these entries."""
    at = [r["at"][str(factor)] for r in rows if r["kind"] == "network" and all(r[k] == v for k, v in what.items())]
    return 100 * np.array([a for a, _ in at]), np.array([s for _, s in at])


def table(rows) -> str:
    """Mean over seeds, at the trained threshold and at its multiples."""
    head = f"{'activity':>9}{'theta':>7}{'start':>7}{'seeds':>7}" + "".join(f"{f'theta x {f:g}':>17}" for f in FACTORS)
    lines = ["accuracy (%) at spikes per hidden neuron and sample", head]
    for cell in [*({"activity": a, **PLAIN} for a in ACTIVITIES), *OTHERS]:
        n = len(means(rows, **cell)[0])
        if n:
            parts = [f"{a.mean():.2f} at {s.mean():.2f}" for a, s in (means(rows, f, **cell) for f in FACTORS)]
            lines.append(
                f"{cell['activity']:>9g}{cell['theta']:>7g}{cell['theta_start']:>7g}{n:>7}"
                + "".join(f"{part:>17}" for part in parts)
            )
    return "\n".join(lines)


def plot(rows) -> Figure:
    """Left: penalties, thresholds, schedules. Right: thresholds multiplied after training."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.1, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2, sharex=True, sharey=True)
        done = [a for a in ACTIVITIES if len(means(rows, activity=a, **PLAIN)[0])]
        points = [means(rows, activity=a, **PLAIN) for a in done]
        for ax in (left, right):
            ax.plot([s.mean() for _, s in points], [100 - a.mean() for a, _ in points], "-", color=GREY, lw=1, zorder=1)
        for activity, (accuracy, spikes) in zip(done, points, strict=True):
            left.plot(
                spikes,
                100 - accuracy,
                "o",
                ms=3,
                color=BLUE,
                label="penalty, theta = 1" if activity == done[0] else None,
            )
            place = (spikes.mean(), 100 - accuracy.mean())
            left.annotate(f"{activity:g}", place, (0, 7), textcoords="offset points", fontsize=6, ha="center")
        kinds = {(0.3, 1.0): (GREEN, "v", "theta = 0.3"), (3.0, 1.0): (RED, "^", "theta = 3"),
                 (1.0, 0.25): (PURPLE, "s", "theta from 0.25 to 1")}  # fmt: skip
        for (theta, start), (colour, marker, label) in kinds.items():
            accuracy, spikes = means(rows, theta=theta, theta_start=start)
            left.plot(spikes, 100 - accuracy, marker, ms=3.5, mfc="none", color=colour, label=label)
        for activity, colour in zip((0.0, 0.1, 1.0, 10.0), (BLUE, ORANGE, GREEN, SKY), strict=True):
            found = [means(rows, f, activity=activity, **PLAIN) for f in FACTORS]
            if len(found[0][0]):
                x, y = [s.mean() for _, s in found], [100 - a.mean() for a, _ in found]
                right.plot(x, y, "o-", ms=3, color=colour, label=f"penalty {activity:g}")
        left.set(xscale="log", xlabel="Spikes per hidden neuron and sample", ylabel="Errors (%)", yscale="log")
        ticks = [2, 3, 5, 10, 20, 50]
        left.set_yticks(ticks, ticks)
        left.tick_params(axis="y", which="minor", labelleft=False)
        left.invert_yaxis()  # better is higher
        right.set(xlabel="Spikes per hidden neuron and sample")
        left.set_title("A  Trained: numbers are the activity penalty")
        right.set_title(f"B  The threshold times {', '.join(f'{f:g}' for f in FACTORS)}, not trained again")
        for ax in (left, right):
            ax.legend(loc="lower right")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--minutes", type=float, help="start no further network after this time")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one seed, 640 recordings, one epoch")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--replot", action="store_true")
    arguments = parser.parse_args()
    name, training = "sparsity", TRAINING
    if arguments.quick:
        arguments.seeds, name, training = 1, "sparsity_quick", TRAINING | {"epochs": 1}
    results = Results(arguments.out / f"{name}.jsonl")
    if not arguments.replot:
        simulate(arguments, results, training)
    print(table(results.rows))
    print(*save(plot(results.rows), HERE / "output", name), sep="\n")


if __name__ == "__main__":
    main()
