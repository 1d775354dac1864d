"""Recipes and run configurations: from TOML and options to networks, tasks and training options."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

from brian2 import Hz, Quantity, ms, second

from ..models import SpikingGammaNetwork
from ..models.asynchronous_gamma.network import AsynchronousSpikingGamma
from .data import Cochlea, load, load_splits
from .errors import TrainingError
from .loop import TrainingOptions
from .tasks import Task, make_task, seconds

_RECIPES = Path(__file__).parent / "recipes"
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_NETWORK_TIMES = ("tau", "tau_theta", "read_from")


def parse_time(text: str | None, name: str = "time") -> Quantity | None:
    """Read a time such as ``1ms``, ``0.5 ms``, ``100us`` or ``2s``."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*([0-9.eE+-]+)\s*(us|ms|s)\s*", text)
    try:
        value = float(match.group(1)) * _UNITS[match.group(2)] if match else 0.0
    except ValueError:
        value = 0.0
    if not value > 0:
        raise TrainingError(f"{name} = '{text}' is no positive time; write for example 1ms, 100us or 0.5s.")
    return Quantity(value, dim=second.dim)


def parse_sizes(text: str) -> list[int]:
    """Read hidden layer sizes such as ``128,128``."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise TrainingError(f"hidden = '{text}': give positive numbers separated by commas, such as 128,128.")
    return [int(part) for part in parts]


def recipe_path(model: str, data: str, variant: str | None = None) -> Path:
    """Recipe file of a model and data set; the model's default where there is none."""
    stem = f"{model}-{Path(data).stem if '/' in data or '.' in data else data}"
    path = _RECIPES / f"{stem}{'-' + variant if variant else ''}.toml"
    if path.is_file():
        return path
    known = sorted(p.stem for p in _RECIPES.glob(f"{model}-*.toml"))
    if variant:
        raise TrainingError(f"There is no recipe '{path.stem}'; recipes for '{model}': {', '.join(known)}.")
    return _RECIPES / f"{model}-default.toml"


def read_recipe(path: Path) -> dict:
    """Content of a recipe file."""
    try:
        return tomllib.loads(Path(path).read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise TrainingError(f"{path} cannot be read: {error}.") from None


def merged(recipe: dict, overrides: dict) -> dict:
    """Recipe with the options given on top; ``None`` means not given."""
    config = {section: dict(values) for section, values in recipe.items()}
    for section, values in overrides.items():
        config.setdefault(section, {}).update({k: v for k, v in values.items() if v is not None})
    return config


def training_options(config: dict) -> TrainingOptions:
    """Training options of a configuration.

    Raises
    ------
    TrainingError
        If an entry is unknown.
    """
    known = {field.name for field in fields(TrainingOptions)}
    values = config.get("training", {})
    unknown = sorted(set(values) - known)
    if unknown:
        raise TrainingError(f"training.{unknown[0]} is unknown; known are {', '.join(sorted(known))}.")
    if config.get("run", {}).get("model") == "async":
        from .asynchronous.configuration import learning_of

        values = values | learning_of(config)
    return TrainingOptions(**values)


def encoder(config: dict) -> Cochlea:
    """Cochlear encoder of a configuration: the table ``[data.cochlea]``, times in ms and frequencies in Hz."""
    units = {"_ms": ms, "_hz": Hz}
    options = {}
    for key, value in config["data"].get("cochlea", {}).items():
        stem, ending = key[:-3], key[-3:]
        options[stem if ending in units else key] = value * units[ending] if ending in units else value
    try:
        return Cochlea(**options)
    except TypeError as error:
        raise TrainingError(f"[data.cochlea] holds an unknown entry: {error}.") from None


def load_tasks(config: dict, data_root=None, limit=None) -> tuple[Task, Task | None]:
    """Training and validation task of a configuration.

    A data set's name gives its training and validation part; a path is used whole for training, and validated on
    ``data.validation`` if that is given.
    """
    data = config["data"]
    name, dt, duration = data["name"], data["dt_ms"] * ms, data.get("duration_ms")
    duration = None if duration is None else duration * ms
    cochlea, copies = encoder(config), data.get("copies", 0)
    if data.get("validation"):
        held_out = load(data["validation"], data_root, "validation", cochlea=cochlea)
        archives = load(name, data_root, cochlea=cochlea, copies=copies), held_out
    elif Path(name).exists():
        archives = load(name, data_root, cochlea=cochlea, copies=copies), None
    else:
        speaker = data.get("held_out_speaker")
        archives = load_splits(name, data_root, held_out_speaker=speaker, cochlea=cochlea, copies=copies)
    train = make_task(archives[0], dt, duration, limit)
    if archives[1] is None:
        return train, None
    return train, make_task(archives[1], dt, seconds(train.events.n_steps * float(dt)), limit)


def evaluation_task(config: dict, name: str, dt: Quantity, data_root=None, limit=None) -> Task:
    """Validation part of a data set, or one archive whole, on the duration the run was trained with."""
    data = config["data"]
    speaker = data.get("held_out_speaker")
    archive = load(name, data_root, "validation", held_out_speaker=speaker, cochlea=encoder(config))
    return make_task(archive, dt, seconds(data["duration_ms"] * 1e-3), limit)


def build_network(config: dict, task: Task, seed: int, threads: int | None = None) -> SpikingGammaNetwork:
    """New network of a configuration, with as many inputs and outputs as the task needs."""
    from .asynchronous.configuration import build_async, gamma_order

    if config.get("run", {}).get("model") == "async":
        return build_async(config, task, seed, threads)
    options = dict(config.get("network", {}))
    order = gamma_order(options)
    kind = AsynchronousSpikingGamma if order else SpikingGammaNetwork
    hidden = options.pop("hidden")
    n_classes = options.pop("n_classes", task.n_classes)
    for name in _NETWORK_TIMES:
        if f"{name}_ms" in options:
            options[name] = options.pop(f"{name}_ms") * ms
    try:
        return kind(
            [task.events.n_units, *hidden, n_classes],
            dt=config["data"]["dt_ms"] * ms, seed=seed, threads=threads, **options, **order,
        )  # fmt: skip
    except TypeError as error:
        raise TrainingError(f"[network] holds an unknown entry: {error}.") from None
