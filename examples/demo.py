"""The whole path in a few minutes: train on the embedded digits, run the result as Brian 2 generated C++, draw it.

Koopman, Otte & Bohté 2026 (SpikingGamma), arXiv 2602.01978. Writes a run folder, pictures and a one-screen report
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
from brian2grad.training.configuration import evaluation_task
from brian2grad.training.evaluation import evaluate_native
from brian2grad.training.runs import Run

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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/demo"))
    parser.add_argument("--samples", type=int, default=100, help="recordings run through Brian 2")
    options = parser.parse_args()
    BrianLogger.suppress_name("method_choice")
    began = time.perf_counter()
    folder = train(options.out, "gamma")
    gamma = gamma_report(folder, options.samples)
    pictures = options.out / "figures"
    command = [sys.executable, str(HERE.parent / "figures" / "demo_report.py"), "--run", str(folder)]
    subprocess.run([*command, "--out", str(pictures)], check=True)
    report = {"gamma": gamma, "seconds": time.perf_counter() - began}
    (options.out / "report.json").write_text(json.dumps(report, indent=2))
    show(report, options.out, pictures)
    return 0 if gamma["brian2_equal"] else 1


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
        f"  total         {report['seconds']:.0f} s",
        f"  run           {out / 'gamma'}",
        f"  pictures      {', '.join(sorted(p.name for p in pictures.glob('*.png')))} in {pictures}",
        "",
    ]
    Console(highlight=False, soft_wrap=True).print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
