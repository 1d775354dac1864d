"""``brian2grad export``: a trained network for others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from brian2 import ms, prefs

from ...models.exchange.quantise import RoundedNetwork
from ...models.exchange.writing import to_nir, write_nir
from ...models.gamma.brian.script import write_script
from ...models.gamma.network import SpikingGammaNetwork
from ..data.storage import check_target
from ..errors import TrainingError
from ..evaluation import evaluate_native
from ..gamma.configuration import open_run
from ..loop import train
from ..runs import Run
from ..tasks import steps_of
from . import options as o
from .families import asynchronous, family_of, gamma
from .progress import TrainingDisplay
from .voice import is_quiet

SUFFIXES = {"brian2": ".py", "nir": ".nir"}
WHAT = {"brian2": "a script", "nir": "a NIR graph"}


def export(
    run_folder: o.RunFolder,
    out: Annotated[Path, o.option(panel=o.OUTPUT, help="The file to write, such as network.py or network.nir.")],
    form: Annotated[
        Literal["brian2", "nir"],
        o.option("--format", panel=o.OUTPUT, help="A script that needs only Brian 2 and NumPy, or a NIR graph."),
    ] = "brian2",
    int8: Annotated[
        bool, o.option("--int8", panel=o.OUTPUT, help="NIR: weights as whole numbers with a scale per channel.")
    ] = False,
    epochs: Annotated[
        int, o.option(panel=o.OUTPUT, within=(0, 1000), help="int8: epochs of training with rounded weights before.")
    ] = 1,
    data_root: o.DataRoot = None,
) -> None:
    """Write a trained network as a plain Brian 2 script, its weights in an .npz beside it, or as a NIR graph.

    With --int8 the weights are rounded, and training goes on for an epoch with rounded weights on the run's own data.
    """
    if out.suffix != SUFFIXES[form]:
        beside = "; its weights are written to the same name with .npz" if form == "brian2" else ""
        raise TrainingError(f"--out {out}: {WHAT[form]} ends in {SUFFIXES[form]}{beside}.")
    for path in (out, *([out.with_suffix(".npz")] if form == "brian2" else [])):
        check_target(path)
    if int8 and form != "nir":
        raise TrainingError("--int8 belongs to --format nir: the script keeps the weights as they were trained.")
    run = Run.open(run_folder)
    family = family_of(run)
    if form == "nir":
        _to_nir(run, family, out, int8, epochs, data_root)
        return
    network = open_run(run) if family is gamma else None
    if type(network) is not SpikingGammaNetwork:
        raise TrainingError(
            f"{run_folder} is no SpikingGamma run in layered order: the order of an asynchronous network is its "
            "scheduler's, which plain Brian 2 cannot express, and an exact run holds your own objects already. "
            "`evaluate --engine brian2` runs both in Brian 2."
        )
    prefs.codegen.target = "numpy"  # nothing is run: nothing needs to be compiled
    duration = run.config["data"].get("duration_ms")
    n_steps = None if duration is None else steps_of(duration * ms, network.dt)
    for path in write_script(network, out, n_steps):
        typer.echo(str(path))


def _to_nir(run: Run, family, out: Path, int8: bool, epochs: int, data_root) -> None:
    if family not in (gamma, asynchronous):
        raise TrainingError(f"{run.folder} holds your own Brian 2 objects; gamma and async runs are written to NIR.")
    network = open_run(run) if family is gamma else asynchronous.open_run(run)
    to_nir(network)  # what NIR cannot express is refused before any work
    if int8:
        config = run.config
        task, held_out = family.load_tasks(
            config, data_root or config["run"].get("data_root"), config["run"].get("limit")
        )
        checked = held_out if held_out is not None else task
        before = evaluate_native(network, checked)
        network = rounded_network(network, task, family.Configuration.read(config).options(), epochs, quiet=is_quiet())
        after = evaluate_native(network, checked)
        typer.echo(f"accuracy {before.accuracy:.2%} as trained, {after.accuracy:.2%} in int8 ({len(checked)} samples)")
    typer.echo(str(write_nir(network, out, whole=int8)))


def rounded_network(network, task, options, epochs: int, rate: float = 0.1, quiet: bool = False):
    """A network with rounded weights, after some epochs of training with them.

    Parameters
    ----------
    network : SpikingGammaNetwork or AsynchronousNetwork
        Trained; it is changed.
    task : Task
    options : TrainingOptions
        Of its training; at a tenth of its learning rate.
    epochs : int
    rate : float
        Factor of the learning rate.
    quiet : bool
    """
    learner = RoundedNetwork(network)
    if epochs:
        options = replace(options, epochs=epochs, warmup=0, theta_start=1.0, learning_rate=rate * options.learning_rate)
        with TrainingDisplay(epochs, quiet) as display:
            for record in train(learner, task, options, on_batch=display.batch):
                display.epoch(record)
    return learner.finish()
