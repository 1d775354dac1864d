"""Does decoding make a network indifferent to order? SpikingGamma networks trained in one order, run in all others.

A receiver of sigma-delta spikes rebuilds the sender's signal, so a spike more or less, sooner or later, is corrected by
the spikes that follow. A plain spiking network has no such correction. The claim to be tested: a network of gamma
neurons, trained layer by layer, works without a layer barrier, whatever the scheduler and the forward group F.

    python benchmarks/async_gamma.py --data-root DIR [--quick] [--minutes M] [--out DIR] [--replot]

Trains 2312-64-64-64-8 on nmnist8 (32 steps of 10 ms) in {layered, random F = 8, random F = 1} order, with unsigned and
signed spikes, and tests every network under {layered, random, momentum, FIFO} x F. Each trained network is one line of
``async_gamma.jsonl``, with its parameters and seed; a line that is there is not computed again, so the script can be
stopped at any moment, and ``--minutes`` stops it before a new network. The whole grid is 12 networks of 1 to 2 minutes
on a busy machine; ``--quick`` trains six of them for one epoch on 1000 samples.

Panels: accuracy (A, D), spikes per hidden neuron (B, E), and spikes that come or stay away compared with the same
network in layer order (C, F), over the forward group; above unsigned, below signed spikes. Colour: training order;
solid: tested in random order, dashed: momentum, dotted: FIFO.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path

import matplotlib
import numpy as np
from brian2 import ms
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from brian2grad.models import AsynchronousSpikingGamma
from brian2grad.models.files import atomic
from brian2grad.training import TrainingOptions, load_splits, make_task, train
from brian2grad.training.configuration import make_scheduler, parse_group
from brian2grad.training.plots.style import BLUE, GREY, RED, STYLE
from brian2grad.training.runs import git_commit

OUTPUT = Path(__file__).resolve().parent / "output"
GROUPS = ("all", 16, 8, 4, 1)
SCHEDULERS = {"random": "-", "momentum": "--", "fifo": ":"}
TRAINED = {("layered", "all"): GREY, ("random", 8): BLUE, ("random", 1): RED}
NETWORK = {"hidden": [64, 64, 64], "K": 5, "tau_ms": 30.0, "theta": 1.0, "read_from_ms": 50.0, "dt_ms": 10.0}
TRAINING = {"epochs": 6, "batch_size": 64, "learning_rate": 2e-3, "schedule": "cosine", "activity": 0.1, "shift": 1}
# Tests: scheduler, F and what differs from the default execution.
TESTS = [("layered", "all", {}), *((s, F, {}) for s, F in itertools.product(SCHEDULERS, GROUPS))]
TESTS += [("random", F, {name: value}) for F in (8, 1) for name, value in (("idle", "start"), ("once", False))]


def grid(seeds: int) -> list[dict]:
    """Networks to train."""
    cells = itertools.product(range(seeds), (False, True), TRAINED)
    return [{"order": order, "F": F, "signed": signed, "seed": seed} for seed, signed, (order, F) in cells]


def build(cell: dict, task) -> AsynchronousSpikingGamma:
    """Untrained network of a cell, in the order in which it is to be trained."""
    sizes = [task.events.n_units, *NETWORK["hidden"], task.n_classes]
    return AsynchronousSpikingGamma(
        sizes, K=NETWORK["K"], tau=NETWORK["tau_ms"] * ms, theta=NETWORK["theta"], dt=NETWORK["dt_ms"] * ms,
        read_from=NETWORK["read_from_ms"] * ms, signed=cell["signed"], seed=cell["seed"], threads=1,
        scheduler=make_scheduler(cell["order"]), forward_group=parse_group(cell["F"]),
    )  # fmt: skip


def outcome(network, task, batch: int = 400) -> tuple:
    """Predictions, readouts, spike table (sample and step by neuron) and counters of a run over a task."""
    classes, readouts, tables, counted = [], [], [], {}
    for first in range(0, len(task), batch):
        events = task.events.take(slice(first, first + batch))
        happened = network.run(events, sample_ids=np.arange(first, first + len(events)))
        readout = network.replay(events, happened).readout
        classes.append(network.scores(readout).argmax(axis=1))
        readouts.append(readout)
        tables.append(happened.sparse_counts)
        for name in ("spikes", "forward_steps", "threshold_tests", "synaptic_operations"):
            counted[name] = counted.get(name, 0) + float(happened.counters[name].sum())
    return np.concatenate(classes), np.concatenate(readouts), tables, counted


def compare(network, task, scheduler: str, F, variant: dict, reference=None) -> tuple[dict, tuple]:
    """Result of one test, compared with the same network in layer order."""
    again = AsynchronousSpikingGamma.of(
        network, scheduler=make_scheduler(scheduler), forward_group=parse_group(F),
        idle=variant.get("idle", "end"), once_per_timestep=variant.get("once", True),
    )  # fmt: skip
    began = time.perf_counter()
    classes, readout, tables, counted = found = outcome(again, task)
    base = found if reference is None else reference
    differing = sum(float(abs(a - b).sum()) for a, b in zip(tables, base[2], strict=True))
    result = {
        "scheduler": scheduler, "F": F, **variant,
        "accuracy": float((classes == task.labels).mean()),
        "spikes_per_neuron": counted["spikes"] / len(task) / network.n_neurons,
        "other_class": float((classes != base[0]).mean()),
        "readout_change": float(np.sqrt(np.mean((readout - base[1]) ** 2) / np.mean(base[1] ** 2))),
        "spikes_changed": differing / max(1.0, base[3]["spikes"]),
        **{name: value / len(task) for name, value in counted.items()},
        "seconds": round(time.perf_counter() - began, 2),
    }  # fmt: skip
    return result, found


def run_cell(cell: dict, tasks, training: dict) -> dict:
    """Train one network and test it in every order."""
    network, began = build(cell, tasks[0]), time.perf_counter()
    if cell["signed"]:  # the penalty is on the mean signal, which says nothing where signals have two signs
        training = training | {"activity": 0.0}
    records = list(train(network, tasks[0], TrainingOptions(**training, seed=cell["seed"])))
    seconds, reference, tests = time.perf_counter() - began, None, []
    for scheduler, F, variant in TESTS:
        result, found = compare(network, tasks[1], scheduler, F, variant, reference)
        reference = reference or found
        tests.append(result)
    settings = {"network": NETWORK, "training": training, "samples": [len(task) for task in tasks]}
    last = {name: records[-1][name] for name in ("loss", "train_accuracy")}
    return cell | last | {"seconds": round(seconds, 1), "git": git_commit(), "settings": settings, "tests": tests}


def simulate(arguments, path: Path) -> list[dict]:
    """All networks that there are: those in the file, and new ones while there is time."""
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    if arguments.replot:
        return rows
    training = TRAINING | ({"epochs": arguments.epochs} if arguments.epochs else {})
    limits = (arguments.samples, None)
    if arguments.quick:
        training, limits = training | {"epochs": 1}, (1000, 200)
    archives = load_splits("nmnist8", arguments.data_root)
    tasks = [make_task(a, NETWORK["dt_ms"] * ms, 320 * ms, n) for a, n in zip(archives, limits, strict=True)]
    key = lambda row: (row["order"], row["F"], row["signed"], row["seed"])  # noqa: E731
    done, began = set(map(key, rows)), time.perf_counter()
    for cell in grid(arguments.seeds):
        if key(cell) in done:
            continue
        if arguments.minutes and time.perf_counter() - began > 60 * arguments.minutes:
            break
        rows.append(run_cell(cell, tasks, training))
        print(f"{cell}: {rows[-1]['seconds']} s", flush=True)
        with atomic(path) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def mean_of(rows: list[dict], name: str, scheduler: str, F, **variant) -> float:
    """Mean over networks of one number of one test."""
    wanted = {"scheduler": scheduler, "F": F, "idle": "end", "once": True, **variant}
    tests = [{"idle": "end", "once": True} | test for row in rows for test in row["tests"]]
    return float(np.mean([test[name] for test in tests if wanted.items() <= test.items()]))


def chosen(rows: list[dict], trained, signed: bool) -> list[dict]:
    """Networks of one training order and code."""
    return [row for row in rows if (row["order"], row["F"]) == trained and row["signed"] == signed]


def table(rows: list[dict]) -> str:
    """Means over seeds as text."""
    lines = [f"{'code':<9}{'trained':<12}{'tested':<22}{'accuracy %':>11}{'spikes/neuron':>14}{'other class %':>14}"
             f"{'readout change':>15}{'spikes changed':>15}"]  # fmt: skip
    for signed, trained in itertools.product((False, True), TRAINED):
        own = chosen(rows, trained, signed)
        for scheduler, F, variant in TESTS if own else ():
            get = lambda name: mean_of(own, name, scheduler, F, **variant)  # noqa: B023, E731
            text = f"{scheduler} {F}" + "".join(f", {k}={v}" for k, v in variant.items())
            lines.append(
                f"{'signed' if signed else 'unsigned':<9}{f'{trained[0]} {trained[1]}':<12}{text:<22}"
                f"{100 * get('accuracy'):>11.2f}{get('spikes_per_neuron'):>14.3f}{100 * get('other_class'):>14.2f}"
                f"{get('readout_change'):>15.3f}{get('spikes_changed'):>15.3f}"
            )
    return "\n".join(lines)


def plot(rows: list[dict]) -> Figure:
    """Figure of the study."""
    panels = (("accuracy", 100, "Accuracy (%)"), ("spikes_per_neuron", 1, "Spikes per hidden neuron"),
              ("spikes_changed", 100, "Spikes changed (%)"))  # fmt: skip
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.1, 4.8), layout="constrained")
        axes = figure.subplots(2, 3, sharex=True)
        for (row, signed), (column, (name, scale, label)) in itertools.product(
            enumerate((False, True)), enumerate(panels)
        ):
            ax = axes[row, column]
            for (trained, colour), (scheduler, style) in itertools.product(TRAINED.items(), SCHEDULERS.items()):
                own = chosen(rows, trained, signed)
                if own:
                    values = [scale * mean_of(own, name, scheduler, F) for F in GROUPS]
                    ax.plot(range(len(GROUPS)), values, style, color=colour, marker="o", markersize=2.5)
            ax.set_xticks(range(len(GROUPS)), GROUPS)
            ax.set_title(f"{'ABCDEF'[3 * row + column]}  {'Signed' if signed else 'Unsigned'} spikes")
            ax.set_ylabel(label)
            if row:
                ax.set_xlabel("Forward group F")
        for ax in axes[:, 1:].ravel():
            ax.set_ylim(0, 1.1 * ax.get_ylim()[1])
        low = min(ax.get_ylim()[0] for ax in axes[:, 0])
        high = max(ax.get_ylim()[1] for ax in axes[:, 0])
        for ax in axes[:, 0]:
            ax.set_ylim(low, high)
        lines = [Line2D([], [], color=c, label=f"trained {t[0]}" + (f" F = {t[1]}" if t[1] != "all" else ""))
                 for t, c in TRAINED.items()]  # fmt: skip
        lines += [Line2D([], [], color="black", linestyle=s, label=f"tested {n}") for n, s in SCHEDULERS.items()]
        figure.legend(handles=lines, loc="outside lower center", ncols=3)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--out", type=Path, default=OUTPUT)
    parser.add_argument("--minutes", type=float, help="start no further network after this time")
    parser.add_argument("--epochs", type=int, help="instead of 6")
    parser.add_argument("--samples", type=int, default=6000, help="train on the first samples only")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--replot", action="store_true")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds = 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    stem = arguments.out / f"async_gamma{'_quick' if arguments.quick else ''}"
    rows = simulate(arguments, stem.with_suffix(".jsonl"))
    if not rows:
        parser.error("there are no networks yet: give --data-root, or more --minutes")
    text = table(rows)
    print(text)
    stem.with_suffix(".txt").write_text(text + "\n")
    for ending in ("png", "pdf"):
        plot(rows).savefig(stem.with_suffix(f".{ending}"))


if __name__ == "__main__":
    main()
