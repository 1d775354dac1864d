"""The page itself: one file with everything in it, no network needed."""

from __future__ import annotations

from pathlib import Path

import jinja2

from .summary import differing


def fill(runs: list[dict], version: str, date: str) -> str:
    """HTML of the page; what is said of every run, and what differs between two, stands in ``page.html.jinja``."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("page.html.jinja").render(
        runs=runs, differing=differing([run["settings"] for run in runs]), version=version, date=date
    )
