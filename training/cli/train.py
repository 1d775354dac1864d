"""``brian2grad train gamma``, ``train async`` and ``train exact``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import tomli_w
import typer
from rich.console import Console

from ...equations.gamma import present_word
from ...equations.ready import READY
from ...models.errors import NetworkError
from ..asynchronous.configuration import Kind
from ..configuration import merged, parse_group, parse_sizes, parse_time, read_recipe, recipe_path, schema
from ..data.loading import DATASETS
from ..errors import TrainingError
from ..exact.configuration import Kind as ExactKind
from ..gamma.configuration import Buckets
from ..loop import TrainingOptions
from ..loop import train as train_network
from ..runs import Run, free_folder, without_none
from . import options as o
from .families import FAMILIES, family_of
from .progress import TrainingDisplay
from .voice import doing, is_quiet, spoken

_LEARNING = ("optimiser", "learning_rate", "activity", "epochs", "batch_size")
_OPTIONS = {
    "tau_ms": "--tau",
    "tau_m_ms": "--tau",
    "V_th": "--threshold",
    "dt_ms": "--dt",
    "name": "--data",
    "kind": "--loss",
}
_KEPT = ("epochs", "data_root", "workers", "cluster", "show_recipe")  # what a resumed run takes


class Models(typer.core.TyperGroup):
    """The models as commands; an unknown one is named as such."""

    def get_command(self, ctx, name):
        """Return the command of a model."""
        found = super().get_command(ctx, name)
        if found is None:
            raise TrainingError(f"model '{name}' is unknown; use one of {', '.join(self.commands)}.")
        return found


app = typer.Typer(cls=Models, no_args_is_help=True, rich_markup_mode="rich")


@app.command(
    epilog="Example: [bold]brian2grad train gamma --data digits --hidden 128 --epochs 10 --out runs/digits[/]",
)
@spoken
def gamma(
    context: typer.Context,
    data: o.Data = None,
    data_root: o.DataRoot = None,
    validation: o.Validation = None,
    held_out_speaker: o.Speaker = None,
    limit: o.Limit = None,
    zero_time: o.ZeroTime = None,
    dt: o.Step = None,
    hidden: o.Hidden = None,
    K: Annotated[int | None, o.recipe("Buckets per neuron.", o.NETWORK, "--K")] = None,  # noqa: N803
    tau: Annotated[str | None, o.recipe("Time constant of the buckets, such as 30ms.", o.NETWORK)] = None,
    theta: Annotated[float | None, o.recipe("Threshold of the sigma-delta code.", o.NETWORK)] = None,
    memory: Annotated[
        str | None,
        o.recipe(
            "Published recursion or continuous kernel.", o.NETWORK, parser=present_word, metavar="<paper|continuous>"
        ),
    ] = None,
    buckets: Annotated[Buckets | None, o.recipe("Bucket weights per neuron or synapse.", o.NETWORK)] = None,
    adaptation: Annotated[float | None, o.recipe("Multiplicative threshold adaptation.", o.NETWORK)] = None,
    train_tau: Annotated[bool | None, o.recipe("Train the time constants too.", o.NETWORK, "--train-tau")] = None,
    scheduler: o.Scheduler = None,
    forward_group: o.Group = None,
    noise: o.Noise = None,
    rule: Annotated[schema.Rule | None, o.recipe("How errors pass the buckets.", o.LEARNING)] = None,
    loss: Annotated[schema.Loss | None, o.recipe("Loss, per step.", o.LEARNING)] = None,
    optimiser: o.Optimiser = None,
    learning_rate: o.Rate = None,
    activity: o.Activity = None,
    epochs: o.Epochs = None,
    batch_size: o.Batch = None,
    seed: o.Seed = 0,
    threads: o.Threads = None,
    recipe: o.Recipe = None,
    show_recipe: o.Show = False,
    out: o.Out = None,
    resume: o.Resume = None,
    workers: o.Workers = None,
    cluster: o.Cluster = None,
) -> None:
    """Train a SpikingGamma network by decoded gradients; without options, by the recipe kept for the data set.

    A --scheduler or --forward-group takes the layer barrier away.
    """
    names = "K theta memory buckets adaptation train_tau scheduler noise".split()
    _run(
        "gamma",
        context,
        network={"tau_ms": _in_ms(tau, "tau"), **{name: context.params[name] for name in names}},
        training={"rule": rule, "loss": loss},
    )


@app.command(
    "async",
    epilog="Example: [bold]brian2grad train async --data digits --scheduler random --forward-group 8[/]",
)
@spoken
def asynchronous(
    context: typer.Context,
    data: o.Data = None,
    data_root: o.DataRoot = None,
    validation: o.Validation = None,
    held_out_speaker: o.Speaker = None,
    limit: o.Limit = None,
    zero_time: o.ZeroTime = None,
    dt: o.Step = None,
    hidden: o.Hidden = None,
    tau: Annotated[str | None, o.recipe("Time constant of the membranes, such as 30ms.", o.NETWORK)] = None,
    threshold: Annotated[float | None, o.recipe("Threshold of the hidden neurons, V_th.", o.NETWORK)] = None,
    theta: Annotated[float | None, typer.Option("--theta", hidden=True, help="Older name of --threshold.")] = None,
    refractory_dropout: Annotated[
        float | None, o.recipe("Probability that a spike leaves its neuron ready.", o.NETWORK)
    ] = None,
    scheduler: o.Scheduler = None,
    forward_group: o.Group = None,
    noise: o.Noise = None,
    loss: Annotated[Kind | None, o.recipe("What of the output is asked.", o.LEARNING)] = None,
    optimiser: o.Optimiser = None,
    learning_rate: o.Rate = None,
    activity: o.Activity = None,
    epochs: o.Epochs = None,
    batch_size: o.Batch = None,
    seed: o.Seed = 0,
    threads: o.Threads = None,
    recipe: o.Recipe = None,
    show_recipe: o.Show = False,
    out: o.Out = None,
    resume: o.Resume = None,
    workers: o.Workers = None,
    cluster: o.Cluster = None,
) -> None:
    """Train an asynchronous network by unlayered backprop; without options, by the recipe kept for the data set."""
    names = "refractory_dropout scheduler noise".split()
    own = {name: context.params[name] for name in names}
    if theta is not None and threshold is not None:
        raise TrainingError("--theta is the older name of --threshold: give one of the two.")
    own |= {"tau_m_ms": _in_ms(tau, "tau"), "V_th": theta if threshold is None else threshold}
    _run("async", context, network=own, training={}, loss={"kind": loss})


@app.command(
    epilog="Example: [bold]brian2grad train exact lif --data yinyang --out runs/yinyang[/]",
)
@spoken
def exact(
    context: typer.Context,
    network: Annotated[
        str | None,
        typer.Argument(
            metavar="[READY|MODEL.py:OBJECT]",
            help=f"A ready neuron ({', '.join(READY)}), or a function that returns your own Brian 2 objects.",
        ),
    ] = None,
    data: o.Data = None,
    data_root: o.DataRoot = None,
    validation: o.Validation = None,
    held_out_speaker: o.Speaker = None,
    limit: o.Limit = None,
    zero_time: o.ZeroTime = None,
    duration: Annotated[str | None, o.recipe("Length of a run, such as 60ms.", o.DATA)] = None,
    hidden: o.Hidden = None,
    loss: Annotated[ExactKind | None, o.recipe("What of the outputs is asked.", o.LEARNING)] = None,
    optimiser: o.Optimiser = None,
    learning_rate: o.Rate = None,
    epochs: o.Epochs = None,
    batch_size: o.Batch = None,
    seed: o.Seed = 0,
    threads: o.Threads = None,
    recipe: o.Recipe = None,
    show_recipe: o.Show = False,
    out: o.Out = None,
    resume: o.Resume = None,
) -> None:
    """Train a network of ready neurons, or your own, by the exact gradient; samples become spike times."""
    if network is None and resume is None:
        raise TrainingError(f"Name what to train: one of {', '.join(READY)}, or MODEL.py:OBJECT.")
    own = {"network": {"model": network}, "training": {}, "loss": {"kind": loss}}
    _run("exact", context, **own)


def _recipe_name(model: str, given: dict) -> str:
    """What recipes and runs of a model are called: of a ready neuron, or of a function, by its name too."""
    network = given.get("network")
    return model if network is None else f"{model}-{network.rpartition(':')[2]}"


def _run(model: str, context: typer.Context, **own) -> None:
    """Train by a recipe with the options given on top, or go on with a run."""
    given, resume = context.params, context.params["resume"]
    if resume is None:
        config, sources = _from_recipe(model, given, own)
    else:
        o.refuse_changes(context, _KEPT)
        run = Run.open(resume)
        if family_of(run) is not FAMILIES[model]:
            raise TrainingError(f"{resume} is no {model} run; resume it with the command of its own model.")
        config = merged(run.config, {"training": {"epochs": given["epochs"]}})
        sources = {"": str(run.folder / "config.toml"), "training.epochs": "--epochs"}
    options = _checked(model, config, sources, given["threads"])
    if given["show_recipe"]:
        Console(highlight=False, soft_wrap=True).print(tomli_w.dumps(without_none(config)), markup=False)
        return
    if given["out"] is not None:
        Run.check_new(given["out"])
    if given["data_root"] is not None and not given["data_root"].is_dir():
        raise TrainingError(f"--data-root {given['data_root']}: no such folder; give the one that holds the data sets.")
    root, limit = given["data_root"] or config["run"].get("data_root"), config["run"].get("limit")
    with doing(f"reading {config['data']['name']}"):
        task, held_out = FAMILIES[model].load_tasks(config, root, limit)
    FAMILIES[model].complete(config, task, held_out)
    network = FAMILIES[model].build(config, task, config["run"]["seed"], given["threads"])
    with doing("compiling the engine, unless it is kept from an earlier run"):
        network.engine()  # a missing compiler is found before anything is written
    if resume is None:
        name = f"{_recipe_name(model, given)}-{Path(config['data']['name']).stem}-seed{config['run']['seed']}"
        run = Run.create(given["out"] or free_folder(Path("runs") / name), config)
    with shared(network, task, given) as (network, task):
        _train(network, task, held_out, options, run, resume is not None)


def _from_recipe(model: str, given: dict, own: dict) -> tuple[dict, dict[str, str]]:
    """Configuration of a new run, and where its entries come from: an option each, or the recipe."""
    data, recipe, root = remembered(given["data"] or "digits"), given["recipe"], given["data_root"]
    named = not (recipe and recipe.endswith(".toml"))
    default = "exact-ready" if given.get("network") in READY else model
    path = recipe_path(_recipe_name(model, given), data, recipe, default) if named else Path(recipe)
    group, hidden = given.get("forward_group"), given["hidden"]
    own["network"] |= {
        "hidden": parse_sizes(hidden) if hidden else None,
        "forward_group": group if group is None or group == "all" else parse_group(group),
    }
    own["training"] |= {"seed": given["seed"], **{name: given[name] for name in _LEARNING if name in given}}
    overrides = {
        "data": {
            "name": data, "dt_ms": _in_ms(given.get("dt"), "dt"),
            "validation": given["validation"] and remembered(given["validation"]),
            "held_out_speaker": given["held_out_speaker"], "zero_time": given["zero_time"],
        },
        **own,
        "run": {
            "model": model, "seed": given["seed"], "limit": given["limit"], "data_root": root and str(root.absolute()),
        },
    }  # fmt: skip
    config = merged(read_recipe(path), overrides)
    order = config["network"].get("scheduler", "random") if isinstance(config["network"], dict) else None
    if given.get("noise") is not None and order not in ("momentum", "mixed"):
        raise TrainingError(f"noise belongs to momentum order; leave it out for {order} order.")
    sources = {
        f"{section}.{entry}": _OPTIONS.get(entry, f"--{entry.replace('_', '-')}")
        for section, values in overrides.items()
        for entry, value in values.items()
        if value is not None
    }
    return config, sources | {"": str(path) if recipe and recipe.endswith(".toml") else path.name}


def remembered(data: str) -> str:
    """Data as a run remembers it: the path of a file from anywhere, not from the folder of today."""
    return str(Path(data).absolute()) if data not in DATASETS and Path(data).exists() else data


def _checked(model: str, config: dict, sources: dict[str, str], threads: int | None) -> TrainingOptions:
    """Options of the training loop, if the whole configuration is possible; with defaults put into `config`."""
    try:
        checked = FAMILIES[model].Configuration.read(config)
        config["data"] |= {name: getattr(checked.data, name) for name in FAMILIES[model].DATA}
        config.setdefault("run", {}).setdefault("seed", checked.run.seed)
        options = checked.options()
        # What a network of these entries would refuse, it refuses now: not after hours of encoding its data.
        nothing = FAMILIES[model].nothing(config)
        if nothing is not None:
            options.learning(FAMILIES[model].build(config, nothing, checked.run.seed, threads))
    except (TrainingError, NetworkError) as error:
        entry = ".".join(str(error).split()[0].split(".")[:2])
        raise TrainingError(f"{sources.get(entry, sources[''])}: {error}") from None
    return options


@contextlib.contextmanager
def shared(network, task, given: dict):
    """Network and task as they are, or as a cluster holds them."""
    if not (given.get("workers") or given.get("cluster")):
        yield network, task
        return
    from ..cluster.connection import connected
    from ..cluster.gradients import Distributed, SharedTask

    with connected(given["cluster"], given["workers"]) as client:
        yield Distributed(network, task, client), SharedTask(task)


def _train(network, task, held_out, options, run, resuming):
    record = None
    with TrainingDisplay(options.epochs, is_quiet()) as display:
        for record in train_network(
            network, task, options, validation=held_out, run=run, resume=resuming, on_batch=display.batch
        ):
            display.epoch(record)
    if record is None:
        display.console.print(f"nothing to do: {run.folder} has its {options.epochs} epochs")
    display.console.print(f"run: {run.folder}")


def _in_ms(text: str | None, name: str) -> float | None:
    value = parse_time(text, name)
    return None if value is None else round(float(value) * 1e3, 12)
