"""What each part of a SpikingGamma network is worth: one part changed at a time, on three data sets.

    python benchmarks/ablations.py --data-root DIR [--seeds 2] [--minutes M] [--quick] [--out DIR] [--replot]

Small networks on a part of each training file (`SETTINGS`), judged on recordings held out of the same file: enough to
rank the parts, not to set records. Axes: threshold fixed or adaptive; sigma-delta code or the analog signal; K; bucket
weights shared by a layer, one set per neuron, per synapse; time constants equal, geometric, trained; loss at every step
or only at the last; one to six hidden layers, and the same with updates relative to the size of the weights and several
spikes a step (`DEEP`, twice the seeds); LIF networks of several sizes (the asynchronous engine in layered order,
trained by unlayered backprop), of which the table takes the one whose accuracy is nearest. `memory` measures what a
training step holds when the loss comes only at the last of 1000 to 16 000 steps.

One line of ``results/ablations.jsonl`` per cell; a line that is there is not computed again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from ablations_report import plot, table
from brian2 import ms
from result_lines import Results
from rules_report import save

from brian2grad.models import SpikingGammaNetwork
from brian2grad.training import train
from brian2grad.training.asynchronous.configuration import AsyncConfiguration
from brian2grad.training.asynchronous.configuration import build as build_lif
from brian2grad.training.configuration import read_recipe, recipe_path
from brian2grad.training.configuration.tasks import encoder
from brian2grad.training.data import load_splits
from brian2grad.training.evaluation import evaluate_native
from brian2grad.training.gamma.configuration import GammaConfiguration, build
from brian2grad.training.tasks import make_task

HERE = Path(__file__).resolve().parent
SETTINGS = {
    "nmnist8": {
        "samples": [2400, 800],
        "data": {"dt_ms": 10.0, "duration_ms": 320.0},
        "network": {"hidden": [96], "K": 5, "tau_ms": 20.0, "ratio": 1.25, "read_from_ms": 50.0},
        "training": {"epochs": 8, "batch_size": 32, "learning_rate": 0.002, "activity": 0.05, "shift": 1},
    },
    "fsdd": {
        "samples": [2000, 250],
        "data": {"dt_ms": 10.0, "duration_ms": 480.0},
        "network": {"hidden": [96], "K": 6, "tau_ms": 15.0, "ratio": 1.5, "read_from_ms": 200.0},
        "training": {"epochs": 8, "batch_size": 32, "learning_rate": 0.003, "activity": 0.05, "drop": 0.1},
    },
    "qtdb": {
        "samples": [494, 124],
        "data": {"dt_ms": 4.0},
        "network": {"hidden": [48], "K": 8, "tau_ms": 8.0, "ratio": 1.6},
        "training": {"epochs": 8, "batch_size": 16, "learning_rate": 0.005},
    },
}
DEEP = {"epochs": 24, "learning_rate": 0.03, "relative": True, "schedule": "cosine", "warmup": 60}
BUCKETS, DEPTHS, LIF = (1, 2, 3, 8), (2, 3, 4, 5, 6), ((32,), (64,), (96,), (64, 64, 64))
DEEP_DATA = ("nmnist8", "fsdd")  # qtdb, of 1300 steps, would take hours
LIF_DATA = ("nmnist8", "fsdd")  # the LIF networks here learn a label per sample, not per step
MEMORY = [("filter", 1000), ("filter", 4000), ("online", 1000), ("online", 4000), ("online", 16000)]


class Shared(SpikingGammaNetwork):
    """One set of bucket weights for all neurons of a layer."""

    def _initial_parameters(self):
        found = super()._initial_parameters()
        return {n: np.repeat(p[:, :1], p.shape[1], axis=1) if n.endswith(".v") else p for n, p in found.items()}

    def named_gradients(self, run):
        """Gradients, those of bucket weights averaged over the neurons: equal numbers stay equal."""
        found = super().named_gradients(run)
        mean = lambda g: np.broadcast_to(g.mean(axis=1, keepdims=True), g.shape)  # noqa: E731
        return {n: mean(g) if n.endswith(".v") else g for n, g in found.items()}


class Analog(SpikingGammaNetwork):
    """The signals themselves are sent, no spikes: a number per neuron and step, counted as a spike each."""

    def _run(self, events, dtype=None, **options):
        return super()._run(events, dtype, **options | {"analog": True})


KINDS = {"shared": Shared, "analog": Analog}


def cells(seeds: int) -> list[dict]:
    """All cells, the most telling ones first."""
    found = []
    for seed in range(seeds):
        for data in SETTINGS:
            axes = [("base", "-"), ("theta", "adaptive"), ("code", "analog"), ("buckets", "shared"),
                    ("buckets", "synapse"), ("tau", "equal"), ("tau", "trained"), ("loss", "last step")]  # fmt: skip
            axes += [("K", k) for k in BUCKETS if k != SETTINGS[data]["network"]["K"]]
            axes += [("depth", d) for d in DEPTHS]
            axes += [("LIF", "-".join(map(str, hidden))) for hidden in LIF if data in LIF_DATA]
            found += [{"kind": "accuracy", "data": data, "axis": a, "value": v, "seed": seed} for a, v in axes]
    deep = itertools.product(range(2 * seeds), DEEP_DATA, (1, *DEPTHS))
    found += [{"kind": "accuracy", "data": data, "axis": "deep", "value": d, "seed": seed} for seed, data, d in deep]
    return [{"kind": "memory", "rule": r, "steps": n} for r, n in MEMORY] + found


def changed(config: dict, axis: str, value, n_steps: int) -> tuple[dict, type]:
    """Configuration with one part changed, and the class of its network."""
    config = {section: dict(entries) for section, entries in config.items()}
    network, kind = config["network"], SpikingGammaNetwork
    if axis == "theta":
        network |= {"adaptation": 0.2, "tau_theta_ms": 50.0}
    elif axis == "code" or value == "shared":
        kind = KINDS[value]
    elif axis == "buckets":
        network["buckets"] = value
    elif axis == "tau":
        if value == "trained":
            network["train_tau"] = True
        else:  # the same geometric mean
            network["tau_ms"] = round(network["tau_ms"] * network.pop("ratio") ** ((network["K"] - 1) / 2), 2)
    elif axis == "K":
        network["K"] = value
    elif axis == "depth":
        network["hidden"] = network["hidden"] * value
    elif axis == "deep":
        network |= {"hidden": network["hidden"] * value, "multiple": True}
        config["training"] |= DEEP
    elif axis == "loss":
        network["read_from_ms"] = (n_steps - 1) * config["data"]["dt_ms"]
    return config, kind


def tasks_of(data: str, data_root, settings: dict, made: dict) -> tuple:
    """Training and held-out task; made once."""
    if data not in made:
        recipe = read_recipe(recipe_path("gamma", data)) if data == "fsdd" else {"data": {"name": data}}
        parts = load_splits(data, data_root, 0.2 if data == "nmnist8" else None, cochlea=encoder(recipe))
        rng, grid = np.random.default_rng(0), settings["data"]
        duration = grid["duration_ms"] * ms if "duration_ms" in grid else None
        chosen = [
            part[np.sort(rng.permutation(len(part))[:n])] for part, n in zip(parts, settings["samples"], strict=True)
        ]
        made[data] = tuple(make_task(part, grid["dt_ms"] * ms, duration) for part in chosen)
    return made[data]


def accuracy_cell(cell: dict, data_root, made: dict) -> dict:
    """Train one network and judge it on held-out recordings."""
    settings = SETTINGS[cell["data"]]
    task, held_out = tasks_of(cell["data"], data_root, settings, made)
    if cell["axis"] == "LIF":
        return lif_cell(cell, settings, task, held_out)
    base = {"data": settings["data"], "network": settings["network"], "training": settings["training"]}
    config, kind = changed(base, cell["axis"], cell["value"], task.events.n_steps)
    network = build(config, task, cell["seed"], 1)
    network.__class__ = kind
    network.parameters = network._initial_parameters()
    began = time.process_time()
    *_, last = train(network, task, GammaConfiguration.read(config).options())
    found = evaluate_native(network, held_out, dtype="float32")
    if kind is Analog:
        found.spikes = np.full_like(found.spikes, held_out.events.n_steps) * network.sizes[1:-1]
    return measured(network, held_out, found, began, last) | {
        "state_operations": states(network, held_out.events.n_steps)
    }


def states(network, n_steps: int) -> dict:
    """Multiplications and additions per sample for buckets, weighted sums and code, were every neuron updated."""
    hidden, K = sum(network.sizes[1:-1]), network.K
    neurons = hidden + network.sizes[-1]
    each = n_steps * neurons
    per_synapse = network.buckets == "synapse"
    multiply = each * (3 * K - 2 - (K if per_synapse else 0)) + n_steps * hidden
    add = each * (2 * K - 2) + 2 * n_steps * hidden
    return {"multiply": int(multiply), "add": int(add)}


def lif_cell(cell: dict, settings: dict, task, held_out) -> dict:
    """A layered LIF network on the same recordings, with the loss and gradient of its default recipe."""
    recipe = read_recipe(recipe_path("async", "default"))
    hidden = [int(n) for n in cell["value"].split("-")]
    recipe["data"] = settings["data"]
    recipe["network"] |= {"hidden": hidden, "scheduler": "layered", "forward_group": "all"}
    recipe["network"].pop("noise", None)
    same = {name: settings["training"][name] for name in ("epochs", "batch_size", "shift", "drop")
            if name in settings["training"]}  # fmt: skip
    recipe["training"] |= same
    network = build_lif(recipe, task, cell["seed"], 1)
    began = time.process_time()
    *_, last = train(network, task, AsyncConfiguration.read(recipe).options())
    found = evaluate_native(network, held_out)
    each = held_out.events.n_steps * network.n_neurons
    return measured(network, held_out, found, began, last) | {"state_operations": {"multiply": each, "add": each}}


def measured(network, held_out, found, began: float, last: dict) -> dict:
    """What every cell reports."""
    report = found.report(network, held_out)
    return {
        "accuracy": round(report["accuracy"], 5),
        "n": int((np.asarray(held_out.labels) >= 0).sum()),
        "train_accuracy": round(last["train_accuracy"], 5),
        "spikes": round(float(np.asarray(found.spikes).sum(axis=1).mean()), 2),
        "spikes_per_neuron": round(report["spikes_per_neuron"], 4),
        "synaptic_operations": round(float(report["synaptic_operations"]), 1),
        "seconds": round(time.process_time() - began, 1),
    }


def memory_cell(rule: str, steps: int) -> dict:
    """Growth of the peak memory during a gradient whose loss comes at the last step only."""
    from random_events import random_events
    from resolution_memory import growth

    labels = np.arange(8) % 10

    def made(n_steps):
        events = random_events(8, n_steps, 128, 0.02, seed=0)
        network = SpikingGammaNetwork(
            [128, 64, 10], K=4, tau=10 * ms, dt=1 * ms, read_from=(n_steps - 1) * ms, threads=1, seed=0
        )
        return network, events

    short, events = made(50)
    short.calibrate(events)  # not on the long recordings: what that frees would be taken again without a trace
    short.loss_and_grad(events, labels, rule=rule)
    network, events = made(steps)
    network.parameters = short.parameters
    mib, seconds = growth(lambda: network.loss_and_grad(events, labels, rule=rule))
    return {"mib": round(mib, 1), "seconds": round(seconds, 2)}


def run_cell(cell: dict, data_root, made: dict) -> dict:
    """One line of results."""
    if cell["kind"] == "accuracy":
        return cell | accuracy_cell(cell, data_root, made)
    command = [sys.executable, __file__, "--memory", cell["rule"], str(cell["steps"])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return cell | json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Compute what is missing, print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--data", nargs="+", choices=[*SETTINGS], default=[*SETTINGS])
    parser.add_argument("--minutes", type=float, help="start nothing new after this time")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one seed, one epoch, an eighth of the recordings")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--replot", action="store_true", help="table and figure of what is there")
    parser.add_argument("--memory", nargs=2, metavar=("RULE", "STEPS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        print(json.dumps(memory_cell(arguments.memory[0], int(arguments.memory[1]))))
        return
    name = "ablations"
    if arguments.quick:
        arguments.seeds, name = 1, "ablations_quick"
        for settings in SETTINGS.values():
            settings["samples"] = [n // 8 for n in settings["samples"]]
            settings["training"]["epochs"] = 1
    results, made = Results(arguments.out / f"{name}.jsonl"), {}
    if not arguments.replot:
        results.settle(**SETTINGS)
        asked = [c for c in cells(arguments.seeds) if c.get("data", arguments.data[0]) in arguments.data]
        for cell in results.missing(asked, arguments.minutes):
            row = run_cell(cell, arguments.data_root, made)
            results.add(row)
            print(*(f"{k} {v}" for k, v in row.items() if k != "state_operations"), flush=True)
    print(table(results.rows))
    print(*save(plot(results.rows), HERE / "output", name), sep="\n")


if __name__ == "__main__":
    main()
