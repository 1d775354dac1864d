"""Networks on disk: one HDF5 file with a checksum, written at once, readable without brian2grad."""

from __future__ import annotations

import contextlib
import json
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
from brian2 import Quantity, second

from ..equations.display import Displayed, brief
from .errors import EngineError, NetworkError
from .files import write_file
from .hdf5 import VERSION, DamagedFile, NewerFile, read_sealed, reason_of, sealed


def save_network(path, kind: str, config: dict, parameters: dict[str, np.ndarray]) -> None:
    """Write configuration (JSON attribute) and parameters (one data set each) to `path`.

    The file appears under its name only when it is complete.
    """
    attributes = {"format": f"brian2grad network, version {VERSION}", "kind": kind, "config": json.dumps(config)}
    try:
        write_file(path, sealed(attributes, {n.replace(".", "/"): value for n, value in parameters.items()}))
    except OSError as error:
        reason = error.strerror or error
        raise NetworkError(f"{path} cannot be written: {reason}. Choose a writable folder with free space.") from None


def load_network(path, kind: str | None = None) -> tuple[dict, dict[str, np.ndarray]]:
    """Read configuration and parameters written by `save_network`.

    Raises
    ------
    NetworkError
        If the file is missing, of another kind or of a newer version, or if a byte of it has changed since it was
        written.
    """
    path = Path(path)
    if not path.is_file():
        raise NetworkError(f"{path} does not exist; give the path of a saved network.")
    try:
        attributes, parameters = read_sealed(path)
        found, config = str(attributes["kind"]), json.loads(attributes["config"])
        if not isinstance(config, dict):
            raise DamagedFile("its configuration is no table")
        if not attributes["format"].endswith(f"version {VERSION}"):
            warnings.warn(f"{path} has no checksum: an older version wrote it. Save it again.", stacklevel=2)
    except NewerFile as error:
        raise NetworkError(f"{path} {error}.") from None
    except (OSError, DamagedFile, KeyError, TypeError, ValueError, RecursionError, AttributeError) as error:
        raise NetworkError(
            f"{path} is damaged or no brian2grad network ({reason_of(error):.200}); take an earlier one."
        ) from None
    if kind is not None and found != kind:
        raise NetworkError(f"{path} holds a network of kind '{found:.40}', not '{kind}'.")
    parameters = {name.replace("/", "."): value for name, value in parameters.items()}
    return config, parameters


@contextlib.contextmanager
def described_by(path):
    """Turn whatever a network refuses in a file into one line that names the file."""
    try:
        yield
    except (EngineError, NetworkError) as error:
        raise NetworkError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    except (TypeError, ValueError, KeyError, IndexError, ArithmeticError, AttributeError, MemoryError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise NetworkError(
            f"{path}: its configuration describes no network ({reason:.200}); take an earlier one."
        ) from None


def check_extent(config: dict, parameters: dict, weights: int) -> None:
    """Refuse a structure of more weights than a file holds, before a network of this structure is made."""
    stored, K = sum(np.size(value) for value in parameters.values()), config.get("K", 1)
    if not isinstance(K, int) or K > max(1, stored) or weights > stored:
        structure = (
            f"layers = {config['layers']!r:.80}" if "layers" in config else f"sizes = {config.get('sizes')!r:.80}"
        )
        raise NetworkError(f"{structure} and K = {K!r:.20} need more than the {stored} numbers in the file.")


class StoredNetwork(Displayed):
    """What every network does with files: its configuration is plain numbers, its parameters named arrays.

    Attributes
    ----------
    kind : str
        Written into the file and checked when it is read.
    times : tuple of str
        Constructor arguments that are times; the configuration holds them in seconds.
    """

    kind = ""
    times: tuple[str, ...] = ()
    renamed: dict[str, str] = {}  # noqa: RUF012 (parameters of older files: name there -> name here)
    compiled = ("_engines",)  # dictionaries that stay behind when a network is copied or pickled

    def __getstate__(self):
        return self.__dict__ | {name: {} for name in self.compiled}

    def summary(self) -> dict:
        """Sizes, numbers, parameters and equations."""
        config = {name: value for name, value in self.config().items() if np.size(value) <= 8 and value is not None}
        config |= {name: f"{brief(value)} s" for name, value in config.items() if name in self.times}
        shapes = {name: f"{value.shape}" for name, value in self.parameters.items()}
        total = sum(value.size for value in self.parameters.values())
        return {**config, "parameters": {**shapes, "together": total}, "equations": self.shown_equations()}

    def shown_equations(self) -> str:
        """Equations of a neuron."""
        return ""

    @classmethod
    def extent(cls, config: dict) -> tuple[list[int], int]:
        """Inputs, hidden neurons and outputs that a configuration describes, and the number of their weights."""
        sizes = config.get("sizes")
        whole = isinstance(sizes, list) and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in sizes)
        if not whole or len(sizes) < 2:
            raise NetworkError(f"sizes = {sizes!r:.80}; expected the numbers of inputs, hidden neurons and outputs.")
        return sizes, sum(a * b for a, b in pairwise(sizes))

    @classmethod
    def from_config(cls, config: dict, **overrides):
        """Rebuild a network from `config` (times in seconds)."""
        config = dict(config)
        if "layers" in config:
            config.pop("sizes", None)  # of which they say more
        for name in cls.times:
            if name in config:
                config[name] = Quantity(config[name], dim=second.dim)
        return cls(**(config | overrides))

    def save(self, path) -> None:
        """Write configuration and parameters to one HDF5 file, atomically."""
        save_network(path, self.kind, self.config(), self.parameters)

    @classmethod
    def load(cls, path, **overrides):
        """Read a network written by `save`."""
        config, parameters = load_network(path, cls.kind)
        with described_by(path):
            check_extent(config, parameters, cls.extent(config)[1])
            network = cls.from_config(config, **overrides)
            network.set_parameters(parameters, source=str(path))
        return network

    def set_parameters(self, parameters: dict, source: str = "parameters") -> None:
        """Replace all parameters; names, shapes and finiteness are checked first."""
        self.parameters = self.checked_parameters(parameters, source)

    def checked_parameters(self, parameters: dict, source: str = "parameters") -> dict[str, np.ndarray]:
        """Return parameters as this network would keep them.

        Raises
        ------
        NetworkError
            If a name is missing, or a shape or a value can't be this network's.
        """
        parameters = {self.renamed.get(name, name): value for name, value in parameters.items()}
        for name, own in self.parameters.items():
            if name not in parameters:
                raise NetworkError(f"{source}: '{name}' is missing.")
            if np.shape(parameters[name]) != own.shape:
                raise NetworkError(f"{source}: '{name}' has shape {np.shape(parameters[name])}, expected {own.shape}.")
            if not np.isfinite(parameters[name]).all():
                raise NetworkError(f"{source}: '{name}' holds values that are not finite.")
        return {n: np.array(parameters[n], own.dtype) for n, own in self.parameters.items()}
