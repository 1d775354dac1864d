"""``brian2grad report``: one page about a run, or about two side by side."""

from __future__ import annotations

import datetime
import importlib.metadata
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import tomli_w
import typer
from brian2 import Quantity, joule, prefs

from ...models.files import write_file
from ..configuration.tasks import seen_in_training
from ..data.storage import check_target
from ..errors import TrainingError
from ..plots.history import history_figure
from ..report.page import fill
from ..report.pictures import confusion_figure, image, latency_figure, layers_figure, svg
from ..report.summary import confused, confusion, energy, worst_samples
from ..runs import Run
from . import options as o
from .families import family_of
from .families.asked import Asked
from .progress import counting


def report(
    run_folders: Annotated[list[Path], typer.Argument(metavar="RUN [RUN]", help="One run, or two to compare.")],
    out: Annotated[Path, o.option(panel=o.OUTPUT, help="The page to write, such as report.html.")],
    data: o.RunData = None,
    data_root: o.DataRoot = None,
    limit: o.Limit = None,
    threads: o.Threads = None,
) -> None:
    """Write one page about a run: learning, confusions, sparsity, latency, energy, samples that went wrong."""
    if len(run_folders) > 2:
        raise TrainingError(f"{len(run_folders)} runs: a page holds one, or two side by side.")
    if out.suffix != ".html":
        raise TrainingError(f"--out {out}: a page ends in .html.")
    check_target(out)
    prefs.codegen.target = "numpy"  # single samples: compiling would take longer than running
    runs = [_about(Run.open(folder), data, data_root, limit, threads) for folder in run_folders]
    version = importlib.metadata.version("brian2grad")
    write_file(out, fill(runs, version, datetime.date.today().isoformat()).encode())
    typer.echo(str(out))


def _about(run: Run, data, data_root, limit, threads) -> dict:
    family = family_of(run)
    asked = Asked(run, data, data_root, threads=threads, limit=limit)
    family.check(asked)
    task = family.task_of(asked)
    with counting(len(task), f"evaluating {run.folder.name}") as progress:
        answer = family.evaluate(asked, task, progress)
    result, network = answer.result, answer.network
    numbers = answer.settings | result.report(network, task)
    table = confusion(result.labels, result.predictions, int(network.sizes[-1]))
    spent = energy(numbers)
    records = run.metrics()
    return {
        "name": run.folder.name,
        "data_name": Path(asked.data_name).name,
        "numbers": _numbers(numbers),
        "warning": _warning(numbers, table),
        "history": svg(history_figure(records)) if records else "",
        "confusion": svg(confusion_figure(table)),
        "confused": confused(table)[:5],
        "layers": svg(layers_figure(np.asarray(result.spikes), _layer_sizes(network, result))),
        "latency": _latency(result.decision_ms),
        "energy": [
            ("synaptic operations per sample", f"{numbers['synaptic_operations']:.0f}"),
            ("as additions", f"{Quantity(spent['spiking'], dim=joule.dim).in_best_unit(3)} per sample"),
            ("as multiplications", f"{Quantity(spent['multiplying'], dim=joule.dim).in_best_unit(3)} per sample"),
        ],
        "samples": [
            _sample(family, asked, task, result, k) for k in worst_samples(result.labels, result.predictions, table)
        ],
        "commands": _commands(run, asked),
        "config": tomli_w.dumps(run.config),
        "settings": run.config,
        "seen": seen_in_training(run.config, asked.data_name),
    }


def _numbers(report: dict) -> list[tuple[str, str]]:
    latency = report["decision_latency"]["ms"]["first"]
    return [
        ("accuracy", f"{report['accuracy']:.2%}"),
        ("balanced accuracy", f"{report['balanced_accuracy']:.2%}"),
        ("samples", str(report["n_samples"])),
        ("spikes per neuron and sample", f"{report['spikes_per_neuron']:.3f}"),
        ("spikes per neuron and second", f"{report['spikes_per_second']:.2f}"),
        ("median time to decide", "at every step" if latency is None else f"{latency:.0f} ms"),
    ]


def _warning(report: dict, table: np.ndarray) -> str:
    n, chance = int(table.sum()), 1 / len(table)
    if report["spikes_per_neuron"] == 0:
        return "No hidden neuron spikes: lower theta or the threshold, or start from larger weights."
    if n and report["accuracy"] < chance + 2 * np.sqrt(chance * (1 - chance) / n):
        return "No better than chance: train longer, with another learning rate, or look at the samples below."
    return ""


def _layer_sizes(network, result) -> list[int] | None:
    """Neurons of the layers that spikes are counted of, ``None`` if the network is no chain of layers.

    The readout of a SpikingGamma network does not spike.
    """
    sizes, n = list(network.sizes[1:]), np.asarray(result.spikes).shape[1]
    return sizes[:n] if len(sizes) >= n else None


def _latency(times) -> str:
    """Picture of the times to decide; none where nothing decides before the end."""
    return svg(latency_figure(times)) if np.isfinite(times).any() else ""


def _sample(family, asked, task, result, k: int) -> tuple[str, str]:
    """Caption and picture of a sample; none where the family draws none."""
    text = f"sample {k}"
    if np.ndim(result.labels) == 1:
        text += f": {result.labels[k]}, answered {result.predictions[k] if result.predictions[k] >= 0 else 'nothing'}"
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "sample.png"
        try:
            family.simulate(asked, task, k, lambda _: None, picture)
        except TrainingError as error:
            return f"{text} (no picture: {error})", ""
        return text, image(picture.read_bytes())


def _commands(run: Run, asked: Asked) -> str:
    model = run.config["run"].get("model", "gamma")
    return "\n".join(
        [
            f"brian2grad train {model} --recipe {run.folder / 'config.toml'} --data {asked.data_name} --out NEW",
            f"brian2grad evaluate {run.folder} --data {asked.data_name}",
        ]
    )
