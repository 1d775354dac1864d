"""Does training in the order of execution pay? Networks trained under one order, run under all others.

The claim to be tested: a network trained in asynchronous order needs fewer spikes, decides earlier and is right more
often at its first output spike than the same network trained with a layer barrier and then run asynchronously; one
trained in mixed order works under all of them.

    python benchmarks/unlayered_study.py --data-root DIR [--quick] [--minutes M] [--out DIR] [--replot]

Trains {layered, random, momentum, FIFO, mixed} x F {all, 16, 8, 4, 1} x seeds with the recipe ``async-<data>`` and
tests every network across schedulers, F and stop rules. Each trained network is one line of ``unlayered_study.jsonl``,
with its parameters and seed; a line that is there is not computed again, so the script can be stopped at any moment,
and ``--minutes`` stops it before a new network. The whole grid is 51 networks of 3 to 10 minutes on one core;
``--quick`` trains five of them on 1200 samples for a few epochs (about 3 minutes).

Panels: A accuracy at the first output spike, training order (rows) against test order (columns); B spikes per neuron
and accuracy, drained and at the first output spike; C network spikes until the first output spike; D operations.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from pathlib import Path

import matplotlib
import numpy as np
from brian2 import ms
from matplotlib.figure import Figure

from brian2grad.training import TrainingOptions, load_splits, make_task, train
from brian2grad.training.async_configuration import build_async, make_scheduler, parse_group
from brian2grad.training.async_evaluation import evaluate_async
from brian2grad.training.configuration import read_recipe, recipe_path
from brian2grad.training.plots import BLUE, GREEN, GREY, PURPLE, RED, STYLE
from brian2grad.training.runs import git_commit

OUTPUT = Path(__file__).resolve().parent / "output"
GROUPS = ("all", 16, 8, 4, 1)
STOPS = ("drained", "first-output", "4")
TESTS = [("layered", "all"), *itertools.product(("random", "momentum", "fifo"), GROUPS)]
COLOURS = {"layered": GREY, "random": BLUE, "momentum": RED, "fifo": GREEN, "mixed": PURPLE}
# Operation counts to energy: an accumulation in 45 nm takes 0.9 pJ; memory is left out, so only ratios mean something.
PICOJOULE = 0.9


def grid(seeds: int, quick: bool) -> list[dict]:
    """Networks to train; F means nothing to layered order, and mixed order draws it."""
    groups = (8,) if quick else GROUPS
    asynchronous = [(s, F) for F in groups for s in ("random", "momentum", "fifo")]
    cells = [("layered", "all"), ("mixed", 8), *sorted(asynchronous, key=lambda c: c[1] != 8)]
    return [{"order": s, "F": F, "seed": seed} for seed in range(seeds) for s, F in cells]


def run_cell(cell: dict, tasks, recipe: dict, options: dict, threads: int) -> dict:
    """Train one network and test it under every order."""
    config = {section: dict(values) for section, values in recipe.items()}
    config["network"] |= {"scheduler": cell["order"], "forward_group": cell["F"]}
    training = config["training"] | options | {"seed": cell["seed"]}
    network = build_async(config, tasks[0], cell["seed"], threads)
    began = time.perf_counter()
    for _ in train(network, tasks[0], TrainingOptions(**training)):
        pass
    seconds, results = time.perf_counter() - began, []
    for (name, F), stop in itertools.product(TESTS, STOPS):
        scheduler = make_scheduler(name, config["network"] if name == "momentum" else None)
        found = evaluate_async(network, tasks[1], scheduler=scheduler, forward_group=parse_group(F), stop=stop)
        report = found.report(network, tasks[1])
        operations = report["synaptic_operations"] + report["threshold_tests"]
        results.append(
            {"scheduler": name, "F": F, "stop": stop}
            | {k: report[k] for k in ("accuracy", "spikes_per_neuron", "spikes_per_second", "spikes_per_layer")}
            | {k: report[k] for k in ("synaptic_operations", "threshold_tests", "forward_steps", "decision_latency")}
            | {"decided": report["decided"], "energy_nJ": operations * PICOJOULE * 1e-3}
            | {"currents_per_spike": report["threshold_tests"] / max(1e-9, float(found.spikes.sum(axis=1).mean()))}
        )
    settings = {"training": training, "network": config["network"], "loss": config.get("loss", {})}
    return cell | {"seconds": round(seconds, 1), "git": git_commit(), "settings": settings, "tests": results}


def simulate(arguments) -> list[dict]:
    """All networks that there are: those in the file, and new ones while there is time."""
    path = arguments.out / f"unlayered_study{'_quick' if arguments.quick else ''}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    if arguments.replot:
        return rows
    recipe = read_recipe(recipe_path("async", arguments.data))
    options = {"epochs": arguments.epochs} if arguments.epochs else {}
    n_train, n_test = arguments.samples, None
    if arguments.quick:
        options, n_train, n_test = {"epochs": 6, "warmup": 5}, 1200, 300
    archives = load_splits(arguments.data, arguments.data_root)
    dt, duration = recipe["data"]["dt_ms"] * ms, recipe["data"].get("duration_ms")
    tasks = [make_task(a, dt, duration and duration * ms, n) for a, n in zip(archives, (n_train, n_test), strict=True)]
    done = {(row["order"], str(row["F"]), row["seed"]) for row in rows}
    began = time.perf_counter()
    for cell in grid(arguments.seeds, arguments.quick):
        if (cell["order"], str(cell["F"]), cell["seed"]) in done:
            continue
        if arguments.minutes and time.perf_counter() - began > 60 * arguments.minutes:
            break
        rows.append(run_cell(cell, tasks, recipe, options, arguments.threads))
        print(f"{cell['order']}, F = {cell['F']}, seed {cell['seed']}: {rows[-1]['seconds']} s", flush=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows))
        os.replace(temporary, path)
    return rows


def pick(row: dict, scheduler: str, F, stop: str) -> dict:
    """Test result of a network."""
    return next(t for t in row["tests"] if (t["scheduler"], t["F"], t["stop"]) == (scheduler, F, stop))


def name_of(row: dict) -> str:
    """Short name of a training order."""
    return row["order"] if row["order"] in ("layered", "mixed") else f"{row['order']} {row['F']}"


def table(rows: list[dict], scheduler: str = "random", F=8) -> str:
    """Means over seeds, run in one asynchronous order, as text."""
    lines = [f"run in {scheduler} order, F = {F}",
             f"{'trained':<14}{'drained %':>10}{'first %':>9}{'spikes/neuron':>15}{'until first':>12}"
             f"{'until correct':>14}{'currents/spike':>15}{'energy nJ':>11}"]  # fmt: skip
    for name in dict.fromkeys(map(name_of, rows)):
        own = [row for row in rows if name_of(row) == name]
        drained = [pick(row, scheduler, F, "drained") for row in own]
        first = [pick(row, scheduler, F, "first-output") for row in own]
        mean = lambda tests, *keys: float(np.mean([nested(t, *keys) for t in tests]))  # noqa: E731
        lines.append(
            f"{name:<14}{100 * mean(drained, 'accuracy'):>10.1f}{100 * mean(first, 'accuracy'):>9.1f}"
            f"{mean(drained, 'spikes_per_neuron'):>15.2f}{mean(drained, 'decision_latency', 'spikes', 'first'):>12.0f}"
            f"{mean(drained, 'decision_latency', 'spikes', 'correct'):>14.0f}"
            f"{mean(drained, 'currents_per_spike'):>15.1f}{mean(drained, 'energy_nJ'):>11.1f}"
        )
    return "\n".join(lines)


def nested(test: dict, *keys):
    """Entry of a nested dictionary, nan where there is none."""
    for key in keys:
        test = test[key]
    return np.nan if test is None else test


def plot(rows: list[dict]) -> Figure:
    """Figure of the study."""
    names = list(dict.fromkeys(map(name_of, rows)))
    of = {name: [row for row in rows if name_of(row) == name] for name in names}
    mean = lambda name, *test, keys: np.nanmean([nested(pick(row, *test), *keys) for row in of[name]])  # noqa: E731
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.1, 5.6), layout="constrained")
        axes = figure.subplots(2, 2)
        A, B, C, D = axes.ravel()
        values = [[100 * mean(n, s, F, "first-output", keys=("accuracy",)) for s, F in TESTS] for n in names]
        image = A.imshow(values, vmin=20, vmax=100, aspect="auto", cmap="viridis")
        A.set_xticks(range(len(TESTS)), [f"{s} {F}" for s, F in TESTS], rotation=90)
        A.set_yticks(range(len(names)), names)
        A.set_title("A  Accuracy at the first output spike (%)")
        figure.colorbar(image, ax=A)
        for name in names:
            colour = COLOURS[of[name][0]["order"]]
            for stop, marker in (("drained", "o"), ("first-output", "^")):
                test = ("random", 8, stop)
                spikes, accuracy = (mean(name, *test, keys=(k,)) for k in ("spikes_per_neuron", "accuracy"))
                B.plot(spikes, 100 * accuracy, marker, color=colour, label=name if marker == "o" else None)
            latency = [mean(name, "random", F, "drained", keys=("decision_latency", "spikes", "first")) for F in GROUPS]
            C.plot(range(len(GROUPS)), latency, "o-", color=colour, label=name)
            energy = [mean(name, "random", F, "drained", keys=("energy_nJ",)) for F in GROUPS]
            D.plot(range(len(GROUPS)), energy, "o-", color=colour)
        B.set(xlabel="Spikes per neuron (random order, F = 8)", ylabel="Accuracy (%)", xlim=(0, None))
        B.set_title("B  Circles: drained; triangles: first output spike")
        C.set(ylabel="Spikes until first output", xlabel="Forward group F (random order)")
        D.set(ylabel="Operations x 0.9 pJ (nJ)", xlabel="Forward group F (random order)")
        for ax in (C, D):
            ax.set_xticks(range(len(GROUPS)), GROUPS)
        figure.legend(*C.get_legend_handles_labels(), loc="outside lower center", ncols=6)
        C.set_title("C")
        D.set_title("D")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="nmnist8")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--out", type=Path, default=OUTPUT)
    parser.add_argument("--minutes", type=float, help="start no further network after this time")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--samples", type=int, help="train on the first samples only")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--replot", action="store_true")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds = 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = simulate(arguments)
    if not rows:
        parser.error("there are no networks yet: give --data-root, or more --minutes")
    text = "\n\n".join(table(rows, s, F) for s, F in (("random", 8), ("momentum", 8), ("random", 1)))
    print(text)
    stem = arguments.out / f"unlayered_study{'_quick' if arguments.quick else ''}"
    stem.with_suffix(".txt").write_text(text + "\n")
    for ending in ("png", "pdf"):
        plot(rows).savefig(stem.with_suffix(f".{ending}"))


if __name__ == "__main__":
    main()
