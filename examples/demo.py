"""
The whole path in a few minutes
===============================

The whole path in a few minutes: train on the embedded digits, run the result as Brian 2 generated C++, draw it.

Koopman, Otte & Bohté 2026 (SpikingGamma), arXiv 2602.01978; Koopman et al. 2024 (asynchronous networks), arXiv
2408.05098, here under two schedulers. Writes a run folder, pictures and a one-screen report
below ``--out``; every number in the report was measured in this run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from brian2 import BrianLogger
from rich.console import Console

from brian2grad.models import SpikingGammaNetwork
from brian2grad.models.order.schedulers import MomentumScheduler, RandomScheduler
from brian2grad.training.asynchronous.configuration import open_run as open_async
from brian2grad.training.asynchronous.evaluation import evaluate_async
from brian2grad.training.configuration import evaluation_task
from brian2grad.training.evaluation import evaluate_native
from brian2grad.training.runs import Run
from brian2grad.training.watching.progress import working

HERE = Path(__file__).resolve().parent


def train(out: Path, model: str) -> Path:
    """Train with the recipe kept for the digits and return the run folder."""
    folder = out / model
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "brian2grad.training", "train", model, "--data", "digits", "--seed", "1"]
    subprocess.run([*command, "--out", str(folder)], check=True)
    return folder


def same_spikes(network, events) -> tuple[bool, int, float]:
    """Compare the compiled engine with Brian 2's generated C++: equality, spikes compared, seconds."""
    began = time.perf_counter()
    native = network.forward(events, dtype="float64", record=True)
    brian = network.brian2(events, device="cpp_standalone")
    equal = all(
        np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1])
        for ours, theirs in zip(native.recorded, brian.spikes, strict=True)
        for a, b in zip(ours, theirs, strict=True)
    )
    return equal, int(brian.spike_counts.sum()), time.perf_counter() - began


def gamma_report(folder: Path, samples: int) -> dict:
    """Numbers of the SpikingGamma part."""
    run = Run.open(folder)
    network = SpikingGammaNetwork.load(run.weights)
    task = evaluation_task(run.config, "digits", network.dt)
    result = evaluate_native(network, task)
    equal, spikes, seconds = same_spikes(network, task.events.take(slice(0, samples)))
    return {
        "accuracy": result.accuracy,
        "samples": len(task),
        "spikes_per_neuron": result.spikes_per_neuron,
        "brian2_equal": equal,
        "brian2_samples": samples,
        "brian2_spikes": spikes,
        "brian2_seconds": seconds,
        "training_seconds": sum(record["seconds"] for record in run.metrics()),
    }


def async_report(folder: Path, samples: int) -> dict:
    """Numbers of the asynchronous part: the same network under two schedulers."""
    run = Run.open(folder)
    report = {"training_seconds": sum(record["seconds"] for record in run.metrics()), "schedulers": {}}
    for name, scheduler in (("random", RandomScheduler(keyed=True)), ("momentum", MomentumScheduler())):
        network = open_async(run, dtype="float64")
        task = evaluation_task(run.config, "digits", network.dt)
        network.scheduler = scheduler
        result = evaluate_async(network, task, stop="drained", dtype="float64")
        few = task.events.take(slice(0, samples))
        native = network.run(few, record=True)
        brian = network.brian2(few, mode="clock", device="cpp_standalone")
        equal = all(
            np.array_equal(getattr(native.spikes, field), getattr(brian.spikes, field))
            for field in ("sample", "timestep", "step", "neuron")
        )
        report["schedulers"][name] = {
            "accuracy": result.accuracy,
            "spikes_per_neuron": result.spikes_per_neuron,
            "brian2_equal": equal,
            "brian2_spikes": len(brian.spikes.neuron),
        }
    right = result.predictions == task.labels
    return report | {"brian2_samples": samples, "shown_sample": int(right.argmax())}


def step(number: int, text: str) -> None:
    """Announce a step."""
    print(f"\n[{number}/5] {text}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/demo"))
    parser.add_argument("--samples", type=int, default=100, help="recordings run through Brian 2")
    options = parser.parse_args()
    BrianLogger.suppress_name("method_choice")
    began = time.perf_counter()
    step(1, "train a SpikingGamma network on handwritten digits before an event camera: about 30 s")
    folder = train(options.out, "gamma")
    step(2, "run it as C++ that Brian 2 generates, and compare every spike")
    with working("compiling and running Brian 2's program"):
        gamma = gamma_report(folder, options.samples)
    step(3, "draw what it does")
    pictures = options.out / "figures"
    command = [sys.executable, str(HERE.parent / "figures" / "demo_report.py"), "--run", str(folder)]
    with working("drawing"):
        subprocess.run([*command, "--out", str(pictures)], check=True)
    step(4, "train an asynchronous network: no layer waits for another")
    folder = train(options.out, "async")
    step(5, "run it under two schedulers, in the engine and as Brian 2's C++, and draw one sample")
    with working("compiling and running Brian 2's programs"):
        asynchronous = async_report(folder, min(options.samples, 20))
    plot = [sys.executable, "-m", "brian2grad.training", "simulate", str(folder), "--device", "cpp_standalone"]
    plot += ["--sample", str(asynchronous["shown_sample"])]
    with working("drawing"):
        subprocess.run([*plot, "--plot", str(pictures / "demo_async.png")], check=True)
    report = {"gamma": gamma, "async": asynchronous, "seconds": time.perf_counter() - began}
    (options.out / "report.json").write_text(json.dumps(report, indent=2))
    show(report, options.out, pictures)
    equal = [gamma["brian2_equal"], *(s["brian2_equal"] for s in asynchronous["schedulers"].values())]
    return 0 if all(equal) else 1


def show(report: dict, out: Path, pictures: Path) -> None:
    """Print the one-screen report."""
    gamma = report["gamma"]
    agreement = "the same spikes" if gamma["brian2_equal"] else "DIFFERENT SPIKES"
    lines = [
        "",
        "[bold]SpikingGamma on the embedded digits[/]",
        f"  accuracy      {gamma['accuracy']:.1%} on {gamma['samples']} held-out samples",
        f"  sparsity      {gamma['spikes_per_neuron']:.2f} spikes per hidden neuron and sample",
        f"  training      {gamma['training_seconds']:.0f} s in the compiled engine",
        f"  Brian 2 C++   {agreement} as the engine: {gamma['brian2_spikes']} spikes of "
        f"{gamma['brian2_samples']} samples, {gamma['brian2_seconds']:.0f} s with compilation",
        "",
        "[bold]Asynchronous network on the embedded digits[/]",
        *(
            f"  {name:<13} {part['accuracy']:.1%}, {part['spikes_per_neuron']:.2f} spikes per neuron; Brian 2 C++: "
            f"{'the same' if part['brian2_equal'] else 'DIFFERENT'} {part['brian2_spikes']} spikes in the same order "
            f"({report['async']['brian2_samples']} samples)"
            for name, part in report["async"]["schedulers"].items()
        ),
        f"  training      {report['async']['training_seconds']:.0f} s",
        "",
        f"  total         {report['seconds']:.0f} s",
        f"  runs          {out / 'gamma'}, {out / 'async'}",
        f"  pictures      {', '.join(sorted(p.name for p in pictures.glob('*.png')))} in {pictures}",
        "",
    ]
    Console(highlight=False, soft_wrap=True).print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
