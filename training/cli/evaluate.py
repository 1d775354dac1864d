"""``brian2grad evaluate`` and ``brian2grad simulate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from brian2 import prefs
from rich.console import Console

from ..data.storage import check_target, write_npz
from ..errors import TrainingError
from ..runs import Run, git_commit
from . import options as o
from .asked import Asked
from .families import family_of
from .progress import counting


def evaluate(
    run_folder: o.RunFolder,
    data: o.RunData = None,
    data_root: o.DataRoot = None,
    limit: o.Limit = None,
    dt: o.RunStep = None,
    scheduler: o.RunScheduler = None,
    forward_group: o.RunGroup = None,
    noise: o.RunNoise = None,
    stop: o.Stop = "drained",
    seed: o.RunSeed = None,
    engine: Annotated[
        Literal["native", "brian2"], o.option(panel=o.RUN, help="Compiled engine, or Brian 2 (the same spikes).")
    ] = "native",
    device: o.Device = None,
    threads: o.Threads = None,
    as_json: Annotated[bool, o.option("--json", panel=o.OUTPUT, help="Print one JSON object.")] = False,
    predictions: Annotated[
        Path | None, o.option(panel=o.OUTPUT, help="Write predictions and spike counts to this .npz.")
    ] = None,
) -> None:
    """Measure accuracy, spikes, operations and decision latency of a trained network."""
    if predictions is not None:
        check_target(predictions)
    run = Run.open(run_folder)
    asked = Asked(
        run, data, data_root, dt, scheduler, forward_group, noise, stop, seed, engine, device, threads, limit
    )  # fmt: skip
    family = family_of(run)
    task = asked.task()
    with counting(len(task), f"evaluating on {engine}", quiet=as_json) as progress:
        answer = family.evaluate(asked, task, progress)
    report = answer.settings | answer.result.report(answer.network, task)
    report |= {
        "seed": run.config["run"]["seed"],
        "engine": engine,
        "device": asked.on_device if engine == "brian2" else "cpu",
        "git": git_commit(),
        "data": asked.data_name,
    }
    if answer.compilations is not None:
        report["compilations"] = answer.compilations
    if predictions is not None:
        _write_predictions(predictions, answer.result, family.spikes_written(answer.result))
    console = Console(highlight=False, soft_wrap=True)
    if as_json:
        console.print(json.dumps(report), markup=False)
        return
    for name, text in _rows(report, family.described(report)).items():
        console.print(f"{name:>11}  {text}", markup=False)


def _write_predictions(path: Path, result, spikes) -> None:
    write_npz(
        path,
        {
            "predictions": result.predictions,
            "labels": result.labels,
            "spikes": spikes,
            "decision_spikes": result.decision_spikes[:, 0],
        },
    )


def _rows(report: dict, own: dict[str, str]) -> dict[str, str]:
    rows = {
        "accuracy": f"{report['accuracy']:.2%} (balanced {report['balanced_accuracy']:.2%}), "
        f"{report['n_samples']} samples",
        "spikes": f"{own.pop('spikes')}, {report['spikes_per_second']:.2f} per neuron and second",
        "input": f"{report['input_events']:.0f} events per sample",
        "operations": f"{report['synaptic_operations']:.0f} synaptic operations per sample",
        "decision": own.pop("decision"),
        "run": f"{report['engine']} on {report['device']}, {report['seconds']:.2f} s, dt {report['dt_ms']:g} ms",
        **own,
    }
    if "compilations" in report:
        rows["compiled"] = f"{report['compilations']} time(s)"
    return rows


def simulate(
    run_folder: o.RunFolder,
    data: o.RunData = None,
    data_root: o.DataRoot = None,
    sample: Annotated[int, o.option(panel=o.DATA, help="Which sample.")] = 0,
    dt: o.RunStep = None,
    scheduler: o.RunScheduler = None,
    forward_group: o.RunGroup = None,
    stop: o.Stop = "drained",
    device: o.Device = None,
    plot: Annotated[Path | None, o.option(panel=o.OUTPUT, help="Write a picture of the run (PNG, PDF or SVG).")] = None,
) -> None:
    """Run one sample in Brian 2 and show raster, bucket traces, decoded signals and output.

    Of an asynchronous run: the raster in processing order, the spread of activity through the layers, latencies.
    """
    prefs.codegen.target = "numpy"  # one sample: compiling Cython would take longer than running it
    run = Run.open(run_folder)
    asked = Asked(
        run, data, data_root, dt, scheduler, forward_group, stop=stop, engine="brian2", device=device
    )  # fmt: skip
    task = asked.task()
    if not 0 <= sample < len(task):
        raise TrainingError(f"sample = {sample}: the data hold samples 0 to {len(task) - 1}.")
    family_of(run).simulate(asked, task, sample, Console(highlight=False).print, plot)
