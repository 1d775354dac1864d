"""``brian2grad train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..configuration import (
    build_network,
    load_tasks,
    merged,
    parse_sizes,
    parse_time,
    read_recipe,
    recipe_path,
    training_options,
)
from ..errors import TrainingError
from ..loop import train as train_network
from ..runs import Run, free_folder
from .progress import TrainingDisplay

MODELS = ("gamma", "async")
_ONLY_GAMMA = ("K", "memory", "buckets", "adaptation", "train_tau", "rule")
_ONLY_ASYNC = ("refractory_dropout",)


def train(
    model: Annotated[
        str, typer.Argument(help="What to train: gamma (SpikingGamma network) or async (asynchronous network).")
    ],
    data: Annotated[str | None, typer.Option(help="Name of a data set, or path of an archive used whole.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Folder of the data sets (or BRIAN2GRAD_DATA).")] = None,
    validation: Annotated[str | None, typer.Option(help="Archive to validate on.")] = None,
    held_out_speaker: Annotated[str | None, typer.Option(help="Validate on this speaker (speech data).")] = None,
    recipe: Annotated[str | None, typer.Option(help="Variant of the recipe (e.g. sparse), or a TOML file.")] = None,
    show_recipe: Annotated[bool, typer.Option("--show-recipe", help="Print what would be run and stop.")] = False,
    hidden: Annotated[str | None, typer.Option(help="Hidden layers, such as 128,128.")] = None,
    K: Annotated[int | None, typer.Option("--K", help="Buckets per neuron.")] = None,  # noqa: N803
    tau: Annotated[
        str | None, typer.Option(help="Time constant of the buckets, or of the membranes, such as 30ms.")
    ] = None,
    theta: Annotated[float | None, typer.Option(help="Threshold.")] = None,
    memory: Annotated[str | None, typer.Option(help="paper or continuous.")] = None,
    buckets: Annotated[str | None, typer.Option(help="Bucket weights per neuron or synapse.")] = None,
    adaptation: Annotated[float | None, typer.Option(help="Multiplicative threshold adaptation.")] = None,
    train_tau: Annotated[bool | None, typer.Option("--train-tau", help="Train the time constants too.")] = None,
    rule: Annotated[str | None, typer.Option(help="Gradient rule.")] = None,
    loss: Annotated[
        str | None, typer.Option(help="cross_entropy or squared_error, per step; async: counts, membrane or latency.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Order of spikes: random, momentum, fifo, lifo, layered, mixed or (async) timed."),
    ] = None,
    forward_group: Annotated[str | None, typer.Option(help="Neurons per forward step, or all.")] = None,
    noise: Annotated[float | None, typer.Option(help="Momentum noise.")] = None,
    refractory_dropout: Annotated[float | None, typer.Option(help="async: probability to stay ready.")] = None,
    optimiser: Annotated[str | None, typer.Option(help="adam or sgd.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    activity: Annotated[float | None, typer.Option(help="Penalty on activity: fewer spikes.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples per update.")] = None,
    dt: Annotated[str | None, typer.Option(help="Time step, such as 1ms.")] = None,
    seed: Annotated[int, typer.Option(help="Of initial weights, order and augmentation.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Threads (default: all cores).")] = None,
    limit: Annotated[int | None, typer.Option(help="Use only the first samples.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder to write.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Run folder to go on with; its options are kept.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Train a network; without options, the recipe kept for the data set is used."""
    if model not in MODELS:
        raise TrainingError(f"model '{model}' is unknown; use one of {', '.join(MODELS)}.")
    if resume is not None:
        run = Run.open(resume)
        config = merged(run.config, {"training": {"epochs": epochs}})
        data_root = data_root or config["run"].get("data_root")
    else:
        data = data or "digits"
        own = _of_model(
            model,
            {
                "hidden": parse_sizes(hidden) if hidden else None, "K": K, "tau_ms": _in_ms(tau, "tau"), "theta": theta,
                "memory": memory, "buckets": buckets, "adaptation": adaptation, "train_tau": train_tau, "rule": rule,
                "loss": loss, "scheduler": scheduler, "forward_group": forward_group, "noise": noise,
                "refractory_dropout": refractory_dropout,
            },
        )  # fmt: skip
        config = merged(
            read_recipe(_recipe(model, data, recipe)),
            {
                "data": {
                    "name": data,
                    "dt_ms": _in_ms(dt, "dt"),
                    "validation": validation,
                    "held_out_speaker": held_out_speaker,
                },
                **own,
                "training": {
                    "optimiser": optimiser, "learning_rate": learning_rate, "activity": activity,
                    "epochs": epochs, "batch_size": batch_size, "seed": seed, **own.get("training", {}),
                },
                "run": {"model": model, "seed": seed, "limit": limit, "data_root": data_root and str(data_root)},
            },
        )  # fmt: skip
    options = training_options(config)
    if show_recipe:
        _show(config)
        return
    limit = config["run"].get("limit")
    task, held_out = load_tasks(config, data_root, limit)
    config["data"]["duration_ms"] = round(task.events.n_steps * config["data"]["dt_ms"], 9)
    config["network"].setdefault("n_classes", max(task.n_classes, held_out.n_classes if held_out else 0))
    network = build_network(config, task, config["run"]["seed"], threads)
    network.engine()  # a missing compiler is found before anything is written
    if resume is None:
        name = f"{model}-{Path(config['data']['name']).stem}-seed{seed}"
        run = Run.create(out or free_folder(Path("runs") / name), config)
    _train(network, task, held_out, options, run, resume is not None, quiet)


def _of_model(model: str, given: dict) -> dict:
    """Options of a model, in the sections of its recipe; one that belongs to the other model is refused."""
    foreign, other = (_ONLY_ASYNC, "async") if model == "gamma" else (_ONLY_GAMMA, "gamma")
    for name in foreign:
        if given.pop(name) is not None:
            raise TrainingError(f"--{name.replace('_', '-')} belongs to {other} networks; leave it out for {model}.")
    loss, group = given.pop("loss"), given["forward_group"]
    given["forward_group"] = int(group) if group is not None and group.isdigit() else group
    if model == "gamma":
        return {"network": given, "training": {"rule": given.pop("rule"), "loss": loss}}
    given["tau_m_ms"], given["V_th"] = given.pop("tau_ms"), given.pop("theta")
    return {"network": given, "loss": {"kind": loss}}


def _train(network, task, held_out, options, run, resuming, quiet):
    record = None
    with TrainingDisplay(options.epochs, quiet) as display:
        for record in train_network(
            network, task, options, validation=held_out, run=run, resume=resuming, on_batch=display.batch
        ):
            display.epoch(record)
    if record is None:
        display.console.print(f"nothing to do: {run.folder} has its {options.epochs} epochs")
    display.console.print(f"run: {run.folder}")


def _recipe(model: str, data: str, recipe: str | None) -> Path:
    if recipe and recipe.endswith(".toml"):
        return Path(recipe)
    return recipe_path(model, data, recipe)


def _in_ms(text: str | None, name: str) -> float | None:
    value = parse_time(text, name)
    return None if value is None else round(float(value) * 1e3, 12)


def _show(config: dict) -> None:
    import tomli_w

    from ..runs import _without_none

    Console(highlight=False, soft_wrap=True).print(tomli_w.dumps(_without_none(config)), markup=False)
