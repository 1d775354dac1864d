"""README, CONTRIBUTING and docs/: code runs and prints what stands below it, commands and links exist."""

import os
import re
import runpy
import shlex
import sys

import matplotlib
import pytest
import typer
from pages import CONTRIBUTING, DOCS, README, ROOT, WRITTEN, commands_of

from brian2grad.training.cli.main import app

PAGES = [path for path in WRITTEN if "```python" in path.read_text()]
TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))
# They train, fit or compile for longer than a few seconds.
LONG = {"yin_yang", "without_layers", "online", "fit_recording", "asynchronous", "silent_neurons", "own_events"}
RUN_PAGE = runpy.run_path(str(DOCS / "run_page.py"))
run_page, pictures_of, BLOCK = RUN_PAGE["run_page"], RUN_PAGE["pictures_of"], RUN_PAGE["BLOCK"]
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def marked(page):
    return pytest.param(page, id=page.stem, marks=[pytest.mark.long] if page.stem in LONG else [])


@pytest.mark.parametrize("page", [marked(page) for page in PAGES])
def test_code_of_a_page(page, tmp_path, monkeypatch):
    matplotlib.use("Agg")
    monkeypatch.syspath_prepend(ROOT / "figures")
    try:
        for printed, expected in run_page(page, tmp_path):
            assert printed == expected or (page == README and "dL/ddelay += kappa" in printed)
    finally:
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")
    for name in pictures_of(page):
        assert (tmp_path / name).stat().st_size > 5000


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_ends_in_a_picture(page):
    text = page.read_text()
    assert len(pictures_of(page)) == 1
    assert "savefig" in BLOCK.findall(text)[-1][0]


@pytest.mark.parametrize("page", [page for page in WRITTEN if commands_of(page)], ids=lambda path: path.stem)
def test_commands_of_a_page_exist(page):
    for command in commands_of(page):
        words, found = shlex.split(command.replace("[", " ").replace("]", " "))[1:], typer.main.get_command(app)
        while hasattr(found, "commands") and words and not words[0].startswith("-") and words[0].islower():
            assert words[0] in found.commands, command
            found = found.commands[words.pop(0)]
        known = {name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)}
        asked = {word.split("=")[0] for word in words if word.startswith("--")}
        assert asked <= known | {"--help"}, command


@pytest.mark.parametrize("page", WRITTEN, ids=lambda path: path.stem)
def test_links_of_a_page_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        if not target.startswith(("output/", "gallery/")):  # made by `make docs`
            assert os.path.exists(page.parent / target), target


def test_every_claim_of_the_readme_names_what_checks_it():
    text = README.read_text()
    rows = [row.split(" | ") for row in re.findall(r"^\| (.*) \|$", text.split("|---|---|---|")[1], re.MULTILINE)]
    assert len(rows) >= 8
    source = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for claim, command, test in rows:
        for script in re.findall(r"`python ([^`\s]+)", command):
            assert (ROOT / script).is_file(), claim
        paths, names = re.findall(r"`(tests/[^`]+)`|\]\(([^)]+)\)", test), re.findall(r"`(test_\w+)`", test)
        assert paths or names, claim
        assert all((ROOT / "".join(path)).exists() for path in paths), claim
        assert all(f"def {name}(" in source for name in names), claim


def test_the_example_of_the_readme_is_short_and_the_page_one_screen():
    text = README.read_text()
    assert len(BLOCK.findall(text)) == 1
    assert len(BLOCK.findall(text)[0][0].splitlines()) <= 20
    assert len(text.splitlines()) <= 75


def test_every_error_text_of_troubleshooting_is_in_the_source():
    text = (DOCS / "reference" / "troubleshooting.md").read_text()
    quoted = re.findall(r"^\| `([^`]{15,})` \|", text, re.MULTILINE)
    source = "".join(
        re.sub(r'"\n\s+f?"', "", path.read_text())
        for folder in ("equations", "models", "training")
        for path in (ROOT / folder).rglob("*.py")
    )
    assert len(quoted) > 15
    for fragment in quoted:
        assert fragment in source


def test_the_page_on_asynchronous_networks_is_among_them():
    assert DOCS / "asynchronous.md" in PAGES


def test_contributing_adds_each_kind_of_thing_in_a_few_lines():
    text = CONTRIBUTING.read_text()
    titles = re.findall(r"^## To add an? (.*)$", text, re.MULTILINE)
    assert titles == ["neuron", "scheduler", "gradient", "data set", "figure"]
    blocks = [code.strip().splitlines() for code, _ in BLOCK.findall(text)]
    assert len(blocks) >= len(titles)
    assert max(map(len, blocks)) <= 30


def test_the_map_names_every_room():
    text = CONTRIBUTING.read_text().split("## The map")[1].split("## To add")[0]
    packages = {path.parent for folder in ("models", "training") for path in (ROOT / folder).rglob("__init__.py")}
    for package in packages:
        assert f"{package.name}/" in text, package


def test_every_test_that_keeps_a_promise_exists():
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "reliability.md").read_text()))
    there = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert len(named) > 30
    assert named <= there, named - there
