"""Recipes and configurations: all that are shipped pass, and the documentation knows every entry."""

import inspect
import tomllib
from pathlib import Path

import pytest

from brian2grad import SpikingGammaNetwork
from brian2grad.training.asynchronous.configuration import AsyncConfiguration
from brian2grad.training.configuration.schema import Section
from brian2grad.training.exact.configuration import ExactConfiguration
from brian2grad.training.gamma.configuration import GammaConfiguration

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "training" / "recipes").glob("*.toml"))
KINDS = {"gamma": GammaConfiguration, "async": AsyncConfiguration, "exact": ExactConfiguration}


def entries(section):
    """Names of all entries of a section and those below it."""
    for name, field in section.model_fields.items():
        yield name
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from entries(field.annotation)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_pass(path):
    KINDS[path.stem.split("-")[0]].read(tomllib.loads(path.read_text()), path.name)


@pytest.mark.parametrize("kind", KINDS.values())
def test_the_documentation_knows_every_entry(kind):
    text = (ROOT / "docs" / "configuration.md").read_text()
    sections = set(kind.model_fields)
    for name in entries(kind):
        assert f"| `{name}` |" in text or (name in sections and f"[{name}]" in text), name


def test_entries_of_the_network_are_arguments_of_the_network():
    known = set(inspect.signature(SpikingGammaNetwork).parameters) | {"hidden", "n_classes"}
    network = GammaConfiguration.model_fields["network"].annotation
    order = set(network.__mro__[1].model_fields)
    assert {name.removesuffix("_ms") for name in set(network.model_fields) - order} <= known
