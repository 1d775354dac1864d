"""A fit on disk: the folder of a run, complete after every stage."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from brian2 import second

from ...models.files import remove_leftovers, write_file
from ...models.storage import load_network, save_network
from ..data.errors import DataError
from ..data.recordings import RecordingArchive, read_recording
from ..errors import RunError, TrainingError
from ..runs import Run, provenance
from .configuration import FitConfiguration
from .fitting import Fit, State
from .neurons.origin import model_of
from .options import FitOptions
from .result import FitResult
from .target import Scale, is_current

KIND = "fit"
ERRORS = "error"


def is_fit(run: Run) -> bool:
    """Whether a run is a fit."""
    section = run.config.get("run", {})
    return isinstance(section, dict) and section.get("model") == KIND


@dataclass
class FitRun:
    """A fit and the folder it is written to; ``config.toml``, ``weights.h5``, ``metrics.jsonl``, ``summary.json``."""

    run: Run
    fit: Fit

    @classmethod
    def create(
        cls, folder, origin, data, seed=1, until=None, threads=None, options: FitOptions | None = None
    ) -> FitRun:
        """Begin a fit.

        Parameters
        ----------
        folder : path-like
        origin : str
            A ready neuron, or ``MODEL.py:OBJECT``.
        data : path-like
            Recording archive.
        seed, until, threads, options
            As in `fit`; `until` in seconds.
        """
        Run.check_new(folder)
        options = options or FitOptions()
        found = cls._fit(origin, read_recording(data), seed, until, threads, options)
        config = {
            "run": {"model": KIND, "neuron": origin, "seed": seed},
            "data": {"name": str(Path(data).resolve()), "until_s": until},
            "fit": asdict(options),
        }
        return cls(Run.create(folder, config), found)

    @classmethod
    def resume(cls, folder, threads=None) -> FitRun:
        """Go on with a fit, after its last finished stage."""
        run = Run.open(folder)
        if not is_fit(run):
            raise RunError(f"{folder} is no fit, says its config.toml; go on with it by `train`.")
        remove_leftovers(run.folder)
        config, state = _checked(run), None
        if run.weights.is_file():
            stored, arrays = load_network(run.weights, KIND)
            with described(run.weights):
                names = stored["names"]
                rows = [zip(names, map(float, row), strict=True) for row in arrays["candidates"]]
                values = [{name: value for name, value in row if not np.isnan(value)} for row in rows]
                state = State(int(stored["stages"]), values, run.metrics()[: stored["stages"]])
        own, data = config.run, config.data
        options = config.options(run.folder / "config.toml")
        found = cls._fit(own.neuron, data_of(run), own.seed, data.until_s, threads, options, state)
        return cls(run, found)

    @staticmethod
    def _fit(origin, recording, seed, until, threads, options, state=None) -> Fit:
        model = model_of(origin, is_current(recording.input_unit))
        return Fit(model, recording, seed, None if until is None else until * second, options, threads, state)

    def proceed(self, progress=None) -> FitResult:
        """Do what is left of the fit, writing every stage; returns the result."""
        with self.run.held():  # two processes would undo each other's stages
            while not self.fit.done:
                record = self.fit.advance()
                self._save(self.fit.result())
                if progress is not None:
                    progress(record)
        return self.fit.result(self.run.config["run"]["neuron"])

    def _save(self, result: FitResult) -> None:
        state = self.fit.state
        names = sorted(result.values)
        config = {
            "neuron": self.run.config["run"]["neuron"], "current": self.fit.target.current, "scale": self.fit.scale,
            "seed": self.fit.seed, "stages": state.stages, "names": names,
            "units": {e.name: e.unit for e in result.estimates},
        }  # fmt: skip
        parameters = {name: np.array([value]) for name, value in result.values.items()}
        parameters |= {f"{ERRORS}.{name}": np.array([value]) for name, value in result.errors.items()}
        parameters["candidates"] = np.array([[v.get(n, np.nan) for n in names] for v in state.values])
        try:
            lines = "".join(json.dumps(record) + "\n" for record in state.records)
            summary = {"epochs": state.stages, **state.records[-1], "parameters": report(result), **provenance()}
            write_file(self.run.folder / "summary.json", json.dumps(summary, indent=2).encode())
            write_file(self.run.folder / "metrics.jsonl", lines.encode())
            save_network(self.run.weights, KIND, config, parameters)  # last: it vouches for the rest
        except OSError as error:
            raise RunError(
                f"{self.run.folder} cannot be written ({error.strerror}); free space, then --resume."
            ) from None


def report(result: FitResult) -> list[dict]:
    """Parameters as plain numbers; an infinite or unknown error is null."""
    rows = [asdict(e) for e in result.estimates]
    for row in rows:
        if row["error"] is None or not np.isfinite(row["error"]):
            row["error"] = None
    return rows


def load_fit(folder) -> FitResult:
    """The result of a run.

    Raises
    ------
    NetworkError, RunError, TrainingError
    """
    run = Run.open(folder)
    if not is_fit(run):
        raise RunError(f"{folder} is no fit.")
    if not run.weights.is_file():
        raise RunError(f"{folder} has no weights.h5: the fit was stopped in its first stage; begin anew with --resume.")
    config, arrays = load_network(run.weights, KIND)
    with described(run.weights):
        model = model_of(config["neuron"], bool(config["current"]))
        values = {name: float(arrays[name].item()) for name in config["names"] if name in arrays}
        errors = {n.partition(".")[2]: float(a.item()) for n, a in arrays.items() if n.startswith(f"{ERRORS}.")}
        scale = config["scale"] and Scale(*map(float, config["scale"][:2]), *map(bool, config["scale"][2:]))
        missing = sorted(set(model.start) - set(values))
        if missing:
            raise TrainingError(
                f"{run.weights} has no value of '{missing[0]}'; the model is not the one that was fitted."
            )
        records = run.metrics()[: config["stages"]]
        return FitResult(model, values, errors, scale, records, int(config["seed"]), config["neuron"])


@contextlib.contextmanager
def described(path):
    """Whatever is missing in a damaged file is one line about it."""
    try:
        yield
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{path} describes no fit ({error!r:.100}); take it from a copy of the run.") from None


def data_of(run: Run) -> RecordingArchive:
    """The recording that a run was fitted to; an error names the configuration that names it."""
    try:
        return read_recording(_checked(run).data.name)
    except DataError as error:
        raise RunError(f"{run.folder / 'config.toml'}: data.name: {error}") from None


def _checked(run: Run) -> FitConfiguration:
    return FitConfiguration.read(run.config, str(run.folder / "config.toml"))
