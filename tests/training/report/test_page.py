"""The page about a run, as a browser shows it: nothing from elsewhere, pictures grow, two runs side by side."""

import re

import numpy as np
import pytest
from browser import ask, needs_browser

from brian2grad.training.report.page import fill
from brian2grad.training.report.pictures import confusion_figure, image, latency_figure, layers_figure, svg
from brian2grad.training.report.summary import differing

RUN = {
    "data_name": "own.npz", "seen": False, "numbers": [("accuracy", "81.00%")], "warning": "", "history": "",
    "confusion": svg(confusion_figure(np.array([[3, 1, 0], [0, 4, 0]]))), "confused": [(0, 1, 1)],
    "layers": svg(layers_figure(np.ones((5, 2)), [4, 3])),
    "latency": svg(latency_figure(np.array([[1.0, 1.0], [2.0, np.nan]]))),
    "energy": [("as additions", "2. nJ per sample")], "commands": "brian2grad evaluate RUN", "config": "K = 5",
}  # fmt: skip
ROW = "const sections = [...document.querySelector('.runs').children].map(e => e.getBoundingClientRect());"
ZOOM = """
const picture = document.querySelector('.picture'), large = () => picture.classList.contains('large');
const small = picture.getBoundingClientRect().width, found = [];
picture.click(); found.push(large(), picture.getBoundingClientRect().width > 1.5*small);
document.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'})); found.push(large());
picture.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true})); found.push(large());
"""
OVERFLOW = "document.documentElement.scrollWidth <= window.innerWidth"


@pytest.fixture
def page(tmp_path):
    """A page about two runs, one of them evaluated on what it was trained on."""
    picture = ("sample 3: 1, answered 0", image(b"\x89PNG\r\n"))
    first = RUN | {"name": "first", "samples": [], "settings": {"network": {"K": 5, "theta": 1.0}}}
    second = RUN | {"name": "second", "seen": True, "samples": [picture]}
    second |= {"settings": {"network": {"K": 9, "theta": 1.0}}}
    (tmp_path / "page.html").write_text(fill([first, second], "0.1.0", "2026-01-01"))
    return tmp_path / "page.html"


def test_what_differs_between_two_configurations():
    first, second = {"a": 1, "b": {"c": 2, "d": [3]}}, {"a": 1, "b": {"c": 4, "d": [3], "e": "x"}}
    assert differing([first, second]) == [("b.c", ["2", "4"]), ("b.e", ["not set", "x"])]
    assert differing([first, first]) == differing([first]) == []


def test_the_page_needs_nothing_from_elsewhere(page):
    text = page.read_text()
    assert not re.search(r"<(link|script)[^>]*(src|href)=", text)
    assert {address.split(":")[0] for address in re.findall(r'src="([^"]*)"', text)} == {"data"}


def test_samples_of_training_are_named_as_such(page):
    text = page.read_text()
    assert text.count("this measures what was memorised") == 1
    assert text.count("that it was not trained on") == 1
    assert "<td>network.K</td><td>5</td><td>9</td>" in text
    assert "network.theta" not in text


@needs_browser
@pytest.mark.parametrize(("width", "beside"), [(1500, True), (500, False)])
def test_a_browser_opens_the_page(page, tmp_path, width, beside):
    script = f"{ROW} {ZOOM} return [sections[0].top === sections[1].top, found, {OVERFLOW}];"
    (stands_beside, zoom, fits), console = ask(page, script, tmp_path, width)
    assert stands_beside == beside
    assert zoom[0]
    assert zoom[2:] == [False, True]
    assert zoom[1] or not beside
    assert fits
    assert console == []
