"""A run on disk: a folder that is complete after every epoch and readable without brian2grad.

``config.toml`` what was asked for, ``weights.h5`` the network, ``checkpoint.h5`` everything needed to go on bit for
bit, ``metrics.jsonl`` one record per epoch, ``summary.json`` the last record and where it came from.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import subprocess
import tomllib
from pathlib import Path

import h5py
import numpy as np
import tomli_w

from ..models.files import atomic
from .errors import RunError


class Run:
    """A run folder.

    Parameters
    ----------
    folder : path
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    @classmethod
    def create(cls, folder, config: dict) -> Run:
        """Make a new run folder with its configuration.

        Raises
        ------
        RunError
            If there is a run already, or the folder cannot be written.
        """
        run = cls(folder)
        if (run.folder / "config.toml").exists():
            raise RunError(f"{folder} holds a run already; choose another --out, or go on with --resume {folder}.")
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
            run._write("config.toml", tomli_w.dumps(without_none(config)).encode())
        except OSError as error:
            raise RunError(f"{folder} cannot be written ({error.strerror}); choose another --out.") from None
        return run

    @classmethod
    def open(cls, folder) -> Run:
        """Open an existing run folder."""
        run = cls(folder)
        if not (run.folder / "config.toml").is_file():
            raise RunError(f"{folder} is no run: it has no config.toml. Give the folder that `train` wrote.")
        return run

    def _write(self, name: str, content: bytes) -> None:
        with atomic(self.folder / name) as temporary:
            temporary.write_bytes(content)

    @property
    def config(self) -> dict:
        """Content of ``config.toml``."""
        try:
            return tomllib.loads((self.folder / "config.toml").read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise RunError(f"{self.folder / 'config.toml'} cannot be read: {error}.") from None

    @property
    def weights(self) -> Path:
        """Path of the network file."""
        return self.folder / "weights.h5"

    def metrics(self) -> list[dict]:
        """Records of the finished epochs."""
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return []
        try:
            return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        except json.JSONDecodeError as error:
            raise RunError(f"{path} is damaged: {error}.") from None

    def save_epoch(self, network, optimiser, rng, record: dict | None, epoch: int) -> None:
        """Write all that belongs to the end of an epoch; the checkpoint last, so that it vouches for the rest."""
        try:
            records = [r for r in self.metrics() if r["epoch"] < epoch]
            if record is not None:
                records.append(record)
            network.save(self.weights)
            self._write("metrics.jsonl", "".join(json.dumps(r) + "\n" for r in records).encode())
            summary = {"epochs": epoch, **(record or {}), **provenance()}
            self._write("summary.json", json.dumps(summary, indent=2).encode())
            self._save_checkpoint(network, optimiser, rng, epoch)
        except OSError as error:
            raise RunError(f"{self.folder} cannot be written: {error}. Free space or choose another --out.") from None

    def _save_checkpoint(self, network, optimiser, rng, epoch):
        with atomic(self.folder / "checkpoint.h5") as temporary, h5py.File(temporary, "w") as file:
            file.attrs["epoch"], file.attrs["steps"] = epoch, optimiser.steps
            file.attrs["rng"] = json.dumps(rng.bit_generator.state)
            for name, value in network.parameters.items():
                file[f"parameters/{name}"] = value
            for name, value in optimiser.state.items():
                file[f"optimiser/{name}"] = value
            file.attrs["complete"] = True

    def resume(self, network, optimiser, rng) -> int:
        """Set network, optimiser and random numbers to the last finished epoch and return its number.

        Raises
        ------
        RunError
            If the checkpoint is missing or damaged; nothing is changed then.
        """
        path = self.folder / "checkpoint.h5"
        if not path.is_file():
            raise RunError(f"{path} does not exist: the run has no finished epoch to resume from.")
        try:
            with h5py.File(path, "r") as file:
                if not file.attrs["complete"]:
                    raise KeyError("complete")
                parameters = {name: data[()] for name, data in file["parameters"].items()}
                state = {name: data[()] for name, data in file["optimiser"].items()} if "optimiser" in file else {}
                epoch, steps = int(file.attrs["epoch"]), int(file.attrs["steps"])
                generator = json.loads(file.attrs["rng"])
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise RunError(
                f"{path} is damaged ({error}); the network of the last epoch is still in {self.weights}."
            ) from None
        network.set_parameters(parameters, source=str(path))
        state = {_renamed(key, network.renamed): value for key, value in state.items()}
        optimiser.state, optimiser.steps = state, steps
        rng.bit_generator.state = generator
        return epoch


def _renamed(key: str, names: dict[str, str]) -> str:
    """Name of an optimiser's array, ``first.layer1.w``, where older files have another name for the parameter."""
    moment, _, name = key.partition(".")
    return f"{moment}.{names.get(name, name)}"


def free_folder(base) -> Path:
    """Return `base`, or the first of ``base-2``, ``base-3`` ... that does not exist."""
    base = Path(base)
    candidate, number = base, 1
    while candidate.exists():
        number += 1
        candidate = base.with_name(f"{base.name}-{number}")
    return candidate


def provenance() -> dict:
    """Version of the package and, in a checkout, the commit it was run from."""
    return {"version": importlib.metadata.version("brian2grad"), "git": git_commit()}


def git_commit() -> str:
    """Commit of the checkout this code lies in, with ``+`` if it has changes; empty outside a checkout."""
    here = Path(__file__).resolve().parent
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        result = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--abbrev=12", "--dirty=+"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
        return result.stdout.strip()
    return ""


def without_none(config):
    """TOML has no null: leave such entries out, and turn NumPy scalars into plain numbers."""
    if isinstance(config, dict):
        return {k: without_none(v) for k, v in config.items() if v is not None}
    if isinstance(config, list | tuple):
        return [without_none(v) for v in config]
    return config.item() if isinstance(config, np.generic) else config
