"""The code of CONTRIBUTING and of the pages under docs/ runs as it stands and prints what stands below it."""

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS, CONTRIBUTING = ROOT / "docs", ROOT / "CONTRIBUTING.md"
PAGES = sorted(path for path in (CONTRIBUTING, *DOCS.glob("*.md")) if "```python" in path.read_text())
BLOCK = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_code_of_a_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # what a page writes
    monkeypatch.syspath_prepend(ROOT / "figures")
    names = {"__name__": page.stem}
    for code, expected in BLOCK.findall(page.read_text()):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(page), "exec"), names)
        assert printed.getvalue() == expected


def test_the_page_on_asynchronous_networks_is_among_them():
    assert DOCS / "asynchronous.md" in PAGES


def test_contributing_adds_each_kind_of_thing_in_a_few_lines():
    text = CONTRIBUTING.read_text()
    titles = re.findall(r"^## To add an? (.*)$", text, re.MULTILINE)
    assert titles == ["neuron", "scheduler", "gradient", "data set", "figure"]
    blocks = [code.strip().splitlines() for code, _ in BLOCK.findall(text)]
    assert len(blocks) == len(titles)
    assert max(map(len, blocks)) <= 30


def test_the_map_names_every_room():
    text = CONTRIBUTING.read_text().split("## The map")[1].split("## To add")[0]
    packages = {path.parent for folder in ("models", "training") for path in (ROOT / folder).rglob("__init__.py")}
    for package in packages:
        assert f"{package.name}/" in text, package
