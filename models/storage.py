"""Networks on disk: one HDF5 file, written atomically, readable without brian2grad."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
from brian2 import Quantity, second

from ..equations.display import Displayed, brief
from .errors import NetworkError
from .files import atomic


def save_network(path, kind: str, config: dict, parameters: dict[str, np.ndarray]) -> None:
    """Write configuration (JSON attribute) and parameters (one data set each) to `path`.

    The file appears under its name only when it is complete.
    """
    try:
        with atomic(path) as temporary, h5py.File(temporary, "w") as file:
            file.attrs["format"] = "brian2grad network, version 1"
            file.attrs["kind"] = kind
            file.attrs["config"] = json.dumps(config)
            for name, value in parameters.items():
                file.create_dataset(name.replace(".", "/"), data=value)
    except OSError as error:
        raise NetworkError(f"{path} cannot be written: {error}. Choose a writable folder.") from None


def load_network(path, kind: str | None = None) -> tuple[dict, dict[str, np.ndarray]]:
    """Read configuration and parameters written by `save_network`.

    Raises
    ------
    NetworkError
        If the file is missing, damaged or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise NetworkError(f"{path} does not exist; give the path of a saved network.")
    try:
        with h5py.File(path, "r") as file:
            found, config = file.attrs["kind"], json.loads(file.attrs["config"])
            parameters = {}
            file.visititems(
                lambda name, item: (
                    parameters.__setitem__(name.replace("/", "."), item[()]) if isinstance(item, h5py.Dataset) else None
                )
            )
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise NetworkError(f"{path} is damaged or no brian2grad network ({error}); take an earlier one.") from None
    if kind is not None and found != kind:
        raise NetworkError(f"{path} holds a network of kind '{found}', not '{kind}'.")
    return config, parameters


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
    def from_config(cls, config: dict, **overrides):
        """Rebuild a network from `config` (times in seconds)."""
        config = dict(config)
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
        network = cls.from_config(config, **overrides)
        network.set_parameters(parameters, source=str(path))
        return network

    def set_parameters(self, parameters: dict, source: str = "parameters") -> None:
        """Replace all parameters; names, shapes and finiteness are checked first."""
        parameters = {self.renamed.get(name, name): value for name, value in parameters.items()}
        for name, own in self.parameters.items():
            if name not in parameters:
                raise NetworkError(f"{source}: '{name}' is missing.")
            if np.shape(parameters[name]) != own.shape:
                raise NetworkError(f"{source}: '{name}' has shape {np.shape(parameters[name])}, expected {own.shape}.")
            if not np.isfinite(parameters[name]).all():
                raise NetworkError(f"{source}: '{name}' holds values that are not finite.")
        self.parameters = {n: np.array(parameters[n], own.dtype) for n, own in self.parameters.items()}
