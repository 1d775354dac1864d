"""``brian2grad train gamma`` and ``brian2grad train async``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tomli_w
import typer
from rich.console import Console

from ..asynchronous.configuration import Kind
from ..configuration import load_tasks, merged, parse_sizes, parse_time, read_recipe, recipe_path, schema
from ..errors import TrainingError
from ..gamma.configuration import Buckets, Memory
from ..loop import train as train_network
from ..runs import Run, free_folder, without_none
from . import options as o
from .families import FAMILIES, family_of
from .progress import TrainingDisplay

_LEARNING = ("optimiser", "learning_rate", "activity", "epochs", "batch_size")
_KEPT = ("resume", "epochs", "data_root", "threads", "quiet", "show_recipe")  # what a resumed run takes


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
def gamma(
    context: typer.Context,
    data: o.Data = None,
    data_root: o.DataRoot = None,
    validation: o.Validation = None,
    held_out_speaker: o.Speaker = None,
    limit: o.Limit = None,
    dt: o.Step = None,
    hidden: o.Hidden = None,
    K: Annotated[int | None, o.recipe("Buckets per neuron.", o.NETWORK, "--K")] = None,  # noqa: N803
    tau: Annotated[str | None, o.recipe("Time constant of the buckets, such as 30ms.", o.NETWORK)] = None,
    theta: Annotated[float | None, o.recipe("Threshold of the sigma-delta code.", o.NETWORK)] = None,
    memory: Annotated[Memory | None, o.recipe("Published recursion or continuous kernel.", o.NETWORK)] = None,
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
    quiet: o.Quiet = False,
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
def asynchronous(
    context: typer.Context,
    data: o.Data = None,
    data_root: o.DataRoot = None,
    validation: o.Validation = None,
    held_out_speaker: o.Speaker = None,
    limit: o.Limit = None,
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
    quiet: o.Quiet = False,
) -> None:
    """Train an asynchronous network by unlayered backprop; without options, by the recipe kept for the data set."""
    names = "refractory_dropout scheduler noise".split()
    own = {name: context.params[name] for name in names}
    own |= {"tau_m_ms": _in_ms(tau, "tau"), "V_th": theta if threshold is None else threshold}
    _run("async", context, network=own, training={}, loss={"kind": loss})


def _run(model: str, context: typer.Context, **own) -> None:
    """Train by a recipe with the options given on top, or go on with a run."""
    given, resume = context.params, context.params["resume"]
    if resume is None:
        config, source = _from_recipe(model, given, own)
    else:
        _refuse_changes(context)
        run = Run.open(resume)
        if family_of(run) is not FAMILIES[model]:
            raise TrainingError(f"{resume} is no {model} run; resume it with the command of its own model.")
        config, source = merged(run.config, {"training": {"epochs": given["epochs"]}}), str(run.folder / "config.toml")
    options = FAMILIES[model].Configuration.read(config, source).options()
    if given["show_recipe"]:
        Console(highlight=False, soft_wrap=True).print(tomli_w.dumps(without_none(config)), markup=False)
        return
    task, held_out = load_tasks(
        config, given["data_root"] or config["run"].get("data_root"), config["run"].get("limit")
    )
    config["data"]["duration_ms"] = round(task.events.n_steps * config["data"]["dt_ms"], 9)
    config["network"].setdefault("n_classes", max(task.n_classes, held_out.n_classes if held_out else 0))
    network = FAMILIES[model].build(config, task, config["run"]["seed"], given["threads"])
    network.engine()  # a missing compiler is found before anything is written
    if resume is None:
        name = f"{model}-{Path(config['data']['name']).stem}-seed{config['run']['seed']}"
        run = Run.create(given["out"] or free_folder(Path("runs") / name), config)
    _train(network, task, held_out, options, run, resume is not None, given["quiet"])


def _from_recipe(model: str, given: dict, own: dict) -> tuple[dict, str]:
    """Configuration of a new run and the recipe it is made of."""
    data, recipe, root = given["data"] or "digits", given["recipe"], given["data_root"]
    path = Path(recipe) if recipe and recipe.endswith(".toml") else recipe_path(model, data, recipe)
    group, hidden = given["forward_group"], given["hidden"]
    own["network"] |= {
        "hidden": parse_sizes(hidden) if hidden else None,
        "forward_group": int(group) if group is not None and group.isdigit() else group,
    }
    own["training"] |= {"seed": given["seed"], **{name: given[name] for name in _LEARNING}}
    config = merged(
        read_recipe(path),
        {
            "data": {
                "name": data, "dt_ms": _in_ms(given["dt"], "dt"), "validation": given["validation"],
                "held_out_speaker": given["held_out_speaker"],
            },
            **own,
            "run": {"model": model, "seed": given["seed"], "limit": given["limit"], "data_root": root and str(root)},
        },
    )  # fmt: skip
    order = config["network"].get("scheduler", "random")
    if given["noise"] is not None and order not in ("momentum", "mixed"):
        raise TrainingError(f"noise belongs to momentum order; leave it out for {order} order.")
    return config, path.name


def _refuse_changes(context: typer.Context) -> None:
    """A resumed run keeps its options: one that would be ignored is refused."""
    for name in context.params:
        if name not in _KEPT and context.get_parameter_source(name).name == "COMMANDLINE":
            raise TrainingError(f"--{name.replace('_', '-')} has no effect with --resume: a run keeps its options.")


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


def _in_ms(text: str | None, name: str) -> float | None:
    value = parse_time(text, name)
    return None if value is None else round(float(value) * 1e3, 12)
