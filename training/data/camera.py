"""A simulated event camera: each pixel reports when its log intensity has changed enough."""

import dataclasses

import numpy as np

from .events import flatten_events

__all__ = ["EventCamera"]


@dataclasses.dataclass(frozen=True)
class EventCamera:
    """Detect changes of log intensity, pixel by pixel.

    Parameters
    ----------
    width, height : int
        Pixels.
    threshold : float
        Change of log intensity that makes an event.
    mismatch : float
        Standard deviation of the threshold over pixels, relative to `threshold`.
    start_spread : float
        Largest distance of the stored log intensity from the first frame, relative to the threshold.
    noise_rate : float, hertz
        Rate of background events for each pixel and polarity.
    dark : float
        Intensity added to every pixel, relative to full brightness: what the sensor sees in the dark.

    Notes
    -----
    A pixel with stored log intensity :math:`m` emits an ON event and sets :math:`m \\to m + \\theta` when
    :math:`\\log(I + I_0) \\ge m + \\theta`, and the mirror image for OFF. Between two frames the log
    intensity is taken as linear, which gives event times finer than the frames.

    References
    ----------
    Lichtsteiner, Posch and Delbruck (2008), "A 128 x 128 120 dB 15 us latency asynchronous temporal contrast
    vision sensor", doi:10.1109/JSSC.2007.914337.
    """

    width: int = 24
    height: int = 24
    threshold: float = 0.4
    mismatch: float = 0.05
    start_spread: float = 0.5
    noise_rate: float = 0.05
    dark: float = 0.1

    @property
    def n_units(self):
        """Number of units, ``polarity * width * height + y * width + x`` with ON = 1."""
        return 2 * self.width * self.height

    def record(self, frames, frame_us, rng):
        """Record many scenes at once.

        Parameters
        ----------
        frames : iterable of (n_scenes, height, width) arrays
            Intensity from 0 to 1 at equal intervals.
        frame_us : int, microseconds
            The interval.
        rng : numpy.random.Generator
            Draws threshold mismatch, stored intensities and background events.

        Returns
        -------
        units : (n_events,) uint16 array
        times : (n_events,) uint32 array, microseconds
        offsets : (n_scenes + 1,) int64 array
        """
        n_pixels = self.width * self.height
        spread = 1 + self.mismatch * rng.standard_normal(n_pixels)
        theta = (self.threshold * np.clip(spread, 0.5, 1.5)).astype(np.float32)
        frames = iter(frames)
        before = self._log_intensity(next(frames))
        # What a pixel has stored when a recording starts is arbitrary. Were it the first frame, a path that
        # ends where it began would bring all pixels back to their last crossing at the same instant.
        start = self.start_spread * rng.uniform(-1, 1, before.shape)
        memory = before + (start * theta).astype(np.float32)
        n_scenes = len(before)
        found, step = [], 0
        for frame in frames:
            after = self._log_intensity(frame)
            found += self._changes(before, after, memory, theta, step * frame_us, frame_us)
            before, step = after, step + 1
        found.append(self._background(n_scenes, step * frame_us, rng))
        return flatten_events(found, n_scenes)

    def _log_intensity(self, frame):
        return np.log(np.asarray(frame, np.float32) + np.float32(self.dark)).reshape(len(frame), -1)

    def _changes(self, before, after, memory, theta, start_us, frame_us):
        """Return the events between two frames and move `memory` along."""
        change = after - memory
        scenes, pixels = np.nonzero(np.abs(change) >= theta)
        change, step = change[scenes, pixels], theta[pixels]
        sign = np.sign(change)
        count = (np.abs(change) / step).astype(np.int64)
        first, slope = before[scenes, pixels], (after - before)[scenes, pixels]
        level = memory[scenes, pixels]
        memory[scenes, pixels] += sign * count * step
        found = []
        for k in range(1, int(count.max(initial=0)) + 1):
            going = count >= k
            crossed = level[going] + k * sign[going] * step[going]
            # Rounding can leave a crossing to the next interval, where the signal may stand still.
            part = np.zeros_like(crossed)
            np.divide(crossed - first[going], slope[going], out=part, where=slope[going] != 0)
            part = np.clip(part, 0, 1)
            times = start_us + np.minimum((part * frame_us).astype(np.int64), frame_us - 1)
            units = (sign[going] > 0) * (self.width * self.height) + pixels[going]
            found.append((scenes[going], units, times))
        return found

    def _background(self, n_scenes, duration_us, rng):
        n_events = rng.poisson(self.noise_rate * duration_us * 1e-6 * self.n_units * n_scenes)
        return (
            rng.integers(n_scenes, size=n_events),
            rng.integers(self.n_units, size=n_events),
            rng.integers(duration_us, size=n_events),
        )
