"""``brian2grad evaluate`` and ``brian2grad simulate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from brian2 import Quantity, ms, second
from rich.console import Console

from ..models import SpikingGammaNetwork
from ..models.devices import check_device
from .configuration import evaluation_task, parse_time
from .data.storage import write_npz
from .errors import TrainingError
from .evaluation import Evaluation, evaluate_brian2, evaluate_native
from .progress import counting
from .runs import Run, git_commit

RunFolder = Annotated[Path, typer.Argument(help="Run folder written by train.")]
Data = Annotated[str | None, typer.Option(help="Data set (its validation part) or archive; default: the run's own.")]
DataRoot = Annotated[Path | None, typer.Option(help="Folder of the data sets (or BRIAN2GRAD_DATA).")]


def open_network(run: Run, dt: str | None, **overrides) -> SpikingGammaNetwork:
    """Network of a run, at another time step if asked."""
    if dt is not None:
        overrides["dt"] = parse_time(dt, "dt")
    return SpikingGammaNetwork.load(run.weights, **overrides)


def evaluate(
    run_folder: RunFolder,
    data: Data = None,
    data_root: DataRoot = None,
    dt: Annotated[str | None, typer.Option(help="Time step other than the trained one.")] = None,
    engine: Annotated[str, typer.Option(help="native or brian2.")] = "native",
    device: Annotated[str, typer.Option(help="runtime, cpp_standalone or genn (with --engine brian2).")] = "runtime",
    threads: Annotated[int | None, typer.Option(help="Threads of the native engine.")] = None,
    limit: Annotated[int | None, typer.Option(help="Use only the first samples.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    predictions: Annotated[Path | None, typer.Option(help="Write predictions and spike counts to this .npz.")] = None,
) -> None:
    """Measure accuracy, spikes, operations and decision latency of a trained network."""
    if engine not in ("native", "brian2"):
        raise TrainingError(f"engine '{engine}' is unknown; use 'native' or 'brian2'.")
    if engine == "brian2":
        check_device(device)
    run = Run.open(run_folder)
    network = open_network(run, dt, threads=threads)
    data = data or run.config["data"]["name"]
    task = evaluation_task(run.config, data, network.dt, data_root or run.config["run"].get("data_root"), limit)
    compilations = None
    with counting(len(task), f"evaluating on {engine}", quiet=as_json) as progress:
        if engine == "native":
            result = evaluate_native(network, task, on_sample=progress)
        else:
            result, compilations = evaluate_brian2(network, task, device=device, on_sample=progress)
    report = result.report(network, task) | {
        "seed": run.config["run"]["seed"],
        "engine": engine,
        "device": device if engine == "brian2" else "cpu",
        "git": git_commit(),
        "data": data,
    }
    if compilations is not None:
        report["compilations"] = compilations
    if predictions is not None:
        _write_predictions(predictions, result)
    console = Console(highlight=False, soft_wrap=True)
    if as_json:
        console.print(json.dumps(report), markup=False)
    else:
        _print_report(console, report)


def _write_predictions(path: Path, result: Evaluation) -> None:
    output = np.zeros((len(result.spikes), 1), np.int64)  # the readout does not spike
    write_npz(
        path,
        {
            "predictions": result.predictions,
            "labels": result.labels,
            "spikes": np.hstack([result.spikes, output]),
            "decision_spikes": result.decision_spikes[:, 0],
        },
    )


def _print_report(console: Console, report: dict) -> None:
    latency = report["decision_latency"]
    rows = {
        "accuracy": f"{report['accuracy']:.2%} (balanced {report['balanced_accuracy']:.2%}), "
        f"{report['n_samples']} samples",
        "spikes": f"{report['spikes_per_neuron']:.3f} per hidden neuron and sample, "
        f"{report['spikes_per_second']:.2f} per neuron and second",
        "input": f"{report['input_events']:.0f} events per sample",
        "operations": f"{report['synaptic_operations']:.0f} synaptic operations per sample",
        "decision": _latency_text(latency),
        "run": f"{report['engine']} on {report['device']}, {report['seconds']:.2f} s, dt {report['dt_ms']:g} ms",
    }
    if "compilations" in report:
        rows["compiled"] = f"{report['compilations']} time(s)"
    for name, text in rows.items():
        console.print(f"{name:>11}  {text}", markup=False)


def _latency_text(latency: dict) -> str:
    if latency["ms"]["first"] is None:
        return "at every step"
    return f"settled after {latency['ms']['first']:.0f} ms and {latency['spikes']['first']:.0f} spikes (median)"


def simulate(
    run_folder: RunFolder,
    data: Data = None,
    data_root: DataRoot = None,
    sample: Annotated[int, typer.Option(help="Which sample.")] = 0,
    device: Annotated[str, typer.Option(help="runtime, cpp_standalone or genn.")] = "runtime",
    dt: Annotated[str | None, typer.Option(help="Time step other than the trained one.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a picture of the run (PNG, PDF or SVG).")] = None,
) -> None:
    """Run one sample in Brian 2 and show raster, bucket traces, decoded signals and output."""
    check_device(device)
    run = Run.open(run_folder)
    network = open_network(run, dt)
    data = data or run.config["data"]["name"]
    task = evaluation_task(run.config, data, network.dt, data_root or run.config["run"].get("data_root"))
    if not 0 <= sample < len(task):
        raise TrainingError(f"sample = {sample}: the data hold samples 0 to {len(task) - 1}.")
    events = task.events.take([sample])
    result = network.brian2(events, device=device, record=True)
    label = task.labels[sample]
    decided = network.decisions(result.readout)[0]
    console = Console(highlight=False)
    counts = ", ".join(str(n) for n in result.spike_counts[0])
    console.print(f"sample {sample}, label {label if np.ndim(label) == 0 else 'per step'}, device {device}")
    console.print(f"input events (unit and step) {len(events.units)}, hidden spikes per layer {counts}")
    console.print(f"decision {decided[-1]}, settled after {_settled(decided, network.dt) / ms:.0f} ms")
    if plot is not None:
        from .plots import save_figure, simulation_figure

        save_figure(simulation_figure(network, events, result, label), plot)
        console.print(f"plot: {plot}")


def _settled(decided: np.ndarray, dt) -> Quantity:
    changes = np.flatnonzero(decided[1:] != decided[:-1])
    return Quantity(float(dt) * (int(changes[-1]) + 2 if len(changes) else 1), dim=second.dim)
