"""Accuracy, spikes and training memory against the number of time steps per recording (10 ms to 0.1 ms steps).

The claim to be tested: SpikingGamma networks learn the same at any time resolution and run at another than they were
trained at; surrogate-gradient networks under online rules do not, and back-propagation through time needs memory in
proportion to the steps.

    python benchmarks/resolution.py --data-root DIR [--quick] [--minutes M] [--seeds N] [--out DIR] [--replot]

SpikingGamma with the rules `filter` and `online` beside leaky integrate-and-fire networks of the same size trained by
BPTT, OTTT, ES-D-RTRL and FPTT (``resolution_peers.py``). FPTT makes an update every step, as published, or every
10 ms; the traces of ES-D-RTRL decay with a time constant in ms, or by the same number at every step. All learn the
same 2000 recordings of nmnist8 (320 ms) for the same epochs at steps of 10 to 0.1 ms, and are tested on the whole
validation set at every step. Learning rates and decays were chosen at 10 ms and are kept (``resolution_cells.py``).
The archive's times are whole milliseconds: at finer steps events stay together (``--data nmnist10`` has microseconds).

Every trained network and every memory measurement is a line of ``results/resolution.jsonl`` with its parameters, seed
and commit; what is there is not computed again, so the script can be stopped at any moment, and ``--minutes`` stops it
before a new one. ``--quick`` (400 recordings, two resolutions, to 64 steps) goes to ``output/``.

Panels: A accuracy at the resolution of training; B the same networks, trained at 10 ms and tested at all; C spikes per
neuron at the resolution of training; D growth of memory in training a batch of 50.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from resolution_cells import COMMON, DURATION, METHODS, Data, run_cell
from resolution_memory import in_own_process
from resolution_plot import plot, table
from result_lines import Results

from brian2grad.training import load_splits

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "resolution.jsonl"
DTS = (10.0, 5.0, 2.0, 1.0, 0.32, 0.1)  # ms: 32, 64, 160, 320, 1000, 3200 steps
# An update of all weights after every step takes hours at 3200 steps.
MOST_STEPS = {"fptt": 320}
# What `--tune` tries.
RATES = (5e-4, 1e-3, 2e-3, 5e-3, 1e-2)
TAUS = [{"tau_ms": tau} for tau in (15.0, 30.0, 60.0)]
TRIED = {
    "bptt": TAUS,
    "ottt": TAUS,
    "es_d_rtrl": [{"tau_ms": tau, "trace_tau_ms": trace} for tau in (30.0, 60.0) for trace in (30.0, 100.0)],
    "fptt": [{"alpha": alpha} for alpha in (0.1, 0.5)],
}


def steps_of(dt: float) -> int:
    """Steps of a recording."""
    return round(DURATION / dt)


def grid(seeds: int, dts, methods) -> list[dict]:
    """Networks to train: SpikingGamma with all seeds (cheap, and what the claim is about), then the others with one."""
    ours = [m for m in methods if m in ("filter", "online")]
    others = [m for m in methods if m not in ours]
    cells = [{"method": m, "dt_ms": dt, "seed": seed} for m in ours for seed in range(seeds) for dt in dts]
    cells += [{"method": m, "dt_ms": dt, "seed": 0} for dt in dts for m in others]
    return [c for c in cells if steps_of(c["dt_ms"]) <= MOST_STEPS.get(c["method"], 10**9)]


def simulate(results: Results, arguments) -> None:
    """Compute what is missing, while there is time."""
    began = time.perf_counter()
    late = lambda: arguments.minutes and time.perf_counter() - began > 60 * arguments.minutes  # noqa: E731
    common = COMMON | ({"epochs": 2} if arguments.quick else {})
    for cell in grid(arguments.seeds, arguments.dts, arguments.methods):
        steps = steps_of(cell["dt_ms"])
        if cell["seed"] == 0 and not results.find(kind="memory", method=cell["method"], steps=steps):
            if late():
                return
            results.add({"kind": "memory", **in_own_process(cell["method"], steps)})
    data = None
    for cell in grid(arguments.seeds, arguments.dts, arguments.methods):
        if results.find(kind="accuracy", data=arguments.data, **cell):
            continue
        if late():
            return
        data = data or load(arguments)
        row = run_cell(cell["method"], cell["dt_ms"], cell["seed"], data, arguments.dts, common)
        results.add({"kind": "accuracy", "data": arguments.data, **row})
        own = next(t for t in row["tests"] if t["dt_ms"] == cell["dt_ms"])
        print(f"{row['method']:<10} {row['steps']:>5} steps, seed {row['seed']}: {own['accuracy']:.2f} %, "
              f"{own['spikes_per_neuron']:.2f} spikes per neuron, {row['seconds']:.0f} s", flush=True)  # fmt: skip


def load(arguments) -> Data:
    """Recordings of the study."""
    train, test = load_splits(arguments.data, arguments.data_root)
    return Data(train[: arguments.samples], test[:300] if arguments.quick else test)


def tune(arguments) -> None:
    """Try learning rates and decays at 10 ms on the last 1000 training recordings."""
    train, _ = load_splits(arguments.data, arguments.data_root)
    data = Data(train[: arguments.samples], train[len(train) - 1000 :])
    for method in arguments.methods:
        for rate in RATES:
            for extra in TRIED.get(method, [{}]):
                row = run_cell(method, 10.0, 0, data, [10.0], learning_rate=rate, **extra)
                print(f"{method:<10} {rate:g} {extra}: {row['tests'][0]['accuracy']:.1f} %, loss {row['loss']:.3f}, "
                      f"{row['tests'][0]['spikes_per_neuron']:.2f} spikes", flush=True)  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="nmnist8", help="a data set of 320 ms recordings (nmnist8, nmnist10)")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--minutes", type=float, help="start nothing new after this time")
    parser.add_argument("--seeds", type=int, default=3, help="of SpikingGamma; the others have one")
    parser.add_argument("--samples", type=int, default=2000, help="recordings to train on")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--dts", type=float, nargs="+", default=DTS, help="steps in ms")
    parser.add_argument("--out", type=Path, help="folder of table and figure (output/)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of the lines")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--replot", action="store_true")
    parser.add_argument("--tune", action="store_true", help="how TUNED was chosen")
    arguments = parser.parse_args()
    out = arguments.out or HERE / "output"
    out.mkdir(parents=True, exist_ok=True)
    name = "" if arguments.data == "nmnist8" else f"_{arguments.data}"
    stem = out / f"resolution{name}{'_quick' if arguments.quick else ''}"
    if arguments.tune:
        tune(arguments)
        return
    if arguments.quick:
        arguments.samples, arguments.seeds, arguments.dts = 400, 1, DTS[:2]
        arguments.results = stem.with_suffix(".jsonl")
    results = Results(arguments.results)
    if not arguments.replot:
        simulate(results, arguments)
    if not results.rows:
        parser.error("there are no results yet: give --data-root, or more --minutes")
    rows = [row for row in results.rows if row.get("data", arguments.data) == arguments.data]
    text = table(rows)
    print(text)
    stem.with_suffix(".txt").write_text(text + "\n")
    for ending in ("png", "pdf"):
        plot(rows).savefig(stem.with_suffix(f".{ending}"))


if __name__ == "__main__":
    main()
