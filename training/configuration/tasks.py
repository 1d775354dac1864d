"""Data sets of a configuration, encoded and put on its time grid."""

from __future__ import annotations

from pathlib import Path

from brian2 import Hz, Quantity, ms

from ..data import Cochlea, load, load_splits
from ..tasks import Task, make_task, seconds
from .schema import Data


def encoder(config: dict) -> Cochlea:
    """Cochlear encoder of a configuration: the table ``[data.cochlea]``, times in ms and frequencies in Hz."""
    units, options = {"_ms": ms, "_hz": Hz}, {}
    for key, value in _data(config).cochlea.given().items():
        stem, ending = key[:-3], key[-3:]
        options[stem if ending in units else key] = value * units[ending] if ending in units else value
    return Cochlea(**options)


def load_tasks(config: dict, data_root=None, limit=None) -> tuple[Task, Task | None]:
    """Training and validation task of a configuration.

    A data set's name gives its training and validation part; a path is used whole for training, and validated on
    ``data.validation`` if that is given.
    """
    data = _data(config)
    name, dt, cochlea, copies = data.name, data.dt_ms * ms, encoder(config), data.copies
    duration = None if data.duration_ms is None else data.duration_ms * ms
    if data.validation:
        held_out = load(data.validation, data_root, "validation", cochlea=cochlea)
        archives = load(name, data_root, cochlea=cochlea, copies=copies), held_out
    elif Path(name).exists():
        archives = load(name, data_root, cochlea=cochlea, copies=copies), None
    else:
        speaker = data.held_out_speaker
        archives = load_splits(name, data_root, held_out_speaker=speaker, cochlea=cochlea, copies=copies)
    train = make_task(archives[0], dt, duration, limit)
    if archives[1] is None:
        return train, None
    return train, make_task(archives[1], dt, seconds(train.events.n_steps * float(dt)), limit)


def evaluation_task(config: dict, name: str, dt: Quantity, data_root=None, limit=None) -> Task:
    """Validation part of a data set, or one archive whole, on the duration the run was trained with."""
    data = _data(config)
    archive = load(name, data_root, "validation", held_out_speaker=data.held_out_speaker, cochlea=encoder(config))
    return make_task(archive, dt, seconds(data.duration_ms * 1e-3), limit)


def _data(config: dict) -> Data:
    return Data.read(config["data"], within="data")
