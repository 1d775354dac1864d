"""Labelled spike times: what an event-located network is trained on; no time grid."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...equations.display import DisplayedFields
from ...models.events import checked_timed
from ...models.hybrid.samples import SampleSpikes
from ..data import EventArchive
from ..errors import TrainingError


def taken(spikes: SampleSpikes, chosen) -> SampleSpikes:
    """Spikes of some samples.

    Parameters
    ----------
    spikes : SampleSpikes
    chosen : (n,) array of int or slice
    """
    n = len(spikes.offsets) - 1
    chosen = np.arange(n)[chosen]
    begins, counts = spikes.offsets[chosen], np.diff(spikes.offsets)[chosen]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    at = np.repeat(begins - offsets[:-1], counts) + np.arange(offsets[-1])
    return SampleSpikes(spikes.neurons[at], spikes.times[at], offsets)


def sample_of(spikes: SampleSpikes) -> np.ndarray:
    """Sample of every spike."""
    return np.repeat(np.arange(len(spikes.offsets) - 1), np.diff(spikes.offsets))


def first_spikes(spikes: SampleSpikes, n_neurons: int) -> tuple[np.ndarray, np.ndarray]:
    """First spike of every neuron in every sample.

    Parameters
    ----------
    spikes : SampleSpikes
        In order of time within a sample.
    n_neurons : int

    Returns
    -------
    times : (n_samples, n_neurons) array
        Seconds; ``inf`` where a neuron is silent.
    which : (n_samples, n_neurons) array of int
        Number of the spike in `spikes`; -1 where a neuron is silent.
    """
    cells = sample_of(spikes) * n_neurons + spikes.neurons
    found, first = np.unique(cells, return_index=True)
    shape = (len(spikes.offsets) - 1, n_neurons)
    times, which = np.full(shape, np.inf), np.full(shape, -1)
    times.flat[found], which.flat[found] = spikes.times[first], first
    return times, which


@dataclass(frozen=True, repr=False)
class SpikeTask(DisplayedFields):
    """Samples of spike times with one label each; the counterpart of `Task` without a time grid.

    Attributes
    ----------
    events : Samples
    labels : (n_samples,) array of int
    raw_events : float
        Mean number of input spikes per sample.
    """

    events: Samples
    labels: np.ndarray
    raw_events: float
    per_step = False

    def __len__(self):
        return len(self.labels)

    @property
    def n_classes(self) -> int:
        """Highest label plus one."""
        return int(self.labels.max(initial=0)) + 1

    def batch(self, chosen, rng: np.random.Generator, drop: float = 0.0, shift: int = 0, **others) -> Samples:
        """Some of the samples, varied.

        Parameters
        ----------
        chosen : (n,) array of int
        rng : Generator
        drop : float
            Probability with which an input spike is left out.
        shift : int
            Every image (square, unit = y*width + x) is moved by up to this many pixels in x and y.
        **others
            Augmentation of events on a time grid; refused.

        Raises
        ------
        TrainingError
            If an augmentation needs a time grid, or `shift` a square image.
        """
        unknown = [name for name, value in others.items() if value not in (0, 0.0) and (name, value) != ("fibres", 1)]
        if unknown:
            raise TrainingError(f"{unknown[0]}: spike times are varied by drop and shift only; leave it out.")
        events = self.events.take(chosen)
        if shift:
            events = _shifted(events, rng, shift)
        return _kept(events, rng.random(len(events.spikes.times)) >= drop) if drop else events


@dataclass(frozen=True)
class Samples:
    """Spikes of the input units.

    Attributes
    ----------
    spikes : SampleSpikes
    n_units : int
    duration : float
        Time of the last spike, second.
    """

    spikes: SampleSpikes
    n_units: int
    duration: float

    def __len__(self):
        return len(self.spikes.offsets) - 1

    def take(self, chosen) -> Samples:
        """Some of the samples."""
        return replace(self, spikes=taken(self.spikes, chosen))


def spike_task(archive: EventArchive, limit: int | None = None) -> SpikeTask:
    """Make an archive a task, its times as recorded.

    Parameters
    ----------
    archive : EventArchive
    limit : int, optional
        Use only the first samples.

    Returns
    -------
    SpikeTask

    Raises
    ------
    TrainingError
        If there are no samples, or labels for every step.
    NetworkError
        If the times of a sample count from another origin.
    """
    if limit is not None and limit < 1:
        raise TrainingError(f"limit = {limit}: at least one sample is needed.")
    archive = archive[:limit] if limit is not None else archive
    if len(archive) == 0:
        raise TrainingError(f"{archive.name or 'The archive'} holds no samples.")
    if archive.labels_per_step is not None:
        raise TrainingError("This data set has a label for every step; exact training learns one per sample.")
    checked_timed(archive)
    spikes = SampleSpikes(
        archive.units.astype(np.int32), archive.times * (float(archive.time_unit_us) * 1e-6), archive.offsets
    )
    samples = Samples(spikes, archive.n_units, float(archive.duration))
    return SpikeTask(samples, archive.labels.astype(np.int64), len(archive.units) / len(archive))


def _shifted(events: Samples, rng, shift: int) -> Samples:
    side = round(events.n_units**0.5)
    if side * side != events.n_units:
        raise TrainingError(f"shift: {events.n_units} units are no square image; use shift = 0.")
    dx, dy = rng.integers(-shift, shift + 1, (2, len(events)))[:, sample_of(events.spikes)]
    y, x = np.divmod(events.spikes.neurons, side)
    x, y = x + dx, y + dy
    events = replace(events, spikes=replace(events.spikes, neurons=(y * side + x).astype(np.int32)))
    return _kept(events, (x >= 0) & (x < side) & (y >= 0) & (y < side))


def _kept(events: Samples, kept) -> Samples:
    before = np.concatenate([[0], np.cumsum(kept)])
    old = events.spikes
    return replace(events, spikes=SampleSpikes(old.neurons[kept], old.times[kept], before[old.offsets]))
