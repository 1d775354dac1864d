"""A run on disk: a folder that is complete after every epoch and readable without brian2grad.

``config.toml`` what was asked for, ``weights.h5`` the network, ``checkpoint.h5`` everything needed to go on bit for
bit, ``metrics.jsonl`` one record per epoch, ``summary.json`` the last record and where it came from.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import json
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tomli_w

from ..models.errors import NetworkError
from ..models.files import remove_leftovers, write_file
from .checkpoints import load_checkpoint, save_checkpoint
from .errors import RunError
from .locking import locked


class Run:
    """A run folder.

    Parameters
    ----------
    folder : path
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self._made: bytes | None = None  # configuration of a run that this object made

    @classmethod
    def create(cls, folder, config: dict) -> Run:
        """Make a new run folder with its configuration.

        Raises
        ------
        RunError
            If there is a run already that has begun, or the folder cannot be written.
        """
        run = cls.check_new(folder)
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
            run._made = tomli_w.dumps(without_none(config)).encode()
            with locked(run.folder):
                run._write("config.toml", run._made)
        except OSError as error:
            reason = error.strerror or error
            raise RunError(f"{folder} cannot be written ({reason}); choose another --out, or free space.") from None
        return run

    @classmethod
    def check_new(cls, folder) -> Run:
        """Return a run whose folder can be made; refuse one that has begun, before the work whose result it is to hold.

        Raises
        ------
        RunError
        """
        run = cls(folder)
        if run.begun:
            raise RunError(f"{folder} holds a run already; choose another --out, or go on with --resume {folder}.")
        place = run.folder
        try:
            while not place.exists() and place != place.parent:
                place = place.parent
            if not place.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "it is no folder", str(place))
            with tempfile.TemporaryDirectory(prefix=".brian2grad-", dir=place):
                pass  # whether a folder can be made there, permissions do not say
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

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other process out of the folder for the length of a block.

        Raises
        ------
        RunError
            If one is at work in it.
        """
        with locked(self.folder):
            if self._made is not None and not self.begun:  # another one may have made it too, and was late
                self._write("config.toml", self._made)
            yield

    def _write(self, name: str, content: bytes) -> None:
        write_file(self.folder / name, content)

    @property
    def config(self) -> dict:
        """Content of ``config.toml``."""
        return read_toml(self.folder / "config.toml", RunError)

    @property
    def weights(self) -> Path:
        """Path of the network file."""
        return self.folder / "weights.h5"

    @property
    def begun(self) -> bool:
        """Whether there is anything to lose: a run stopped before epoch 0 was written has nothing."""
        sizes = []
        for name in ("checkpoint.h5", "metrics.jsonl"):
            with contextlib.suppress(OSError):
                sizes.append((self.folder / name).stat().st_size)
        return any(sizes)

    def metrics(self) -> list[dict]:
        """Records of the finished epochs."""
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return []
        records = []
        try:
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if line.strip():
                    records.append(json.loads(line))
                    if not isinstance(records[-1], dict) or type(records[-1].get("epoch")) is not int:
                        raise ValueError(f"line {number} is no record of an epoch")
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{path} is damaged ({error}); remove the last lines, each is one epoch.") from None
        return records

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
            save_checkpoint(self.folder / "checkpoint.h5", network, optimiser, rng, epoch)
        except (OSError, NetworkError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or error
            raise RunError(
                f"{self.folder} cannot be written ({reason}); free space, then go on with --resume {self.folder}."
            ) from None

    def resume(self, network, optimiser, rng) -> int | None:
        """Set network, optimiser and random numbers to the last finished epoch and return its number.

        Returns
        -------
        int or None
            ``None``: the run was stopped before its first state was written, and begins anew.

        Raises
        ------
        RunError
            If the checkpoint is missing or damaged; nothing is changed then.
        """
        remove_leftovers(self.folder)
        if not self.begun:
            return None
        path = self.folder / "checkpoint.h5"
        if not path.is_file():
            raise RunError(f"{path} does not exist, but metrics.jsonl has epochs: the run can't go on without it.")
        return load_checkpoint(path, network, optimiser, rng)


def read_toml(path, error: type[Exception]) -> dict:
    """Content of a small TOML file; whatever is wrong with it is one line."""
    try:
        if Path(path).stat().st_size > 2**20:
            raise ValueError("it is larger than 1 MiB")
        return tomllib.loads(Path(path).read_text())
    except (OSError, ValueError, RecursionError) as problem:
        reason = getattr(problem, "strerror", None) or " ".join(str(problem).split())
        raise error(f"{path} cannot be read ({reason:.200}); give a TOML file.") from None


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
