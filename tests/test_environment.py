"""The conda environments ask for what pyproject.toml asks for, and the installed versions obey."""

import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
CONDA_NAMES = {"matplotlib-base": "matplotlib"}
CONDA_ONLY = {"python", "cxx-compiler", "make", "pip"}


def conda(name):
    """Requirements of an environment file, conda name to specifier, and its pip section."""
    file = yaml.safe_load((ROOT / name).read_text())
    plain, pip = {}, []
    for line in file["dependencies"]:
        if isinstance(line, dict):
            pip += line["pip"]
            continue
        package, specifier = re.fullmatch(r"([A-Za-z0-9_.-]+)(.*)", line).groups()
        assert package not in plain, f"{package} is listed twice"
        if re.match(r"=[^=]", specifier):  # conda's "=3.11" means any 3.11.x
            specifier = f"=={specifier[1:]}.*"
        plain[CONDA_NAMES.get(package, package)] = SpecifierSet(specifier)
    return file, plain, pip


def project(python):
    """Requirements of pyproject.toml on a Python version, test extra included."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = table["dependencies"] + table["optional-dependencies"]["test"]
    requirements = [Requirement(line) for line in lines]
    return {
        r.name: r.specifier
        for r in requirements
        if r.marker is None or r.marker.evaluate({"python_version": python, "extra": "test"})
    }, table


def test_environment_equals_pyproject():
    file, plain, pip = conda("environment.yml")
    wanted, table = project("3.11")
    assert {name: spec for name, spec in plain.items() if name not in CONDA_ONLY} == wanted
    assert plain.keys() >= CONDA_ONLY
    assert plain["python"] == SpecifierSet("==3.11.*")
    assert "3.11" in SpecifierSet(table["requires-python"])
    assert pip == ["-e ."]
    assert file["channels"] == ["conda-forge"]


def test_genn_is_mentioned_but_not_installed_by_default():
    text = (ROOT / "environment.yml").read_text()
    assert re.search(r"^\s*# .*environment-genn\.yml", text, re.M)
    assert not [line for line in text.splitlines() if "genn" in line.lower() and not line.lstrip().startswith("#")]


def test_genn_environment_pins_what_works():
    file, plain, pip = conda("environment-genn.yml")
    assert file["name"] == "brian2grad-genn"
    assert plain["python"] == SpecifierSet("==3.11.*")
    assert plain["brian2"] == SpecifierSet("==2.5.4.*")
    assert plain["numpy"] == SpecifierSet("<2")
    assert pip == ["brian2genn==1.7.0"]
    text = (ROOT / "environment-genn.yml").read_text()
    assert "GENN_PATH" in text
    assert "4.9.0" in text
    wanted, _ = project("3.11")
    shared = {n: s for n, s in plain.items() if n in wanted and n not in ("brian2", "numpy")}
    assert shared == {name: wanted[name] for name in shared}
    assert wanted.keys() - plain.keys() <= {"ruff"}


@pytest.mark.parametrize("name", sorted(project(f"{sys.version_info[0]}.{sys.version_info[1]}")[0]))
def test_installed_version_is_within_the_bounds(name):
    wanted, _ = project(f"{sys.version_info[0]}.{sys.version_info[1]}")
    assert importlib.metadata.version(name) in wanted[name]
