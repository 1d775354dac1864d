"""``brian2grad evaluate`` and ``brian2grad simulate``."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Annotated, Literal

from brian2 import prefs
from rich.console import Console
from rich.table import Table

from ..cluster.connection import connected
from ..configuration.tasks import seen_in_training
from ..data.storage import check_target, write_npz
from ..errors import TrainingError
from ..fit.runs import is_fit
from ..plots.style import check_picture
from ..report.summary import confusion
from ..runs import Run, git_commit
from . import options as o
from .families import family_of
from .families.asked import Asked
from .fit import evaluate_fit
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
    workers: o.Workers = None,
    cluster: o.Cluster = None,
    as_json: Annotated[bool, o.option("--json", panel=o.OUTPUT, help="Print one JSON object.")] = False,
    predictions: Annotated[
        Path | None, o.option(panel=o.OUTPUT, help="Write predictions and spike counts to this .npz.")
    ] = None,
    confusions: Annotated[
        bool, o.option("--confusion", panel=o.OUTPUT, help="Print which class was answered by which.")
    ] = False,
) -> None:
    """Measure accuracy, spikes, operations and decision latency of a trained network; of a fit, its coincidence."""
    run = Run.open(run_folder)
    if is_fit(run):
        without_effect = {
            "limit": limit, "dt": dt, "scheduler": scheduler, "forward-group": forward_group, "noise": noise,
            "stop": stop != "drained", "seed": seed, "engine": engine != "native", "device": device, "threads": threads,
            "predictions": predictions, "confusion": confusions,
        }  # fmt: skip
        for name, value in without_effect.items():
            if value not in (None, False):
                raise TrainingError(f"--{name} has no effect on a fit; leave it out.")
        evaluate_fit(run, data, data_root, as_json)
        return
    if predictions is not None:
        check_target(predictions)
    family = family_of(run)
    if (workers or cluster) and engine != "native":
        raise TrainingError("--workers and --cluster share the work of the compiled engine; leave --engine out.")
    with connected(cluster, workers) if workers or cluster else contextlib.nullcontext() as client:
        asked = Asked(
            run, data, data_root, dt, scheduler, forward_group, noise, stop, seed, engine, device, threads, limit,
            client,
        )  # fmt: skip
        family.check(asked)
        task = family.task_of(asked)
        with counting(len(task), f"evaluating on {engine}", quiet=as_json) as progress:
            answer = family.evaluate(asked, task, progress)
    report = answer.settings | answer.result.report(answer.network, task)
    report |= {
        "seed": run.config["run"]["seed"],
        "engine": engine,
        "device": asked.on_device if engine == "brian2" else "cpu",
        "git": git_commit(),
        "data": asked.data_name,
        "seen_in_training": seen_in_training(run.config, asked.data_name),
    }
    if answer.compilations is not None:
        report["compilations"] = answer.compilations
    if predictions is not None:
        _write_predictions(predictions, answer.result, family.spikes_written(answer.result))
    console = Console(highlight=False, soft_wrap=True)
    table = None
    if confusions:
        table = confusion(answer.result.labels, answer.result.predictions, int(answer.network.sizes[-1]))
    if as_json:
        console.print(json.dumps(report if table is None else report | {"confusion": table.tolist()}), markup=False)
        return
    for name, text in _rows(report, family.described(report)).items():
        console.print(f"{name:>11}  {text}", markup=False)
    if table is not None:
        console.print(_confusions(table))


def _confusions(table) -> Table:
    """Classes by rows, answers by columns; what is right stands in bold."""
    n = len(table)
    shown = Table("class", *map(str, range(n)), *(["none"] if table[:, n].any() else []), box=None, padding=(0, 1))
    for label, row in enumerate(table):
        cells = [f"[bold]{value}[/]" if answer == label else str(value or "·") for answer, value in enumerate(row)]
        shown.add_row(str(label), *cells[: len(shown.columns) - 1])
    return shown


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
        f"{report['n_samples']} samples{', THE SAME AS IN TRAINING' if report['seen_in_training'] else ''}",
        "spikes": f"{own.pop('spikes')}, {report['spikes_per_second']:.2f} per neuron and second",
        "input": f"{report['input_events']:.0f} events per sample",
        "operations": f"{report['synaptic_operations']:.0f} synaptic operations per sample",
        "decision": own.pop("decision"),
        "run": f"{report['engine']} on {report['device']}, {report['seconds']:.2f} s, "
        + ("event-located" if report["dt_ms"] is None else f"dt {report['dt_ms']:g} ms"),
        **own,
    }
    if "compilations" in report:
        rows["compiled"] = f"{report['compilations']} time(s)"
    return rows


def simulate(
    run_folder: o.RunFolder,
    data: o.RunData = None,
    data_root: o.DataRoot = None,
    sample: Annotated[int, o.option(panel=o.DATA, within=(0, 10**9), help="Which sample.")] = 0,
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
    if plot is not None:
        check_picture(check_target(plot))
    run = Run.open(run_folder)
    family = family_of(run)
    asked = Asked(
        run, data, data_root, dt, scheduler, forward_group, stop=stop, engine="brian2", device=device
    )  # fmt: skip
    family.check(asked)
    task = family.task_of(asked)
    if sample >= len(task):
        raise TrainingError(f"sample = {sample}: the data hold samples 0 to {len(task) - 1}.")
    family.simulate(asked, task, sample, Console(highlight=False).print, plot)
