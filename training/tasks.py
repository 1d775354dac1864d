"""A data set made ready for a network: events on the time grid, labels per sample or per step, augmentation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from brian2 import Quantity, second

from ..equations.display import DisplayedFields
from ..models.events import StepEvents, bin_events
from .data import EventArchive, shift_units
from .errors import TrainingError

# Pixels of the sensors behind the camera data sets, by number of units (two polarities).
_SENSORS = {2 * 34 * 34: (34, 34), 2 * 24 * 24: (24, 24)}


@dataclass(frozen=True, repr=False)
class Task(DisplayedFields):
    """Samples on a time grid with what is asked about them.

    Attributes
    ----------
    events : StepEvents
    labels : (n_samples,) or (n_samples, n_steps) array of int
    raw_events : float
        Mean number of recorded events per sample, before those of one step were merged.
    """

    events: StepEvents
    labels: np.ndarray
    raw_events: float

    def __len__(self):
        return len(self.events)

    @property
    def per_step(self) -> bool:
        """Whether every step has a label of its own."""
        return self.labels.ndim == 2

    @property
    def n_classes(self) -> int:
        """Highest label plus one."""
        return int(self.labels.max(initial=0)) + 1

    def batch(self, chosen, rng: np.random.Generator, **augmentation) -> StepEvents:
        """Some of the samples, varied as `augment` says."""
        return augment(self.events.take(chosen), rng, **augmentation)


def make_task(archive: EventArchive, dt: Quantity, duration: Quantity | None = None, limit: int | None = None) -> Task:
    """Put an archive on a time grid.

    Parameters
    ----------
    archive : EventArchive
    dt : Quantity, second
    duration : Quantity, second, optional
        Length of a sample; by default the longest one decides.
    limit : int, optional
        Use only the first samples.

    Returns
    -------
    Task

    Raises
    ------
    TrainingError
        If there are no samples or no events.
    """
    if limit is not None:
        if limit < 1:
            raise TrainingError(f"limit = {limit}: at least one sample is needed.")
        archive = archive[:limit]
    if len(archive) == 0:
        raise TrainingError(f"{archive.name or 'The archive'} holds no samples.")
    if len(archive.units) == 0:
        raise TrainingError(f"{archive.name or 'The archive'} holds no events in its {len(archive)} samples.")
    events = bin_events(archive, dt, None if duration is None else steps_of(duration, dt))
    labels = np.asarray(archive.labels).astype(np.int64)
    if archive.labels_per_step is not None:
        labels = _labels_on_grid(archive, events)
    return Task(events, labels, len(archive.units) / len(archive))


def steps_of(duration: Quantity, dt: Quantity) -> int:
    """Time steps that cover a duration."""
    return int(np.ceil(float(duration) / float(dt) - 1e-6))


def check_labels(labels, n_classes: int) -> None:
    """Refuse labels that a network has no output for: they would count as wrong answers. -1 is no label.

    Raises
    ------
    TrainingError
        Naming the first of them.
    """
    labels = np.asarray(labels)
    if labels.size and labels.max() >= n_classes:
        bad = np.unravel_index(int((labels >= n_classes).argmax()), labels.shape)
        place = ", step ".join(str(int(i)) for i in bad)
        raise TrainingError(
            f"label {labels[bad]} of sample {place}: the network has only outputs 0 to {n_classes - 1}; choose data of "
            "its classes."
        )


def _labels_on_grid(archive: EventArchive, events: StepEvents) -> np.ndarray:
    """Label of the recording's own step in which each step of the grid begins."""
    own_step = float(archive.time_unit_us) * 1e-6
    begin = np.arange(events.n_steps) * events.dt
    index = np.minimum(np.floor(begin / own_step + 1e-9).astype(int), archive.labels_per_step.shape[1] - 1)
    return np.asarray(archive.labels_per_step)[:, index].astype(np.int64)


def sensor_of(n_units: int) -> tuple[int, int]:
    """Width and height of the camera with this many units (two polarities).

    Raises
    ------
    TrainingError
        If the number is not that of a known or square sensor.
    """
    if n_units in _SENSORS:
        return _SENSORS[n_units]
    side = round((n_units / 2) ** 0.5)
    if 2 * side * side != n_units:
        raise TrainingError(
            f"{n_units} units are no square camera with two polarities; use shift = 0 and, for convolution, give input."
        )
    return side, side


def augment(
    events: StepEvents,
    rng: np.random.Generator,
    shift: int = 0,
    drop: float = 0.0,
    *,
    rotate: float = 0.0,
    zoom: float = 0.0,
    channel_shift: int = 0,
    channel_mask: int = 0,
    fibres: int = 1,
    time_stretch: float = 0.0,
    time_shift: int = 0,
    level: float = 0.0,
) -> StepEvents:
    """Change a batch without changing its labels.

    Parameters
    ----------
    events : StepEvents
    rng : Generator
    shift : int
        Every sample is moved by up to this many pixels in x and y.
    drop : float
        Probability with which an event is left out; the others are scaled up so that the mean stays.
    rotate : float
        Every sample of a camera is turned about its centre by up to this angle in degrees.
    zoom : float
        Every sample of a camera is made smaller or larger, in x and y apart, by up to this fraction.
    channel_shift : int
        Every sample is moved by up to this many channels along the frequency axis (voices of other sizes).
    channel_mask : int
        Up to this many neighbouring channels of every sample are silenced.
    fibres : int
        Units per channel, for the two above: unit = channel*fibres + fibre.
    time_stretch : float
        Every sample is played slower or faster by up to this fraction; events pushed beyond its end are left out.
    time_shift : int
        Every sample begins up to this many steps earlier or later.
    level : float
        Every sample's events are left out or repeated with a mean factor within 1 - level ... 1 + level.
    """
    if shift:
        width, height = sensor_of(events.n_units)
        sample = _sample_of(events)
        dx, dy = rng.integers(-shift, shift + 1, (2, events.n_samples))
        units, kept = shift_units(events.units, events.n_units, width, height, dx[sample], dy[sample])
        events = _keep(events, kept, units, events.values[kept])
    if rotate or zoom:
        events = _warp(events, rng, rotate, zoom)
    if channel_shift or channel_mask:
        events = _change_channels(events, rng, channel_shift, channel_mask, fibres)
    if time_stretch or time_shift:
        events = _change_times(events, rng, time_stretch, time_shift)
    if level:
        factor = rng.uniform(1 - level, 1 + level, events.n_samples).astype(np.float32)[_sample_of(events)]
        # Whole events: the network's input stays a spike count.
        values = np.floor(events.values * factor + rng.random(len(factor), dtype=np.float32)).astype(np.float32)
        kept = values != 0
        events = _keep(events, kept, events.units[kept], values[kept])
    if drop:
        kept = rng.random(len(events.units), dtype=np.float32) >= drop
        events = _keep(events, kept, events.units[kept], events.values[kept] * np.float32(1 / (1 - drop)))
    return events


def _sample_of(events: StepEvents) -> np.ndarray:
    return np.repeat(np.arange(events.n_samples), np.diff(events.ptr[:: events.n_steps]))


def _warp(events: StepEvents, rng, rotate: float, zoom: float) -> StepEvents:
    width, height = sensor_of(events.n_units)
    sample, pixels, B = _sample_of(events), width * height, events.n_samples
    angle = np.deg2rad(rng.uniform(-rotate, rotate, B))
    size_x, size_y = np.exp(np.log1p(zoom) * rng.uniform(-1, 1, (2, B)))
    polarity, pixel = np.divmod(events.units.astype(np.int64), pixels)
    # Events lie anywhere within their pixel; without the random part a larger image would have holes.
    place = rng.random((2, len(pixel)), dtype=np.float32)
    x = (pixel % width + place[0] - width / 2) * size_x[sample]
    y = (pixel // width + place[1] - height / 2) * size_y[sample]
    cos, sin = np.cos(angle)[sample], np.sin(angle)[sample]
    column = np.floor(cos * x - sin * y + width / 2).astype(np.int64)
    line = np.floor(sin * x + cos * y + height / 2).astype(np.int64)
    kept = (column >= 0) & (column < width) & (line >= 0) & (line < height)
    return _summed(events, events.rows[kept], (polarity * pixels + line * width + column)[kept], events.values[kept])


def _change_channels(events: StepEvents, rng, shift: int, mask: int, fibres: int) -> StepEvents:
    if events.n_units % fibres:
        raise TrainingError(f"fibres = {fibres} does not divide the {events.n_units} units into whole channels.")
    sample, n_channels = _sample_of(events), events.n_units // fibres
    moved = events.units.astype(np.int64) + fibres * rng.integers(-shift, shift + 1, events.n_samples)[sample]
    kept = (moved >= 0) & (moved < events.n_units)
    if mask:
        width = rng.integers(0, mask + 1, events.n_samples)
        first = (rng.random(events.n_samples) * (n_channels - np.minimum(width, n_channels) + 1)).astype(int)
        channel = moved // fibres
        kept &= (channel < first[sample]) | (channel >= (first + width)[sample])
    return _keep(events, kept, moved[kept].astype(events.units.dtype), events.values[kept])


def _change_times(events: StepEvents, rng, stretch: float, shift: int) -> StepEvents:
    sample, T = _sample_of(events), events.n_steps
    row = events.rows
    factor = np.exp(np.log1p(stretch) * rng.uniform(-1, 1, events.n_samples))
    offset = rng.integers(-shift, shift + 1, events.n_samples)
    # Events lie anywhere within their step; without the random part a stretch would leave gaps between steps.
    step = np.floor((row - sample * T + rng.random(len(row))) * factor[sample]).astype(np.int64) + offset[sample]
    kept = (step >= 0) & (step < T)
    return _summed(events, (sample * T + step)[kept], events.units[kept], events.values[kept])


def _summed(events: StepEvents, row, units, values) -> StepEvents:
    """Events at new rows (sample, step) and units; those that meet add up."""
    shape = (events.n_samples, events.n_steps, events.n_units)
    return StepEvents.from_triples(*np.divmod(row, events.n_steps), units, shape, events.dt, values)


def _keep(events: StepEvents, kept, units, values) -> StepEvents:
    before = np.concatenate([[0], np.cumsum(kept)])
    return replace(events, ptr=before[events.ptr], units=units, values=values)


def seconds(value: float) -> Quantity:
    """Number of seconds as a Quantity."""
    return Quantity(float(value), dim=second.dim)
