"""``brian2grad evaluate`` and ``brian2grad simulate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from brian2 import Quantity, ms, prefs, second
from rich.console import Console

from ...models import SpikingGammaNetwork
from ...models.asynchronous_gamma.network import AsynchronousSpikingGamma
from ...models.devices import check_device
from ..asynchronous.configuration import open_gamma
from ..configuration import evaluation_task, parse_time
from ..data.storage import check_target, write_npz
from ..errors import TrainingError
from ..evaluation import Evaluation, evaluate_brian2, evaluate_native
from ..runs import Run, git_commit
from .progress import counting

RunFolder = Annotated[Path, typer.Argument(help="Run folder written by train.")]
Data = Annotated[str | None, typer.Option(help="Data set (its validation part) or archive; default: the run's own.")]
DataRoot = Annotated[Path | None, typer.Option(help="Folder of the data sets (or BRIAN2GRAD_DATA).")]


Scheduler = Annotated[
    str | None,
    typer.Option(help="Order: random, momentum, fifo, lifo, layered or (async) timed; default: as trained."),
]
Group = Annotated[str | None, typer.Option(help="Neurons per forward step, or all; default: as trained.")]
Noise = Annotated[float | None, typer.Option(help="Momentum noise.")]
StopRule = Annotated[
    str, typer.Option("--stop", help="async: drained, first-output, or a number of forward steps after it.")
]


def is_async(run: Run) -> bool:
    """Whether the run is of an asynchronous network."""
    return run.config["run"].get("model") == "async"


def _refuse_async_options(**given) -> None:
    for name, value in given.items():
        if value not in (None, "drained"):
            raise TrainingError(f"--{name.replace('_', '-')} belongs to asynchronous runs; this one is a gamma run.")


def open_network(run: Run, dt: str | None, **options) -> SpikingGammaNetwork:
    """Network of a gamma run, at another time step or in another order if asked."""
    if dt is not None:
        options["dt"] = parse_time(dt, "dt")
    return open_gamma(run, **options)


def evaluate(
    run_folder: RunFolder,
    data: Data = None,
    data_root: DataRoot = None,
    dt: Annotated[str | None, typer.Option(help="Time step other than the trained one.")] = None,
    scheduler: Scheduler = None,
    forward_group: Group = None,
    noise: Noise = None,
    stop: StopRule = "drained",
    seed: Annotated[int | None, typer.Option(help="async: of the random order; default: as trained.")] = None,
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
    if predictions is not None:
        check_target(predictions)
    run = Run.open(run_folder)
    data = data or run.config["data"]["name"]
    data_root = data_root or run.config["run"].get("data_root")
    compilations = None
    if not is_async(run):
        network = open_network(
            run, dt, scheduler=scheduler, forward_group=forward_group, noise=noise, threads=threads,
            **({} if seed is None else {"seed": seed}),
        )  # fmt: skip
        _refuse_async_options(stop=stop, seed=None if _order(network) else seed)
    task = evaluation_task(run.config, data, _step(run, dt), data_root, limit)
    with counting(len(task), f"evaluating on {engine}", quiet=as_json) as progress:
        if is_async(run):
            from .asynchronous import evaluate_run

            result, network, compilations = evaluate_run(
                run, task, scheduler=scheduler, forward_group=forward_group, noise=noise, stop=stop, engine=engine,
                device=device, threads=threads, data=data, data_root=data_root, seed=seed, on_sample=progress,
                **({} if dt is None else {"dt": parse_time(dt, "dt")}),
            )  # fmt: skip
        elif engine == "native":
            result = evaluate_native(network, task, on_sample=progress)
        else:
            result, compilations = evaluate_brian2(network, task, device=device, on_sample=progress)
    report = (
        _order(network)
        | result.report(network, task)
        | {
            "seed": run.config["run"]["seed"],
            "engine": engine,
            "device": device if engine == "brian2" else "cpu",
            "git": git_commit(),
            "data": data,
        }
    )
    if compilations is not None:
        report["compilations"] = compilations
    if predictions is not None:
        _write_predictions(predictions, result)
    console = Console(highlight=False, soft_wrap=True)
    if as_json:
        console.print(json.dumps(report), markup=False)
    else:
        _print_report(console, report)


def _order(network) -> dict:
    """Order of execution of a gamma network that runs without a layer barrier."""
    if not isinstance(network, AsynchronousSpikingGamma):
        return {}
    group = network.forward_group
    return {"scheduler": network.scheduler.name, "forward_group": "all" if group is None else group}


def _step(run: Run, dt: str | None) -> Quantity:
    return run.config["data"]["dt_ms"] * ms if dt is None else parse_time(dt, "dt")


def _write_predictions(path: Path, result) -> None:
    # The readout of a gamma network does not spike; the output of an asynchronous one is its last layer.
    silent = isinstance(result, Evaluation)
    output = np.zeros((len(result.spikes), int(silent)), np.int64)
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
        "spikes": f"{report['spikes_per_neuron']:.3f} per {'' if 'stop' in report else 'hidden '}neuron and sample, "
        f"{report['spikes_per_second']:.2f} per neuron and second",
        "input": f"{report['input_events']:.0f} events per sample",
        "operations": f"{report['synaptic_operations']:.0f} synaptic operations per sample",
        "decision": _async_latency_text(report) if "stop" in report else _latency_text(latency),
        "run": f"{report['engine']} on {report['device']}, {report['seconds']:.2f} s, dt {report['dt_ms']:g} ms",
    }
    if "scheduler" in report and "stop" not in report:
        rows["order"] = f"{report['scheduler']}, forward group {report['forward_group']}"
    if "compilations" in report:
        rows["compiled"] = f"{report['compilations']} time(s)"
    for name, text in rows.items():
        console.print(f"{name:>11}  {text}", markup=False)


def _latency_text(latency: dict) -> str:
    if latency["ms"]["first"] is None:
        return "at every step"
    return f"settled after {latency['ms']['first']:.0f} ms and {latency['spikes']['first']:.0f} spikes (median)"


def _async_latency_text(report: dict) -> str:
    group = "" if report["forward_group"] is None else f", forward group {report['forward_group']}"
    order = f"{report['scheduler']}{group}, {report['stop']}"
    latency = report["decision_latency"]
    if latency["spikes"]["first"] is None:
        return f"no output spike ({order})"
    steps = latency["forward_steps"]["first"]
    return (
        f"first output after {latency['spikes']['first']:.0f} spikes"
        + (f", {steps:.0f} forward steps" if steps is not None else "")
        + f", {latency['ms']['first']:.1f} ms (median; {order})"
    )


def simulate(
    run_folder: RunFolder,
    data: Data = None,
    data_root: DataRoot = None,
    sample: Annotated[int, typer.Option(help="Which sample.")] = 0,
    device: Annotated[str, typer.Option(help="runtime, cpp_standalone or genn.")] = "runtime",
    dt: Annotated[str | None, typer.Option(help="Time step other than the trained one.")] = None,
    scheduler: Scheduler = None,
    forward_group: Group = None,
    stop: StopRule = "drained",
    plot: Annotated[Path | None, typer.Option(help="Write a picture of the run (PNG, PDF or SVG).")] = None,
) -> None:
    """Run one sample in Brian 2 and show raster, bucket traces, decoded signals and output.

    Of an asynchronous run: the raster in processing order, the spread of activity through the layers, latencies.
    """
    check_device(device)
    prefs.codegen.target = "numpy"  # one sample: compiling Cython would take longer than running it
    run = Run.open(run_folder)
    data = data or run.config["data"]["name"]
    task = evaluation_task(run.config, data, _step(run, dt), data_root or run.config["run"].get("data_root"))
    if not 0 <= sample < len(task):
        raise TrainingError(f"sample = {sample}: the data hold samples 0 to {len(task) - 1}.")
    if is_async(run):
        from .asynchronous import simulate_run

        console = Console(highlight=False)
        simulate_run(
            run, task, sample, scheduler=scheduler, forward_group=forward_group, stop=stop, device=device, plot=plot,
            echo=console.print, **({} if dt is None else {"dt": parse_time(dt, "dt")}),
        )  # fmt: skip
        return
    _refuse_async_options(stop=stop)
    network = open_network(run, dt, scheduler=scheduler, forward_group=forward_group)
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
        from ..plots.gamma import save_figure, simulation_figure

        save_figure(simulation_figure(network, events, result, label), plot)
        console.print(f"plot: {plot}")


def _settled(decided: np.ndarray, dt) -> Quantity:
    changes = np.flatnonzero(decided[1:] != decided[:-1])
    return Quantity(float(dt) * (int(changes[-1]) + 2 if len(changes) else 1), dim=second.dim)
