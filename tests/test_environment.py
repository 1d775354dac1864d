"""The conda environments ask for what pyproject.toml asks for, and the installed versions obey."""

import importlib.metadata
import importlib.util
import os
import re
import subprocess
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


def test_conda_recipe_runs_with_what_pyproject_asks_for():
    recipe = yaml.safe_load((ROOT / "packaging" / "conda" / "recipe.yaml").read_text())
    plain = {}
    for line in recipe["requirements"]["run"]:
        name, _, specifier = line.partition(" ")
        plain[CONDA_NAMES.get(name, name)] = SpecifierSet(specifier)
    wanted, table = project("3.12")
    test = {Requirement(line).name for line in table["optional-dependencies"]["test"]}
    assert plain.pop("python") == SpecifierSet(">=3.12")
    assert {n: s for n, s in plain.items() if n not in CONDA_ONLY} == {n: s for n, s in wanted.items() if n not in test}
    assert recipe["context"]["version"] == table["version"]
    entry = recipe["build"]["python"]["entry_points"][0]
    assert tuple(entry.split(" = ")) in table["scripts"].items()


def test_workflow_tests_the_oldest_and_the_newest():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    rows = workflow["jobs"]["test"]["strategy"]["matrix"]["include"]
    _, table = project("3.11")
    for row in rows:
        wanted = Requirement(row["brian2"]).specifier
        bound = project(row["python"])[0]["brian2"]
        known = [version for version in ("2.9.0", "2.10.1", "2.11.0") if version in wanted]
        assert known, row
        assert all(version in bound for version in known), row
        assert row["python"] in SpecifierSet(table["requires-python"])
    assert {"3.11", "3.13"} <= {row["python"] for row in rows}
    assert any(row["os"].startswith("macos") for row in rows)
    extras = {name for job in workflow["jobs"].values() for name in re.findall(r"\[([a-z,]+)\]", str(job))}
    known = set(table["optional-dependencies"])
    assert {name for several in extras for name in several.split(",")} <= known | {"main"}


def test_genn_without_its_folder_is_one_line():
    of_make = {"GENN_PATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    environment = {name: value for name, value in os.environ.items() if name not in of_make}
    done = subprocess.run(["make", "genn"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout.strip() == (
        "GENN_PATH is not set: let it name the folder of GeNN 4, the one with bin/genn-buildmodel.sh"
    )


def test_genn_requirements_are_those_of_the_environment():
    spec = importlib.util.spec_from_file_location("genn_environment", ROOT / ".ci" / "genn.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    _, plain, pip = conda("environment-genn.yml")
    made = {r.name: r.specifier for r in map(Requirement, module.requirements())}
    assert made == {n: s for n, s in plain.items() if n not in CONDA_ONLY} | {"brian2genn": SpecifierSet("==1.7.0")}
    assert pip == ["brian2genn==1.7.0"]
