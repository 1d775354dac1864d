"""What the figures of the timing tasks share: points of a sweep that an interrupted run does not compute again."""

import json
from pathlib import Path

import numpy as np
from _style import OUTPUT, make

from brian2grad.training.data.storage import write_npz


class Points:
    """Results of single measurements, kept in a file until the figure is complete.

    Parameters
    ----------
    name : str
        Of the figure.
    out : path, optional
        The figure's folder.
    """

    def __init__(self, name, out=None):
        self.path = Path(OUTPUT if out is None else out) / f".{name}.points.npz"
        self.results = {}
        if self.path.is_file():
            with np.load(self.path) as file:
                self.results = dict(file)

    def __call__(self, measure, **parameters) -> dict:
        """``measure(**parameters)``, a dict of arrays, or what it returned in a run that was interrupted."""
        prefix = f"{measure.__name__} {json.dumps(parameters, sort_keys=True)} "
        found = {key.removeprefix(prefix): value for key, value in self.results.items() if key.startswith(prefix)}
        if found:
            return found
        result = {key: np.asarray(value) for key, value in measure(**parameters).items()}
        self.results |= {prefix + key: value for key, value in result.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_npz(self.path, self.results)
        return result


def make_from_points(name, simulate, plot, *, quick, out, replot):
    """As `make`, for a simulation ``simulate(quick, points)``."""
    points = Points(name, out)
    paths = make(name, lambda quick: simulate(quick, points), plot, quick=quick, out=out, replot=replot)
    points.path.unlink(missing_ok=True)
    return paths


def cosine(step, total):
    """Factor of the learning rate."""
    return 0.5 * (1 + np.cos(np.pi * step / total))
