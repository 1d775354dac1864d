"""How good are the gradient rules of SpikingGamma networks? Cosine to the exact gradient, and what they learn.

    python benchmarks/rules.py [--data-root DIR] [--minutes M] [--seeds 5] [--quick] [--out DIR] [--replot]

Rules: `filter` (exact through the linear memory, back through the whole recording), `online` with windows from the
default down to a sixteenth of it, `direct`, `detached`, and the deeper-bucket eligibilities D1 and D2 of
``deeper_buckets.py``. Networks of one, two and three hidden layers. Two tasks: which of two gaps lay between two spikes
(per-step cross entropy over a stream of four trials), and one of two inputs to be repeated 45 ms later (squared
error), which is more than the readout's own buckets reach.

- ``cosine``: of each rule's weight gradient to `filter`'s, per layer, before training and after it (with `filter`);
  with --data-root also on batches of nmnist8.
- ``loss``: on fresh trials after equal numbers of updates with each rule; `frozen` trains the readout only.

One line of ``results/rules.jsonl`` per cell; a line that is there is not computed again.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import time
from pathlib import Path

import numpy as np
from brian2 import ms
from deeper_buckets import deeper_gradient
from result_lines import Results
from rules_report import plot, save, table

from brian2grad.models import SpikingGammaNetwork
from brian2grad.models.gamma.windows import default_window
from brian2grad.training import Adam, load, make_task
from brian2grad.training.optimisers import schedule_factor
from brian2grad.training.timing_tasks.synthetic import TimedBatch, delayed_signal, grid_events

HERE = Path(__file__).resolve().parent
WINDOWS = (1, 2, 4, 8, 16)
ONLINE = tuple(f"online/{n}" for n in WINDOWS)
RULES = ("filter", *ONLINE, "D1", "D2", "direct", "detached")
LEARNING = (  # the slow ones last
    ("filter", "online/1", "online/2", "online/4", "online/8", "online/16", "direct", "detached", "frozen"),
    ("D1", "D2"),
)
DEPTHS = (1, 2, 3)
BATCH, POOL, TEST = 4, 100, 64
SETTINGS = {"hidden": 24, "K": 6, "tau_ms": 6, "theta": 0.5, "dt_ms": 1, "learning_rate": 0.01, "updates": 400}
CAMERA = {"hidden": 128, "K": 5, "tau_ms": 30, "theta": 1.0, "dt_ms": 10, "learning_rate": 0.002, "updates": 150}


def two_gaps(n_samples: int, seed: int, gaps=(10, 20), n_trials=4, length=60) -> TimedBatch:
    """Streams of trials of 60 steps: a spike of unit 0, after one of two gaps a spike of unit 1; then: which gap?"""
    rng = np.random.default_rng(seed)
    shape = (n_samples, n_trials)
    answers = rng.integers(0, 2, shape)
    first = np.arange(n_trials) * length + rng.integers(2, 15, shape)
    second = first + np.array(gaps)[answers]
    T, samples = n_trials * length, np.broadcast_to(np.arange(n_samples)[:, None], shape)
    steps, units = np.stack([first, second]), np.broadcast_to(np.arange(2)[:, None, None], (2, *shape))
    events = grid_events(steps, units, np.broadcast_to(samples, (2, *shape)), n_samples, T, 2, 1 * ms)
    time_of_trial = np.arange(T) - np.repeat(second, length, axis=1)
    labels = np.where(time_of_trial >= 0, np.repeat(answers, length, axis=1), -1)
    return TimedBatch(events, {"labels": labels})


def delayed_answer(n_samples: int, seed: int) -> TimedBatch:
    """Each spike of unit 0 is a smooth bump 45 ms later; unit 1 spikes as often and means nothing."""
    wanted, other = (delayed_signal(n_samples, 45 * ms, 1 * ms, duration=300 * ms, seed=[seed, u]) for u in (0, 1))
    dense = np.stack([[batch.events.dense(s)[:, 0] for s in range(n_samples)] for batch in (wanted, other)])
    units, samples, steps = np.nonzero(dense)
    return TimedBatch(grid_events(steps, units, samples, n_samples, dense.shape[2], 2, 1 * ms), wanted.goal)


TASKS = {"gaps": (two_gaps, 2, 2), "delay": (delayed_answer, 2, 1)}


@functools.cache
def trials(task: str, seed: int) -> tuple[list[TimedBatch], TimedBatch]:
    """Batches to learn from, and fresh trials that are the same for all seeds."""
    make = TASKS[task][0]
    return [make(BATCH, 1000 * (seed + 1) + i) for i in range(POOL)], make(TEST, 999)


def gradient(network, batch: TimedBatch, rule: str) -> dict:
    """Gradient of a batch by any of the rules."""
    if rule in ("D1", "D2"):
        return deeper_gradient(network, batch.events, gate=rule, **batch.goal)
    name, _, part = rule.partition("/")
    options = {"window": max(1, default_window(network) // int(part))} if part else {}
    found = network.gradient(
        batch.events, rule="filter" if rule == "frozen" else name, **batch.goal, **options
    ).gradients
    last = f"layer{len(network.sizes) - 1}."
    return {k: g for k, g in found.items() if rule != "frozen" or k.startswith(last)}


def new_network(settings: dict, n_in: int, depth: int, n_out: int, seed: int, **options) -> SpikingGammaNetwork:
    """Network of the study, not yet calibrated."""
    return SpikingGammaNetwork(
        [n_in, *[settings["hidden"]] * depth, n_out], K=settings["K"], tau=settings["tau_ms"] * ms,
        theta=settings["theta"], dt=settings["dt_ms"] * ms, seed=seed, threads=1, **options,
    )  # fmt: skip


def learn(network, batches, rule: str, settings: dict) -> None:
    """Make the study's number of updates with one rule, the learning rate falling to zero."""
    optimiser, total = Adam(settings["learning_rate"]), settings["updates"]
    for batch in itertools.islice(itertools.cycle(batches), total):
        factor = schedule_factor("cosine", optimiser.steps, total)
        optimiser.step(network.parameters, gradient(network, batch, rule), factor, network.info)


def cosines(network, batch: TimedBatch) -> dict:
    """Cosine of each rule's weight gradient to `filter`'s, per layer."""
    names = [f"layer{i}.w" for i in range(1, len(network.sizes))]
    exact = gradient(network, batch, "filter")
    found = {rule: gradient(network, batch, rule) for rule in RULES[1:]}
    return {rule: [round(cosine(exact[n], g[n]), 5) for n in names] for rule, g in found.items()}


def cosine(a, b) -> float:
    """Cosine of the angle between two arrays; 0 where one of them vanishes."""
    size = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(np.vdot(a, b)) / size if size else 0.0


def camera_batches(seed: int, data_root, tasks: dict) -> list[TimedBatch]:
    """Batches of nmnist8 with the recipe's reading window; the recordings are loaded once."""
    if "nmnist8" not in tasks:
        tasks["nmnist8"] = make_task(load("nmnist8", data_root), 10 * ms, 320 * ms)
    task = tasks["nmnist8"]
    order = np.random.default_rng(seed).permutation(len(task))[: 64 * (CAMERA["updates"] + 1)].reshape(-1, 64)
    weight = (np.arange(task.events.n_steps) >= 5)[None].astype(float)
    return [TimedBatch(task.events.take(c), {"labels": task.labels[c], "weight": weight}) for c in order]


def run_cell(cell: dict, data_root, tasks: dict) -> dict:
    """One line of results."""
    depth, seed = cell["depth"], cell["seed"]
    if cell["task"] == "nmnist8":
        settings, batches = CAMERA, camera_batches(seed, data_root, tasks)
        n_in, n_out, test = batches[0].events.n_units, 8, batches.pop()
    else:
        settings, (_, n_in, n_out) = SETTINGS, TASKS[cell["task"]]
        batches, test = trials(cell["task"], seed)
    network = new_network(settings, n_in, depth, n_out, seed)
    network.calibrate(batches[0].events)
    began = time.process_time()
    if cell["kind"] == "loss":
        learn(network, batches, cell["rule"], settings)
        result = {"loss": float(f"{network.loss_and_grad(test.events, **test.goal)[0]:.6g}")}
    else:
        result = {"before": cosines(network, test)}
        learn(network, batches, "filter", settings)
        result["after"] = cosines(network, test)
    return cell | result | {"seconds": round(time.process_time() - began, 2)}


def check() -> None:
    """Without a rectifier, deeper buckets give the filter gradient: refuse to go on if they do not."""
    batch = delayed_answer(2, 0)
    network = new_network(SETTINGS, 2, 3, 1, 0, signed=True, bias=False, dtype="float64")
    network.calibrate(batch.events)
    exact = gradient(network, batch, "filter")
    found = deeper_gradient(network, batch.events, gate="open", **batch.goal)
    worst = max(float(np.abs(found[k] - g).max() / np.abs(g).max()) for k, g in exact.items())
    if worst > 1e-10:
        raise SystemExit(f"deeper buckets miss the gradient of a network without rectifier by {worst:.1e}")


def grid(arguments) -> list[dict]:
    """All cells, those of the same trials together."""
    seeds = range(arguments.seeds)
    tasks = [*TASKS, *(["nmnist8"] if arguments.data_root else [])]
    cells = [
        {"kind": "loss", "task": t, "depth": d, "rule": r, "seed": s}
        for rules in LEARNING for t in TASKS for s in seeds for d in DEPTHS for r in rules
    ]  # fmt: skip
    cells = [{"kind": "cosine", "task": t, "depth": d, "seed": s} for t in tasks for s in seeds for d in DEPTHS] + cells
    return [cell for cell in cells if arguments.part in (None, cell["kind"])]


def simulate(arguments, results: Results) -> None:
    """Compute what is missing, while there is time."""
    results.settle(synthetic=SETTINGS, nmnist8=CAMERA, batch=BATCH, windows=WINDOWS)
    check()
    tasks = {}
    for cell in results.missing(grid(arguments), arguments.minutes):
        row = run_cell(cell, arguments.data_root, tasks)
        results.add(row)
        print(*(f"{k} {v}" for k, v in row.items() if k not in ("before", "after")), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--minutes", type=float, help="start nothing new after this time")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--part", choices=("cosine", "loss"), help="only this part; two processes may share the file")
    parser.add_argument("--quick", action="store_true", help="one seed, 20 updates")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--replot", action="store_true")
    arguments = parser.parse_args()
    name = "rules"
    if arguments.quick:
        arguments.seeds, name = 1, "rules_quick"
        SETTINGS["updates"] = CAMERA["updates"] = 20
    results = Results(arguments.out / f"{name}.jsonl")
    if not arguments.replot:
        simulate(arguments, results)
    print(table(results.rows))
    print(*save(plot(results.rows), HERE / "output", name), sep="\n")


if __name__ == "__main__":
    main()
