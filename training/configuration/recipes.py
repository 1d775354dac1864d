"""Recipes, and what is typed on the command line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from brian2 import Quantity, second

from ..errors import TrainingError

_RECIPES = Path(__file__).parents[1] / "recipes"
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
        recipe = tomllib.loads(Path(path).read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path} cannot be read: {error}.") from None
    for name, value in recipe.items():
        if not isinstance(value, dict):
            raise TrainingError(f"{path}: {name} = {value!r} must be a section, [{name}].")
    return recipe


def merged(recipe: dict, overrides: dict) -> dict:
    """Recipe with the options given on top; ``None`` means not given."""
    config = {section: dict(values) for section, values in recipe.items()}
    for section, values in overrides.items():
        config.setdefault(section, {}).update({k: v for k, v in values.items() if v is not None})
    return config
