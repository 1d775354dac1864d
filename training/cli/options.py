"""Options that several commands share: types, choices, help texts and the panels they stand in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..configuration import schema
from ..errors import TrainingError

RECIPE = "the recipe's"
TRAINED = "as trained"
_ALWAYS = ("resume", "threads", "quiet", "verbose", "version")  # options that change no result


def option(*names, panel: str, default=True, within: tuple[int, int] | None = None, **more):
    """Option in a panel, with what is shown as its default; a number must lie `within` two bounds."""
    if within is not None:
        more["callback"] = _whole_number(*within)
    return typer.Option(*names, rich_help_panel=panel, show_default=default, **more)


def _whole_number(least: int, most: int):
    def check(param: typer.CallbackParam, value: int | None):
        if value is not None and not least <= value <= most:
            raise TrainingError(f"{param.name} = {value}: give a whole number from {least} to {most}.")
        return value

    return check


def recipe(help: str, panel: str, *names, **more):
    return option(*names, panel=panel, default=RECIPE, help=help, **more)


def refuse_changes(context: typer.Context, kept=()) -> None:
    """Refuse options of a resumed run that would be ignored: it keeps those that it was made with, but for `kept`."""
    for name in context.params:
        if name not in (*_ALWAYS, *kept) and context.get_parameter_source(name).name == "COMMANDLINE":
            raise TrainingError(f"--{name.replace('_', '-')} has no effect with --resume: a run keeps its options.")


DATA, NETWORK, ORDER, LEARNING = "Data", "Network", "Order of spikes", "Learning"
RUN, OUTPUT = "Run", "Output"

# -- data ------------------------------------------------------------------------------------------------------

Data = Annotated[
    str | None,
    option(panel=DATA, default="digits", help="Name of a data set, or path of an archive used whole."),
]
DataRoot = Annotated[Path | None, option(panel=DATA, default="BRIAN2GRAD_DATA", help="Folder of the data sets.")]
Validation = Annotated[str | None, option(panel=DATA, help="Archive to validate on, or a fraction such as 0.2.")]
Speaker = Annotated[str | None, option(panel=DATA, help="Validate on this speaker (speech data).")]
Limit = Annotated[int | None, option(panel=DATA, default="all", within=(1, 10**9), help="Use only the first samples.")]
ZeroTime = Annotated[
    bool | None,
    option("--zero-time", panel=DATA, default=RECIPE, help="Subtract the first time of each sample from its times."),
]
Step = Annotated[str | None, recipe("Time step, such as 1ms.", DATA)]

# -- network ---------------------------------------------------------------------------------------------------

Hidden = Annotated[str | None, recipe("Hidden layers, such as 128,128 or 16c5-p2-32c3-p2-128.", NETWORK)]
Scheduler = Annotated[schema.Scheduler | None, recipe("Which waiting spikes go first.", ORDER)]
Group = Annotated[str | None, recipe("Neurons per forward step, or all.", ORDER)]
Noise = Annotated[float | None, recipe("Noise of momentum order.", ORDER)]

# -- learning --------------------------------------------------------------------------------------------------

Optimiser = Annotated[schema.Optimiser | None, recipe("Optimiser.", LEARNING)]
Rate = Annotated[float | None, recipe("Learning rate.", LEARNING)]
Activity = Annotated[float | None, recipe("Penalty on activity: fewer spikes.", LEARNING)]
Epochs = Annotated[int | None, recipe("Passes over the data.", LEARNING)]
Batch = Annotated[int | None, recipe("Samples per update.", LEARNING)]
Seed = Annotated[
    int,
    option(panel=LEARNING, within=(0, 2**32 - 1), help="Seed of initial weights, order of samples and augmentation."),
]

# -- run -------------------------------------------------------------------------------------------------------

Recipe = Annotated[
    str | None, option(panel=RUN, default="the data set's", help="Variant of the recipe (e.g. sparse), or a TOML file.")
]
Show = Annotated[bool, option("--show-recipe", panel=RUN, help="Print what would be run and stop.")]
Threads = Annotated[
    int | None, option(panel=RUN, default="all cores", within=(1, 256), help="Threads of the compiled engine.")
]
Out = Annotated[Path | None, option(panel=RUN, default="runs/MODEL-DATA-seedN", help="Run folder to write.")]
Resume = Annotated[Path | None, option(panel=RUN, help="Run folder to go on with; its options are kept.")]
Workers = Annotated[
    int | None, option(panel=RUN, within=(1, 10_000), help="Share the work among processes here (dask).")
]
Cluster = Annotated[
    str | None, option(panel=RUN, metavar="ADDRESS", help="Share it on a running dask scheduler, tcp://HOST:8786.")
]

# -- of a run --------------------------------------------------------------------------------------------------

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder written by train.")]
RunData = Annotated[
    str | None, option(panel=DATA, default="the run's own", help="Data set (its validation part) or archive.")
]
RunStep = Annotated[str | None, option(panel=DATA, default=TRAINED, help="Time step other than the trained one.")]
RunScheduler = Annotated[
    schema.Scheduler | None, option(panel=ORDER, default=TRAINED, help="Which waiting spikes go first.")
]
RunGroup = Annotated[str | None, option(panel=ORDER, default=TRAINED, help="Neurons per forward step, or all.")]
RunNoise = Annotated[float | None, option(panel=ORDER, default=TRAINED, help="Noise of momentum order.")]
Stop = Annotated[
    str,
    option("--stop", panel=ORDER, help="async: drained, first-output, or a number of forward steps after it."),
]
RunSeed = Annotated[
    int | None, option(panel=ORDER, default=TRAINED, within=(0, 2**32 - 1), help="Seed of the random order.")
]
Device = Annotated[
    Literal["runtime", "cpp_standalone", "genn"] | None,
    option(panel=RUN, default="runtime", help="Device of Brian 2."),
]
