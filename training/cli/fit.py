"""``brian2grad fit`` and what ``brian2grad evaluate`` says of a fit."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from brian2 import Quantity
from rich.console import Console
from rich.table import Table

from ..configuration import parse_time
from ..data.recordings import read_recording
from ..errors import TrainingError
from ..fit.options import FitOptions
from ..fit.result import FitResult
from ..fit.runs import FitRun, data_of, load_fit
from ..runs import Run, free_folder, git_commit
from . import options as o
from .voice import console as standard_error
from .voice import is_quiet

_DEFAULTS = FitOptions()


def fit(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Argument(metavar="READY|MODEL.py:OBJECT", help="lif, alif, moving-threshold, gif, adex, qif.")
    ] = None,
    data: Annotated[str | None, o.option(panel=o.DATA, help="Recording (.npz, .nwb, formats of neo).")] = None,
    data_root: o.DataRoot = None,
    until: Annotated[
        str | None, o.option(panel=o.DATA, default="the end", help="Fit to what comes before, such as 9s.")
    ] = None,
    starts: Annotated[
        int, o.option(panel=o.LEARNING, min=1, help="Points that the fit starts from.")
    ] = _DEFAULTS.starts,
    generations: Annotated[
        int, o.option(panel=o.LEARNING, min=0, help="Of the search in the metric of the spike times.")
    ] = _DEFAULTS.generations,
    steps: Annotated[
        int, o.option(panel=o.LEARNING, min=0, help="Along the exact gradient by the spike times.")
    ] = _DEFAULTS.steps,
    voltage: Annotated[
        bool | None,
        o.option("--voltage/--no-voltage", panel=o.LEARNING, default="where recorded", help="Fit the voltage first."),
    ] = None,
    seed: Annotated[int, o.option(panel=o.LEARNING, min=0, max=2**32 - 1, help="Seed of starts and search.")] = 1,
    threads: o.Threads = None,
    out: o.Out = None,
    resume: o.Resume = None,
) -> None:
    """Fit one neuron to a recording of spikes: likelihood, threshold, search, exact gradient of the spike times."""
    if resume is not None:
        if model is not None or data is not None:
            raise TrainingError("--resume goes on with what the run was; leave out the model and --data.")
        o.refuse_changes(context)
        run = FitRun.resume(resume, threads)
    else:
        if model is None or data is None:
            raise TrainingError("give a neuron and a recording: brian2grad fit lif --data RECORDING.npz.")
        path = recording_path(data, data_root)
        limit = None if until is None else float(parse_time(until, "until"))
        options = FitOptions(starts=starts, generations=generations, steps=steps, voltage=voltage)
        name = Path(model.partition(":")[0]).stem
        folder = out or free_folder(Path("runs") / f"{name}-{path.stem}-seed{seed}")
        run = FitRun.create(folder, model, path, seed, limit, threads, options)
    console, quiet = standard_error(), is_quiet()
    result = run.proceed(lambda record: console.print(_stage(record, len(run.fit.options.stages)), markup=False))
    _print_report(result, Console(quiet=quiet, highlight=False))
    console.print(f"run: {run.run.folder}", markup=False)


def recording_path(data: str, root) -> Path:
    """File of a recording: a path, or the name of a file under the data root."""
    if Path(data).is_file():
        return Path(data)
    root = root or os.environ.get("BRIAN2GRAD_DATA")
    for name in (data, f"{data}.npz", f"{data}_train.npz") if root else ():
        if (Path(root) / name).is_file():
            return Path(root) / name
    raise TrainingError(f"--data {data}: no such file; give the path of a recording archive (.npz).")


def _stage(record: dict, stages: int) -> str:
    apart = f"  {record['voltage_mV']:.2f} mV from the recorded voltage" if "voltage_mV" in record else ""
    return (
        f"{record['epoch']}/{stages} {record['stage']:<10}  loss {record['loss']:.4f}"
        f"  gamma {record['gamma']:.3f}  {record['n_spikes']} spikes"
        f"  {record['gradients']} gradients, {record['runs']} runs  {record['seconds']:.1f} s{apart}"
    )


def _print_report(result: FitResult, console: Console) -> None:
    table = Table("parameter", "start", "end", "bounds", "error", box=None)
    dims = {p.name: p.dim for p in result.model.parameters}
    for e in result.estimates:
        numbers = [Quantity(x, dim=dims[e.name]) for x in (e.start, e.end, e.low, e.high)]
        unit = 1 if dims[e.name].is_dimensionless else numbers[1].get_best_unit()
        shown = [f"{float(x / unit):.4g}" for x in numbers]
        if e.error is None or not np.isfinite(e.error):
            error = "-"
        else:
            error = f"{float(Quantity(e.error, dim=dims[e.name]) / unit):.2g}"
        name = "" if dims[e.name].is_dimensionless else f" ({unit})"
        table.add_row(e.name + name, shown[0], shown[1], f"{shown[2]} to {shown[3]}", error)
    console.print(table, markup=False)


def evaluate_fit(run: Run, data, data_root, as_json: bool) -> None:
    """Print how well a fitted neuron predicts a recording."""
    result = load_fit(run.folder)
    recording = data_of(run) if data is None else read_recording(recording_path(data, data_root))
    found = result.evaluate(recording) | {"seed": result.seed, "git": git_commit(), "data": recording.name}
    console = Console(highlight=False, soft_wrap=True)
    if as_json:
        console.print(json.dumps(found), markup=False)
        return
    own = "" if found["gamma_reliability"] is None else f" (the cell against itself {found['gamma_reliability']:.3f})"
    console.print(f"     gamma  {found['gamma']:.3f}{own}", markup=False)
    console.print(f"    spikes  {found['n_spikes']}, recorded {found['spikes_recorded']:.1f} a repeat", markup=False)
    console.print(f"van Rossum  {found['van_rossum']:.2f}", markup=False)
