"""Does training in the order of execution pay? Networks trained under one order, run under all others.

The claim to be tested: a network trained in asynchronous order needs fewer spikes, decides earlier and is right more
often at its first output spike than the same network trained with a layer barrier and then run asynchronously; one
trained in mixed order works under all of them.

    python benchmarks/unlayered_study.py --data-root DIR [--data NAME] [--recipe published] [--minutes M] [--replot]

Trains {layered, random, momentum, FIFO, mixed} x F {all, 16, 8, 4, 1} x seeds with the recipe ``async-NAME`` (or its
variant) and tests every network across schedulers, F and stop rules, and in continuous time. All networks of a study
share data, loss, optimiser and number of updates; only the order differs. Each trained network is one line of
``results/unlayered-NAME[-VARIANT].jsonl``, with its parameters and seed. A line that is there is not computed again, so
the script can be stopped at any moment; ``--minutes`` stops it before a new network, ``--jobs`` trains several networks
at a time, ``--quick`` trains five of them on few samples.

`unlayered_report.py` draws the tables and the figure.
"""

from __future__ import annotations

import argparse
import itertools
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path

from brian2 import ms
from result_lines import Results
from unlayered_report import report

from brian2grad.models.order.schedulers import TimedScheduler
from brian2grad.training import load_splits, make_task, train
from brian2grad.training.asynchronous.configuration import AsyncConfiguration
from brian2grad.training.asynchronous.configuration import build as build_async
from brian2grad.training.asynchronous.engines import continuous
from brian2grad.training.asynchronous.evaluation import evaluate_async
from brian2grad.training.configuration import make_scheduler, parse_group, read_recipe, recipe_path

HERE = Path(__file__).resolve().parent
GROUPS = ("all", 16, 8, 4, 1)
STOPS = ("drained", "first-output", "4")
TESTS = [("layered", "all"), *itertools.product(("random", "momentum", "fifo"), GROUPS)]
# Operation counts to energy: an accumulation in 45 nm takes 0.9 pJ; memory is left out, so only ratios mean something.
PICOJOULE = 0.9
COLUMNS = (
    "scheduler", "F", "stop", "accuracy", "decided", "spikes_per_neuron", "spikes_per_second", "spikes_first",
    "spikes_correct", "steps_first", "ms_first", "synaptic_operations", "threshold_tests", "forward_steps",
    "currents_per_spike", "energy_nJ", "spikes_per_layer",
)  # fmt: skip


def grid(seeds: int, quick: bool) -> list[dict]:
    """Networks to train, the ones that matter most first.

    F means nothing to layered order, and mixed order draws it. With F = all every order delivers the same groups, so
    one of them stands for all.
    """
    first = [("layered", "all"), ("mixed", 8), ("random", 8), ("momentum", 8), ("fifo", 8)]
    rest = [(s, F) for F in (1, 16, 4) for s in ("random", "momentum", "fifo")] + [("random", "all")]
    parts = (first,) if quick else (first, rest)
    return [{"order": s, "F": F, "seed": k} for part in parts for k in range(seeds) for s, F in part]


def run_cell(cell: dict, settings: dict) -> dict:
    """Train one network and test it under every order."""
    config = {section: dict(values) for section, values in settings["recipe"].items()}
    config["network"] |= {"scheduler": cell["order"], "forward_group": cell["F"]}
    config["training"] |= settings["training"] | {"seed": cell["seed"]}
    dt, duration = config["data"]["dt_ms"] * ms, config["data"].get("duration_ms")
    archives = load_splits(settings["data"], settings["data_root"])
    limits = settings["limits"]
    tasks = [make_task(a, dt, duration and duration * ms, n) for a, n in zip(archives, limits, strict=True)]
    network = build_async(config, tasks[0], cell["seed"], settings["threads"])
    began = time.perf_counter()
    for _ in train(network, tasks[0], AsyncConfiguration.read(config).options()):
        pass
    seconds, rows = time.perf_counter() - began, []
    noise = {k: v for k, v in config["network"].items() if k == "noise"}  # a schedule belongs to training
    for (name, F), stop in itertools.product(TESTS, STOPS):
        scheduler = make_scheduler(name, noise if name == "momentum" else None)
        found = evaluate_async(network, tasks[1], scheduler=scheduler, forward_group=parse_group(F), stop=stop)
        rows.append(row_of(found.report(network, tasks[1]), found, name, F, stop))
    for stop in STOPS[:2]:
        timed = TimedScheduler(axonal=0.1 * ms, refractory=network.dt)
        found = continuous(network, archives[1], tasks[1], timed, stop)
        rows.append(row_of(found.report(network, tasks[1]), found, "timed", 1, stop))
    kept = {"training": config["training"], "network": config["network"], "loss": config.get("loss", {})}
    kept |= {"unlayered": config.get("unlayered", {}), "limits": limits}
    head = cell | {"data": settings["data"], "seconds": round(seconds, 1), "settings": kept}
    return head | {"columns": COLUMNS, "tests": rows}


def row_of(found: dict, evaluation, scheduler: str, F, stop: str) -> list:
    """One test as numbers in the order of `COLUMNS`, to four digits."""
    latency, spikes = found["decision_latency"], float(evaluation.spikes.sum(axis=1).mean())
    tests = found["threshold_tests"]
    operations = None if tests is None else found["synaptic_operations"] + tests
    values = found | {
        "scheduler": scheduler, "F": F, "stop": stop, "spikes_first": latency["spikes"]["first"],
        "spikes_correct": latency["spikes"]["correct"], "steps_first": latency["forward_steps"]["first"],
        "ms_first": latency["ms"]["first"],
        "currents_per_spike": None if tests is None or spikes == 0 else tests / spikes,
        "energy_nJ": None if operations is None else operations * PICOJOULE * 1e-3,
    }  # fmt: skip
    return [rounded(values[name]) for name in COLUMNS]


def rounded(value):
    """Four significant digits."""
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def simulate(arguments, path: Path) -> list[dict]:
    """All networks that there are: those in the file, and new ones while there is time."""
    results = Results(path)
    if arguments.replot:
        return results.rows
    limits = (1200, 300) if arguments.quick else (arguments.samples, None)
    training = {"epochs": 6, "warmup": 5} if arguments.quick else {}
    if arguments.epochs:
        training = {"epochs": arguments.epochs}
    settings = {
        "recipe": read_recipe(recipe_path("async", arguments.data, arguments.recipe)), "training": training,
        "limits": limits, "data": arguments.data, "data_root": arguments.data_root, "threads": 1,
    }  # fmt: skip
    done = {(row["order"], str(row["F"]), row["seed"]) for row in results.rows}
    waiting = [c for c in grid(arguments.seeds, arguments.quick) if (c["order"], str(c["F"]), c["seed"]) not in done]
    began, running = time.perf_counter(), set()
    with ProcessPoolExecutor(arguments.jobs) as pool:
        while waiting or running:
            late = arguments.minutes and time.perf_counter() - began > 60 * arguments.minutes
            while waiting and len(running) < arguments.jobs and not late:
                running.add(pool.submit(run_cell, waiting.pop(0), settings))
            if not running:
                break
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                row = future.result()
                results.add(row)
                print(f"{row['order']}, F = {row['F']}, seed {row['seed']}: {row['seconds']} s", flush=True)
    return results.rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="nmnist8")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--recipe", help="variant of the data set's recipe, such as published")
    parser.add_argument("--results", type=Path, help="folder of the results (default: results/ beside this script)")
    parser.add_argument("--out", type=Path, default=HERE / "output", help="folder of tables and figures")
    parser.add_argument("--minutes", type=float, help="start no further network after this time")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--samples", type=int, help="train on the first samples only")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="networks trained at a time, one thread each")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--replot", action="store_true", help="only draw what is there")
    arguments = parser.parse_args()
    stem = "-".join(filter(None, ("unlayered", arguments.data, arguments.recipe, "quick" if arguments.quick else None)))
    if arguments.quick:
        arguments.seeds = 1
    results = arguments.results or (arguments.out if arguments.quick else HERE / "results")
    for folder in (results, arguments.out):
        folder.mkdir(parents=True, exist_ok=True)
    rows = simulate(arguments, results / f"{stem}.jsonl")
    if not rows:
        parser.error("there are no networks yet: give --data-root, or more --minutes")
    report(rows, arguments.out / stem)


if __name__ == "__main__":
    main()
