"""Recipes, and what is typed on the command line."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from pathlib import Path

from brian2 import Quantity, second

from ...models.errors import NetworkError
from ...models.topology.layers import parse_layers
from ..errors import TrainingError
from ..runs import read_toml

_RECIPES = Path(__file__).parents[1] / "recipes"
MOST_WEIGHTS = 2**28  # with gradient and moments of the optimiser 4 GiB in single precision
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def parse_time(text: str | None, name: str = "time") -> Quantity | None:
    """Read a time such as ``1ms``, ``0.5 ms``, ``100us`` or ``2s``."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*([0-9.eE+-]+)\s*(us|ms|s)\s*", text)
    try:
        value = float(match.group(1)) * _UNITS[match.group(2)] if match else 0.0
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise TrainingError(f"{name} = '{text:.80}' is no positive time; write for example 1ms, 100us or 0.5s.")
    return Quantity(value, dim=second.dim)


def parse_sizes(text: str) -> list[int | str]:
    """Read hidden layers such as ``128,128``, or ``16c5-p2-32c3-p2-128`` (see `parse_layer`)."""
    parts = [part.strip() for part in text.split("-" if "-" in text else ",") if part.strip()]
    sizes = [whole_number(part) for part in parts]
    if sizes and all(sizes):
        return sizes
    try:
        layers = [str(layer) for layer in parse_layers(parts)]
    except NetworkError:
        layers = []
    if not layers or not text.isascii():
        raise TrainingError(
            f"hidden = '{text:.80}': give positive numbers separated by commas, such as 128,128, or layers separated "
            "by dashes, such as 16c5-p2-128."
        )
    return [int(layer) if layer.isdigit() else layer for layer in layers]


def whole_number(text) -> int | None:
    """Number that a text of plain digits means, ``None`` of any other text: ``²`` and ``٣`` are digits, too."""
    text = str(text)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def check_size(sizes, copies: int = 1) -> None:
    """Refuse a network whose weights would not fit into memory, before they are made."""
    weights = copies * sum(a * b for a, b in pairwise(sizes))
    if weights > MOST_WEIGHTS:
        raise TrainingError(
            f"hidden = {list(sizes[1:-1])}: {weights} weights are too many; at most {MOST_WEIGHTS} fit."
        )


def recipe_path(model: str, data: str, variant: str | None = None, default: str | None = None) -> Path:
    """Recipe file of a model and data set; the default of the model, or that of `default`, where there is none."""
    stem = f"{model}-{Path(data).stem if '/' in data or '.' in data else data}"
    path = _RECIPES / f"{stem}{'-' + variant if variant else ''}.toml"
    if path.is_file():
        return path
    known = sorted(p.stem for p in _RECIPES.glob(f"{model}-*.toml"))
    if variant:
        raise TrainingError(f"There is no recipe '{path.stem}'; recipes for '{model}': {', '.join(known)}.")
    return _RECIPES / f"{default or model}-default.toml"


def read_recipe(path: Path) -> dict:
    """Content of a recipe file."""
    recipe = read_toml(path, TrainingError)
    for name, value in recipe.items():
        if not isinstance(value, dict):
            raise TrainingError(f"{path}: {name} = {value!r:.80} must be a section, [{name}].")
    return recipe


def merged(recipe: dict, overrides: dict) -> dict:
    """Recipe with the options given on top; ``None`` means not given."""
    config = {section: dict(values) for section, values in recipe.items()}
    for section, values in overrides.items():
        config.setdefault(section, {}).update({k: v for k, v in values.items() if v is not None})
    return config
