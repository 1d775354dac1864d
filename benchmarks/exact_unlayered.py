"""The exact adjoint beside unlayered backprop: which is more often right at the same number of spikes?

An asynchronous network in continuous time is a hybrid system, but a degenerate one: every spike of it is an arrival
that was the last straw, so that its weights have no timing gradient, only its delays (`continuous_objects`). What the
exact engine can train instead is the same layers of LIF neurons with a current that outlasts the arrival. Compared are

- ``unlayered``: the asynchronous network, frames of 10 ms, trained by unlayered backprop (a surrogate gradient);
- ``exact``: current-based LIF neurons in continuous time, events as recorded, weights trained by the exact adjoint;
- ``exact-delays``: the same, and the delays between neurons trained too.

    python benchmarks/exact_unlayered.py --data-root DIR [--seeds 3] [--minutes M] [--replot]

All see the same part of ``nmnist8_train.npz`` (`SETTINGS`), no augmentation, and the same number of updates; the spikes
are set by the penalty of each kind (`LEVELS`), and accuracies are compared where the spikes are equal, on straight
lines over their logarithm. Delays of the 148 000 input synapses stay zero: one for each costs 60 times as much, as
every event then arrives 64 times. One line of ``results/exact_unlayered.jsonl`` a network; what is there is not
computed again.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from brian2 import NeuronGroup, SpikeGeneratorGroup, Synapses, ms, mV, pA, pF, prefs
from result_lines import Results

from brian2grad.equations.ready import leaky_integrate_and_fire
from brian2grad.models.hybrid.losses import Loss
from brian2grad.training import TrainingOptions, load_splits, make_task, train
from brian2grad.training.asynchronous.configuration import AsyncConfiguration
from brian2grad.training.asynchronous.configuration import build as build_asynchronous
from brian2grad.training.configuration import read_recipe, recipe_path
from brian2grad.training.evaluation import evaluate_native
from brian2grad.training.exact import SpikeRate
from brian2grad.training.exact.classification import HighestPotential
from brian2grad.training.exact.samples import spike_task
from brian2grad.training.exact.trainable import TrainableNetwork

HERE = Path(__file__).resolve().parent
SETTINGS = {
    "data": "nmnist8", "samples": [2400, 800], "duration_ms": 100.0,
    "training": {"epochs": 8, "batch_size": 8, "schedule": "cosine"},
    "unlayered": {"learning_rate": 0.003, "warmup": 20},
    "exact": {
        "learning_rate": 0.1, "gain": 50.0, "wake": 1e-4, "rate": 0.1, "input_pa": [2.0, 8.0],
        "hidden_pa": [15.0, 60.0], "output_pa": [0.0, 100.0], "delay_ms": 4.0, "delay_step_ms": 0.5,
        "C_pF": 200.0,
    },
}  # fmt: skip
HIDDEN = ("64", "64-64-64")
# Weight of the penalty on spikes: mean count per neuron, or distance of every neuron's rate from one spike a recording.
EXACT = (0.0, 0.001, 0.0003)
LEVELS = {"unlayered": (0.0, 0.3, 0.1), "exact": EXACT, "exact-delays": EXACT}


def cells(seeds: int) -> list[dict]:
    """Networks to train, one level of every kind after the other, the shallow ones first."""
    return [
        {"hidden": hidden, "kind": kind, "penalty": level, "seed": seed}
        for hidden in HIDDEN
        for row in zip(*LEVELS.values(), strict=True)
        for seed in range(seeds)
        for kind, level in zip(LEVELS, row, strict=True)
    ]


def parts(settings: dict, data_root) -> tuple:
    """Recordings to train on and to judge by, both of the training file, their events after the run left out."""
    rng, held_out = np.random.default_rng(0), 0.2  # of the file; a part of it is drawn
    archives = load_splits(settings["data"], data_root, held_out)
    return tuple(
        archive[np.sort(rng.permutation(len(archive))[:n])].until(settings["duration_ms"] * 1e-3)
        for archive, n in zip(archives, settings["samples"], strict=True)
    )


def unlayered(settings: dict, cell: dict, archives) -> tuple:
    """Asynchronous network of the data set's own recipe, with fewer epochs and without augmentation."""
    config = read_recipe(recipe_path("async", settings["data"]))
    config["data"]["duration_ms"] = settings["duration_ms"]
    config["network"]["hidden"] = layers_of(cell)
    tasks = [make_task(a, config["data"]["dt_ms"] * ms, settings["duration_ms"] * ms) for a in archives]
    config["training"] = settings["training"] | settings["unlayered"] | {"activity": cell["penalty"]}
    network = build_asynchronous(config, tasks[0], cell["seed"], 1)
    return network, tasks, replace(AsyncConfiguration.read(config).options(), seed=cell["seed"])


def layers_of(cell: dict) -> list[int]:
    """Sizes of the hidden layers."""
    return [int(n) for n in cell["hidden"].split("-")]


def exact(settings: dict, cell: dict, archives) -> tuple:
    """Current-based LIF layers; the same delays between neurons at the start, whether they are trained or not."""
    own, tasks = settings["exact"], [spike_task(a) for a in archives]
    network = lif_layers(archives[0].n_units, int(archives[0].labels.max()) + 1, settings, cell)
    goal = HighestPotential(gain=own["gain"], wake=own["wake"], rate=own["rate"])
    options = TrainingOptions(**settings["training"], learning_rate=own["learning_rate"], loss=goal, seed=cell["seed"])
    return network, tasks, options


def lif_layers(n_inputs: int, n_outputs: int, settings: dict, cell: dict) -> TrainableNetwork:
    """Trainable network of Brian 2 objects: a generator, spiking layers, outputs that only integrate."""
    own, rng, hidden = settings["exact"], np.random.default_rng(cell["seed"]), layers_of(cell)
    delays, penalty = cell["kind"] == "exact-delays", cell["penalty"]
    model = leaky_integrate_and_fire(C=own["C_pF"] * pF, V_r=-70 * mV, t_ref=0 * ms)
    source = inputs = SpikeGeneratorGroup(n_inputs, [], [] * ms)
    objects, wrt, loss, sizes = [inputs], [], Loss(()), {}
    scales = [own["input_pa"], *[own["hidden_pa"]] * (len(hidden) - 1), own["output_pa"]]
    for number, (size, (mean, spread)) in enumerate(zip([*hidden, n_outputs], scales, strict=True)):
        last = number == len(hidden)
        spiking = {} if last else {"threshold": model.threshold, "reset": model.reset}
        group = NeuronGroup(size, model, method="exact", **spiking)
        model.assign(group)
        synapses = Synapses(source, group, **model.synapse)
        shape = len(source), size
        synapses.connect(i=np.repeat(np.arange(shape[0]), size), j=np.tile(np.arange(size), shape[0]))
        synapses.w = rng.normal(mean, spread, len(synapses)) * pA
        wrt.append((synapses, "w"))
        if source is not inputs:
            synapses.delay = rng.uniform(0, own["delay_ms"], len(synapses)) * ms
            if delays:
                wrt.append((synapses, "delay"))
                sizes[synapses, "delay"] = own["delay_step_ms"] * ms
        if penalty and not last:
            loss = penalty * SpikeRate(group, 1 / (settings["duration_ms"] * ms)) + loss
        objects += [group, synapses]
        source = group
    return TrainableNetwork(
        objects, wrt, settings["duration_ms"] * ms, inputs, source, loss=loss, sizes=sizes, namespace={}, threads=1
    )


def run_cell(cell: dict, settings: dict, archives) -> dict:
    """Train one network and judge it on the recordings held out."""
    network, tasks, options = (unlayered if cell["kind"] == "unlayered" else exact)(settings, cell, archives)
    began = time.process_time()
    *_, last = train(network, tasks[0], options)
    found = evaluate_native(network, tasks[1])
    hidden = float(np.asarray(found.spikes)[:, :-1].sum(axis=1).mean()) / sum(layers_of(cell))
    return cell | {
        "accuracy": round(found.accuracy, 4), "train_accuracy": round(last["train_accuracy"], 4),
        "spikes_per_hidden_neuron": round(hidden, 3), "cpu_seconds": round(time.process_time() - began, 1),
    }  # fmt: skip


def table(rows: list[dict]) -> str:
    """Mean and spread of every kind and penalty, and kinds beside each other at equal spikes."""
    titles = "hidden", "kind", "penalty", "networks", "held out", "trained on", "spikes per hidden neuron", "CPU s"
    lines, differences = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)], []
    for hidden, (kind, levels) in itertools.product(HIDDEN, LEVELS.items()):
        for level in sorted(levels):
            own = [r for r in rows if (r.get("hidden"), r.get("kind"), r.get("penalty")) == (hidden, kind, level)]
            if own:
                right = 100 * np.array([r["accuracy"] for r in own])
                spread = f" ± {right.std(ddof=1):.1f}" if len(own) > 1 else ""
                trained, spikes, seconds = (
                    np.mean([r[name] for r in own])
                    for name in ("train_accuracy", "spikes_per_hidden_neuron", "cpu_seconds")
                )
                lines.append(
                    f"| {hidden} | {kind} | {level:g} | {len(own)} | {right.mean():.1f}{spread} % | "
                    f"{100 * trained:.1f} % | {spikes:.2f} | {seconds:.0f} |"
                )
    for hidden, (one, other) in itertools.product(HIDDEN, itertools.combinations(LEVELS, 2)):
        found = at_equal_spikes([r for r in rows if r.get("hidden") == hidden], one, other)
        differences.append(f"{hidden}, {other} - {one} at equal spikes: {found}")
    return "\n".join(lines + [""] + differences)


def at_equal_spikes(rows: list[dict], one: str, other: str) -> str:
    """Mean difference of accuracy over the spikes that both kinds reach, seed by seed."""
    found = []
    for seed in sorted({r["seed"] for r in rows}):
        curves = [curve([r for r in rows if r["kind"] == kind and r["seed"] == seed]) for kind in (one, other)]
        if min(len(x) for x, _ in curves) == 0:
            continue
        low, high = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
        if low <= high:
            at = np.linspace(low, high, 11)
            first, second = (np.interp(at, *each) for each in curves)
            found.append((100 * float(np.mean(second - first)), np.exp(low), np.exp(high)))
    if not found:
        return "none that both have"
    return ", ".join(f"{gap:+.1f} points ({low:.2f} to {high:.2f} spikes)" for gap, low, high in found)


def curve(rows: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy over the logarithm of the spikes, in order; networks without spikes are left out."""
    pairs = sorted((r["spikes_per_hidden_neuron"], r["accuracy"]) for r in rows if r["spikes_per_hidden_neuron"])
    return np.log([x for x, _ in pairs]), np.array([y for _, y in pairs])


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, help="start nothing new after this time")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "exact_unlayered.jsonl")
    parser.add_argument("--replot", action="store_true", help="only the table of what is there")
    given = parser.parse_args()
    prefs.codegen.target = "numpy"
    results = Results(given.out)
    if not given.replot:
        results.settle(**SETTINGS)
        archives = parts(SETTINGS, given.data_root)
        for cell in results.missing(cells(given.seeds), given.minutes):
            row = run_cell(cell, SETTINGS, archives)
            results.add(row)
            print(*(f"{k} {v}" for k, v in row.items()), flush=True)
    print(table(results.rows))


if __name__ == "__main__":
    main()
