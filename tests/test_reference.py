"""The reference names everything public, and everything public says what it takes, gives and refuses."""

import inspect
import re
from pathlib import Path

import pytest

import brian2grad

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "reference" / "api.md").read_text()
LISTED = re.findall(r"^   (\w[\w.]*)$", PAGE, re.MULTILINE)
PUBLIC = [name for name in brian2grad.__all__ if name != "__version__"]
UNSAID = {"level", "origin"}  # of interest to the library alone
SECTION = re.compile(r"^(Parameters|Attributes|Returns|Yields|Raises|References)\n-+$", re.MULTILINE)
QUANTITIES = {"dt", "duration", "tau", "tau_m", "tau_theta", "read_from", "tau0", "tau1"}


def found(path):
    value = brian2grad
    for part in path.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            value = __import__(f"{value.__name__}.{part}", fromlist=["_"])
    return value


def parameters(value):
    """Names that a call takes, as far as a signature says."""
    if inspect.isclass(value) and issubclass(value, Exception):
        return []
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    try:
        given = inspect.signature(value).parameters.values()
    except ValueError:
        return []
    return [p.name for p in given if p.kind not in kinds and p.name not in UNSAID and not p.name.startswith("_")]


def sections(value):
    """Sections of a docstring by title; what stands before them under ``""``."""
    parts = SECTION.split(inspect.getdoc(value) or "")
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_in_the_reference(name):
    assert LISTED.count(name) == 1


@pytest.mark.parametrize("name", LISTED)
def test_a_docstring_names_every_parameter(name):
    value = found(name)
    if not callable(value) or inspect.isclass(value) is False and not inspect.isfunction(value):
        return  # a value, such as exact_memory
    said = sections(value)
    assert said[""].strip(), name
    text = said.get("Parameters", "") + said.get("Attributes", "")
    for parameter in parameters(value):
        assert re.search(rf"^[\w, *]*\b{parameter}\b", text, re.MULTILINE), f"{name}: {parameter}"


@pytest.mark.parametrize("name", LISTED)
def test_a_function_says_what_it_returns_and_refuses(name):
    value = found(name)
    if not inspect.isfunction(value):
        return
    said, source = sections(value), inspect.getsource(value)
    if re.search(r"^    return \w", source, re.MULTILINE):
        assert "Returns" in said or "Yields" in said, name
    if re.search(r"^ +raise (?!RuntimeError)", source, re.MULTILINE):
        assert "Raises" in said, name


@pytest.mark.parametrize("name", LISTED)
def test_times_carry_their_unit(name):
    text = "".join(sections(found(name)).get(title, "") for title in ("Parameters", "Attributes"))
    for line in re.findall(r"^([\w, ]+ : .*)$", text, re.MULTILINE):
        names, kind = line.split(" : ", 1)
        if set(names.split(", ")) & QUANTITIES and "Quantity" in kind:
            assert "second" in kind, f"{name}: {line}"
