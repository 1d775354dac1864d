"""Data sets of a configuration, encoded and put on its time grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from brian2 import Hz, Quantity, ms

from ...models.events import StepEvents
from ..data import Cochlea, EventArchive, load, load_splits
from ..data.loading import has_parts
from ..data.splits import n_validation, stratified_split
from ..errors import TrainingError
from ..tasks import Task, make_task, seconds
from .layers import units_expected
from .schema import Data


def encoder(config: dict) -> Cochlea:
    """Cochlear encoder of a configuration: the table ``[data.cochlea]``, times in ms and frequencies in Hz."""
    units, options = {"_ms": ms, "_hz": Hz}, {}
    for key, value in _data(config).cochlea.given().items():
        stem, ending = key[:-3], key[-3:]
        options[stem if ending in units else key] = value * units[ending] if ending in units else value
    return Cochlea(**options)


def validation_fraction(data: Data) -> float | None:
    """Part of the training file that validates, if ``data.validation`` is a number and no file.

    Raises
    ------
    TrainingError
        If it does not lie between 0 and 1.
    """
    try:
        fraction = float(data.validation or "file")
    except ValueError:
        return None
    if not 0 < fraction < 1:
        raise TrainingError(f"validation = {data.validation}: a fraction lies between 0 and 1; or give a file.")
    return fraction


def _parts(archive: EventArchive, fraction: float) -> tuple[EventArchive, EventArchive]:
    """Two parts of an archive, drawn with a fixed seed and each class alike: `evaluate` finds the second one again."""
    train, held_out = stratified_split(archive.labels, n_validation(len(archive), fraction), seed=0)
    return archive[train], archive[held_out]


def load_archives(config: dict, data_root=None) -> tuple[EventArchive, EventArchive | None]:
    """Training and validation recordings of a configuration; with ``data.zero_time`` every sample begins at 0.

    A data set's name, or a file of vectors in two parts, gives its training and validation part; another path is used
    whole for training, and validated on ``data.validation`` if that is given: a file, or the fraction of every class
    that is held out.
    """
    train, held_out = _archives(config, data_root)
    if _data(config).zero_time:
        train, held_out = train.from_zero(), held_out and held_out.from_zero()
    return train, held_out


def _archives(config, data_root):
    data = _data(config)
    name, cochlea, copies = data.name, encoder(config), data.copies
    whole = Path(name).exists() and not has_parts(name)
    if data.held_out_speaker is not None and (data.validation or Path(name).exists()):
        raise TrainingError("held_out_speaker has no effect: it splits a named data set without a validation file.")
    fraction = validation_fraction(data)
    if fraction is not None:
        if copies:
            raise TrainingError(f"validation = {fraction} would split copies of a sound from it; give a file instead.")
        return _parts(load(name, data_root, cochlea=cochlea), fraction)
    if data.validation:
        held_out = load(data.validation, data_root, "validation", cochlea=cochlea)
        return load(name, data_root, cochlea=cochlea, copies=copies), held_out
    if whole:
        return load(name, data_root, cochlea=cochlea, copies=copies), None
    return load_splits(name, data_root, held_out_speaker=data.held_out_speaker, cochlea=cochlea, copies=copies)


def load_tasks(config: dict, data_root=None, limit=None) -> tuple[Task, Task | None]:
    """Training and validation task of a configuration, on its time grid; see `load_archives`."""
    data = _data(config)
    dt = data.dt_ms * ms
    duration = None if data.duration_ms is None else data.duration_ms * ms
    archives = load_archives(config, data_root)
    train = make_task(archives[0], dt, duration, limit)
    if archives[1] is None:
        return train, None
    return train, make_task(archives[1], dt, seconds(train.events.n_steps * float(dt)), limit)


def nothing(config: dict) -> Task:
    """A silent sample, to rehearse a configuration with before its data are there."""
    silence = np.zeros((1, 1, units_expected(config.get("network", {}))))
    events = StepEvents.from_dense(silence, _data(config).dt_ms * 1e-3)
    return Task(events, np.array([1]), 0.0)


def complete(config: dict, task: Task, held_out: Task | None) -> None:
    """Write into a configuration what its tasks say: the duration on the grid, and how many classes there are."""
    config["data"]["duration_ms"] = round(task.events.n_steps * config["data"]["dt_ms"], 9)
    config["network"].setdefault("n_classes", max(task.n_classes, held_out.n_classes if held_out else 0))


def evaluation_archive(config: dict, name: str, data_root=None, n_units: int | None = None) -> EventArchive:
    """Validation part of a data set, or one archive whole; of the run's own, the part that it held out.

    Data that have another number of units than `n_units` are refused, sounds before they are encoded.
    """
    sounds, data = _EncoderFor(encoder(config), n_units), _data(config)
    fraction = validation_fraction(data)
    own = fraction is not None and (name == data.name or _same_file(name, data.name))
    part = "train" if own else "validation"
    archive = load(name, data_root, part, held_out_speaker=data.held_out_speaker, cochlea=sounds)
    check_units(archive.name, archive.n_units, n_units)
    if own:
        archive = _parts(archive, fraction)[1]
    return archive.from_zero() if data.zero_time else archive


def evaluation_task(
    config: dict, name: str, dt: Quantity, data_root=None, limit: int | None = None, n_units: int | None = None
) -> Task:
    """Validation part of a data set, or one archive whole, on the duration the run was trained with; see above."""
    data = _data(config)
    if data.duration_ms is None:
        raise TrainingError("data.duration_ms is missing in the run's config.toml: training writes it.")
    archive = evaluation_archive(config, name, data_root, n_units)
    return make_task(archive, dt, seconds(data.duration_ms * 1e-3), limit)


def seen_in_training(config: dict, name: str) -> bool:
    """Whether the recordings asked about are those of training: the run's own file, of which no part was held out."""
    data = _data(config)
    whole = Path(name).exists() and not has_parts(name) and validation_fraction(data) is None
    return whole and _same_file(name, data.name)


def _same_file(one: str, other: str) -> bool:
    return Path(one).exists() and Path(other).exists() and Path(one).samefile(other)


def check_units(name: str, found: int, n_units: int | None) -> None:
    """Refuse data that a network cannot take."""
    if n_units is not None and found != n_units:
        raise TrainingError(f"{name}: has {found} units, but the network takes {n_units}; choose data of its kind.")


@dataclass(frozen=True)
class _EncoderFor:
    """Encoder that refuses sounds for a network of another number of inputs, before hours of them are encoded."""

    cochlea: Cochlea
    n_units: int | None

    def encode(self, audio, variant: int = 0):
        check_units(audio.name, self.cochlea.n_units, self.n_units)
        return self.cochlea.encode(audio, variant=variant)


def _data(config: dict) -> Data:
    return Data.read(config["data"], within="data")
