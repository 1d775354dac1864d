"""What all figure scripts share: style, panel letters, data and picture files, command line options.

A script has ``simulate(quick)``, which returns arrays, and ``plot(data)``, which returns a figure; `make` runs one
after the other, with the arrays saved in between, so that a picture can be redrawn without its simulation. The script's
docstring is the caption and lies beside the pictures. A quick version says so in the picture, and claims nothing.
"""

from __future__ import annotations

import argparse
import inspect
import re
import time
from pathlib import Path

import matplotlib
import matplotlib.style
import numpy as np

from brian2grad.models.files import atomic, write_file
from brian2grad.training.data.storage import write_npz
from brian2grad.training.plots.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, STYLE_FILE
from brian2grad.training.runs import git_commit

HERE = Path(__file__).resolve().parent
OUTPUT = HERE / "output"
__all__ = ["BLUE", "GREEN", "GREY", "ORANGE", "PURPLE", "RED", "SKY", "label_panels", "make", "options", "run_script"]


def label_panels(axes, letters="ABCDEFGHIJKL", x=-0.16, y=1.04) -> None:
    """Write a bold letter at the upper left of each axes."""
    for ax, letter in zip(axes, letters, strict=False):
        draw = ax.text2D if hasattr(ax, "text2D") else ax.text
        draw(x, y, letter, transform=ax.transAxes, fontsize=10, fontweight="bold", va="bottom", ha="left")


def make(name, simulate, plot, *, quick=False, out=None, replot=False) -> list[Path]:
    """Simulate, save the arrays, draw, save the pictures.

    Parameters
    ----------
    name : str
        Of the files.
    simulate : callable
        ``simulate(quick)`` returns a dict of arrays.
    plot : callable
        ``plot(data)`` returns a Figure, or several by name.
    quick, replot : bool
        Small simulation; draw from the arrays saved before.
    out : path, optional
        Folder; ``figures/output`` by default.

    Returns
    -------
    list of Path
        A PNG and a PDF of each; the caption is written beside them, into ``NAME.md``.
    """
    out = OUTPUT if out is None else Path(out)
    out.mkdir(parents=True, exist_ok=True)
    archive = out / f"{name}.npz"
    if not replot:
        data = {key: np.asarray(value) for key, value in simulate(quick).items()}
        write_npz(archive, {**data, "quick": np.array(quick), "git": np.array(git_commit())})
    elif not archive.is_file():
        raise SystemExit(f"{archive} does not exist: run without --replot first.")
    with np.load(archive) as file:
        data = dict(file)
    with matplotlib.style.context(STYLE_FILE):
        drawn = plot(data)
        figures = drawn if isinstance(drawn, dict) else {name: drawn}
        for figure in figures.values() if data["quick"] else ():
            figure.text(0.5, 0.5, "quick version", fontsize=44, rotation=25, color=GREY, alpha=0.22, ha="center",
                        va="center", zorder=100)  # fmt: skip
        write_file(out / f"{name}.md", caption(plot, [*figures], bool(data["quick"])).encode())
        return [path for title, figure in figures.items() for path in save(figure, title, out)]


def caption(plot, titles, quick) -> str:
    """Docstring of the script in which `plot` stands; that of a quick version without its claim."""
    text = inspect.cleandoc(plot.__globals__.get("__doc__") or "")
    if quick:
        text = re.sub(r"\s*Claim:.*?(?=\n\n|\Z)", "", text, flags=re.DOTALL)
        text += "\n\nQuick version: a small simulation, which need not show what the full figure claims."
    return f"{text}\n\n" + " ".join(f"![{title}]({title}.png)" for title in titles) + "\n"


def save(figure, name, out) -> list[Path]:
    """Write PNG and PDF; a picture that is already there is replaced when the new one is complete."""
    paths = []
    for kind in ("png", "pdf"):
        path = Path(out) / f"{name}.{kind}"
        with atomic(path) as temporary:  # without a date the same data give the same file
            figure.savefig(temporary, format=kind, metadata={"CreationDate": None} if kind == "pdf" else None)
        paths.append(path)
    return paths


def options(description, *more) -> argparse.Namespace:
    """Read --quick, --out, --replot and `more` options, each (name, keyword arguments of add_argument)."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller simulation, same picture")
    parser.add_argument("--out", type=Path, default=None, help="folder to write to (figures/output)")
    parser.add_argument("--replot", action="store_true", help="draw from the arrays saved before")
    for name, arguments in more:
        parser.add_argument(name, **arguments)
    return parser.parse_args()


def run_script(main, *more) -> None:
    """Run a script's `main` with the command line's options and say what was written."""
    chosen = vars(options(main.__globals__["__doc__"], *more))
    began = time.perf_counter()
    paths = main(**chosen)
    for path in paths:
        print(path)
    print(f"{time.perf_counter() - began:.0f} s")
