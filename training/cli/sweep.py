"""``brian2grad sweep``: the same training with different options, as a bag of runs."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from typer.main import get_command

from ..cluster.bag import run_bag
from ..cluster.connection import connected
from ..errors import TrainingError
from ..runs import Run
from . import options as o
from .progress import counting
from .train import app as train

SHOWN = ("validation_accuracy", "train_accuracy", "loss", "spikes_per_neuron")


def sweep(
    training: Annotated[str, typer.Argument(metavar="'train ...'", help="Command of a run, in quotes; without --out.")],
    grid: Annotated[
        list[str], o.option("--grid", panel=o.LEARNING, help="An option and its values: seed=0,1,2 (repeatable).")
    ],
    out: Annotated[Path, o.option(panel=o.OUTPUT, help="Folder of the runs.")],
    workers: o.Workers = None,
    cluster: o.Cluster = None,
) -> None:
    """Train once for every combination of the options given, on the processes of a cluster.

    A run that was stopped goes on at its last epoch, a finished one stays as it is: start the sweep again after
    anything. Workers on other machines need the same folder.
    """
    words = shlex.split(training)
    if len(words) < 2 or words[0] != "train" or "--out" in words:
        raise TrainingError(f"'{training}' is no training: give 'train gamma ...' or another, without --out.")
    items = {}
    for chosen in itertools.product(*(_values(text) for text in grid)):
        name = ",".join(f"{option}={value}" for option, value in chosen)
        options = [text for option, value in chosen for text in (f"--{option}", value)]
        items[name] = ([*words, *options], str((out / name).resolve()), os.getcwd())
    with connected(cluster, workers) as client, counting(len(items), "runs") as progress:
        done = itertools.count(1)
        found = run_bag(client, train_once, items, out / "results", lambda *_: progress(next(done)))
    table = Table("run", *SHOWN, box=None)
    for name, result in found.items():
        failed = isinstance(result, Exception)
        cells = [f"[red]{result}[/]"] if failed else [_shown(result.get(key)) for key in SHOWN]
        table.add_row(name, *cells)
    Console(highlight=False).print(table)
    if all(isinstance(result, Exception) for result in found.values()):
        raise TrainingError("No run of the sweep could be trained.")


def train_once(words: list[str], folder: str, where: str) -> dict:
    """Train one run, or go on with it, in a worker; returns its summary.

    Parameters
    ----------
    words : list of str
        Of the command.
    folder : str
        Of the run.
    where : str
        Working directory of the command.

    Raises
    ------
    TrainingError, NetworkError, DataError, RunError
        As the command.
    """
    arguments = [*words[1:], "--out", folder]
    if (Path(folder) / "config.toml").exists():
        arguments = [*words[1 : 3 if words[1] == "exact" else 2], "--resume", folder]
    with contextlib.chdir(where):
        get_command(train)(args=[*arguments, "--quiet"], standalone_mode=False)
    return json.loads((Run.open(folder).folder / "summary.json").read_text())


def _values(text: str) -> list[tuple[str, str]]:
    option, _, values = text.partition("=")
    if not option or not values:
        raise TrainingError(f"--grid {text}: give an option and its values, such as seed=0,1,2.")
    return [(option.lstrip("-"), value) for value in values.split(",")]


def _shown(value) -> str:
    return "" if value is None else f"{value:.4g}"
