"""Cochlear encoder: sound to spikes through a gammatone filter bank."""

import dataclasses
import hashlib

import numpy as np
import scipy  # scipy.signal takes a second to import: SciPy does it at the first use
from brian2 import Hz, Quantity, have_same_dimensions, ms, second

from .archive import EventArchive
from .augment import vary_envelopes
from .errors import DataError
from .events import flatten_events
from .hair_cells import hair_cell_spikes, sigma_delta_spikes
from .npz import cached_archive

__all__ = ["Cochlea"]

BATCH = 128  # recordings whose envelopes are held at once,
VALUES = 2**24  # and so many of their values at most
LONGEST = 60.0  # seconds; the envelopes of a sound take a hundred times the memory of the sound
EAR_Q, MIN_BANDWIDTH = (
    9.26449,
    24.7,
)  # Glasberg and Moore (1990): ERB(f) = f / EAR_Q + MIN_BANDWIDTH, in hertz
DEFAULTS = {
    "hair-cell": {"tau": 10 * ms, "thresholds": (0.3, 0.6)},
    "sigma-delta": {"tau": 20 * ms, "thresholds": (0.1,)},
}


def _quantity(value):
    # Quantities are arrays, which dataclasses refuse as plain defaults because they could be changed.
    return dataclasses.field(default_factory=value.copy)


@dataclasses.dataclass(frozen=True)
class Cochlea:
    """Turn sounds into spikes.

    Each recording is filtered by a gammatone bank, half-wave rectified, low-passed to an envelope, divided by
    its largest value and compressed by a power law; the compressed envelopes drive the spike generators.

    Parameters
    ----------
    n_channels : int
        Filters, their centres equally spaced on the scale of equivalent rectangular bandwidths.
    f_min, f_max : Quantity, hertz
        Lowest and highest centre frequency.
    spikes : {'hair-cell', 'sigma-delta'}
        Leaky integrate-and-fire fibres, or a sigma-delta code of the envelope.
    cutoff : Quantity, hertz
        Of the second-order low-pass that makes the envelope.
    compression : float
        Exponent of the power law.
    step : Quantity, second
        Sampling interval of the envelopes; spike times are interpolated below it.
    tau : Quantity, second
        Time constant of the fibres' membrane (10 ms if left out), or of the decaying estimate in the
        sigma-delta code (20 ms).
    thresholds : tuple of float
        One fibre for each channel and threshold, relative to the largest envelope: (0.3, 0.6) if left out.
        The sigma-delta code has one, its theta: (0.1,).
    adaptation : float
        0: the envelopes are compressed as they are. Above, up to 1: each channel is first divided by its own running
        mean to this power, which takes away much of microphone, room and noise (per-channel energy normalisation).
    tau_adaptation : Quantity, second
        Of that running mean; it begins with the mean over the recording.
    floor : float
        Added to the running mean, relative to the largest envelope: what lies far below stays silent.
    trim : float
        Leave out beginning and end of a recording while all envelopes are below this part of the largest one.
    version : int
        Of the procedure; a result quoted with version and parameters can be made again.

    Raises
    ------
    DataError
        If a parameter is out of range or has the wrong unit.

    Notes
    -----
    Units are ``channel * n_fibres + fibre``, times are microseconds. Everything is deterministic.

    The compression acts on the envelope, after the low-pass: on the filters' output, at the full sample rate,
    it would cost more than the filters.

    References
    ----------
    Slaney (1993), "An efficient implementation of the Patterson-Holdsworth auditory filter bank", Apple
    technical report 35; Glasberg and Moore (1990), doi:10.1016/0378-5955(90)90170-T; Wang et al. (2017),
    "Trainable frontend for robust and far-field keyword spotting" (the normalisation).
    """

    n_channels: int = 64
    f_min: Quantity = _quantity(100 * Hz)
    f_max: Quantity = _quantity(3600 * Hz)
    spikes: str = "hair-cell"
    cutoff: Quantity = _quantity(40 * Hz)
    compression: float = 0.3
    step: Quantity = _quantity(0.5 * ms)
    tau: Quantity | None = None
    thresholds: tuple | None = None
    adaptation: float = 0.0
    tau_adaptation: Quantity = _quantity(250 * ms)
    floor: float = 1e-3
    trim: float = 0.0
    version: int = 1

    def __post_init__(self):
        if self.spikes not in DEFAULTS:
            raise DataError(f"cochlea: spikes = '{self.spikes}' is unknown; use 'hair-cell' or 'sigma-delta'")
        for name, value in DEFAULTS[self.spikes].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        object.__setattr__(self, "thresholds", tuple(self.thresholds))
        units = {"f_min": Hz, "f_max": Hz, "cutoff": Hz, "step": second, "tau": second, "tau_adaptation": second}
        for name, unit in units.items():
            value = getattr(self, name)
            if not have_same_dimensions(value, unit) or not float(value) > 0:
                raise DataError(f"cochlea: {name} = {value} must be positive, in units of {unit}")
        if self.n_channels < 1 or not self.f_min < self.f_max:
            raise DataError("cochlea: needs at least one channel, and f_min below f_max")
        if not self.thresholds or not all(value > 0 for value in self.thresholds):
            raise DataError(f"cochlea: thresholds = {self.thresholds} must be positive, at least one")
        if self.spikes == "sigma-delta" and len(self.thresholds) > 1:
            raise DataError(f"cochlea: the sigma-delta code has one threshold, not {self.thresholds}")
        if not 0 < self.compression <= 1:
            raise DataError(f"cochlea: compression = {self.compression} must be above 0 and at most 1")
        if not (0 <= self.adaptation <= 1 and 0 <= self.trim < 1 and self.floor > 0):
            raise DataError(
                f"cochlea: adaptation = {self.adaptation} must lie in [0, 1], trim = {self.trim} in [0, 1) and"
                f" floor = {self.floor} above 0"
            )
        if self.version != 1:
            raise DataError(f"cochlea: version {self.version} is unknown; this release has version 1")

    @property
    def n_fibres(self):
        """Spike generators for each channel."""
        return len(self.thresholds)

    @property
    def n_units(self):
        """Number of units of the encoded archive."""
        return self.n_channels * self.n_fibres

    @property
    def centre_frequencies(self):
        """Centres of the filters, (n_channels,) Quantity, hertz, ascending."""
        corner = EAR_Q * MIN_BANDWIDTH
        low, high = (np.log(float(f) + corner) for f in (self.f_min, self.f_max))
        return (np.exp(np.linspace(low, high, self.n_channels)) - corner) * Hz

    def parameters(self):
        """Return all parameters as plain numbers in SI units, for run records and cache names."""
        values = dataclasses.asdict(self)
        return {name: float(v) if isinstance(v, Quantity) else v for name, v in values.items()}

    def envelopes(self, sound, sample_rate):
        """Return the compressed envelopes of one recording.

        Parameters
        ----------
        sound : (n_values,) int16 or float array
        sample_rate : float, hertz

        Returns
        -------
        (n_steps, n_channels) float32 array
            From 0 to 1, every `step`; all 0 for silence.

        Raises
        ------
        DataError
            If `f_max` isn't below half the sample rate.
        """
        return self._envelopes(sound, sample_rate, self._filters(sample_rate))

    def _filters(self, sample_rate):
        if not float(self.f_max) < sample_rate / 2:
            raise DataError(f"cochlea: f_max = {self.f_max} must be below half the sample rate of {sample_rate} Hz")
        bank = [scipy.signal.gammatone(f, "iir", fs=sample_rate) for f in np.asarray(self.centre_frequencies)]
        return bank, scipy.signal.butter(2, float(self.cutoff), fs=sample_rate)

    def _envelopes(self, sound, sample_rate, filters, rng=None):
        bank, smooth = filters
        sound = np.asarray(sound, float)
        sound = sound - sound.mean()  # a recorder's offset would ring in the lowest channels
        n_steps = max(1, int(len(sound) / (sample_rate * float(self.step))))
        position = np.minimum(np.arange(n_steps) * float(self.step) * sample_rate, len(sound) - 1)
        index = position.astype(int)
        part = position - index
        after = np.minimum(index + 1, len(sound) - 1)
        envelopes = np.empty((n_steps, self.n_channels))
        for channel, (b, a) in enumerate(bank):
            wave = scipy.signal.lfilter(b, a, sound)
            level = scipy.signal.lfilter(*smooth, np.maximum(wave, 0, out=wave))
            envelopes[:, channel] = level[index] * (1 - part) + level[after] * part
        # The low-pass overshoots a little below zero.
        np.maximum(envelopes, 0, out=envelopes)
        largest = envelopes.max()
        if not np.isfinite(largest):
            raise DataError(f"cochlea: the filters overflow at {sample_rate:g} Hz; resample the sounds")
        if not largest > 0:
            return envelopes.astype(np.float32)
        envelopes /= largest
        if self.trim:
            loud = np.flatnonzero(envelopes.max(axis=1) > self.trim)
            margin = round(0.01 / float(self.step))  # 10 ms: a sound's own rise belongs to it
            envelopes = envelopes[max(0, loud[0] - margin) : loud[-1] + 1 + margin]
        if rng is not None:
            envelopes = vary_envelopes(envelopes, rng, grain=max(1, round(0.005 / float(self.step))))
        return self._compressed(envelopes).astype(np.float32)

    def _compressed(self, envelopes):
        if not self.adaptation:
            return envelopes**self.compression
        keep = np.exp(-float(self.step) / float(self.tau_adaptation))
        b, a = [1 - keep], [1, -keep]
        # The recording's own mean is the best guess of what went before it.
        start = keep * envelopes.mean(axis=0, keepdims=True)
        mean = scipy.signal.lfilter(b, a, envelopes, axis=0, zi=start)[0]
        gained = envelopes / (self.floor + mean) ** self.adaptation
        compressed = (gained + 1) ** self.compression - 1
        return compressed / compressed.max()

    def encode(self, audio, cached=True, variant=0):
        """Encode an audio archive.

        Parameters
        ----------
        audio : AudioArchive
        cached : bool
            Keep the result in the user's cache folder, under the hash of sounds and parameters.
        variant : int
            0: as recorded. Others: every recording changed at random (see `vary_envelopes`), differently for each
            number, to train on more voices and rooms than were recorded.

        Returns
        -------
        EventArchive
            With ``speaker`` and ``take`` as extras.
        """
        if not cached:
            return self._encode(audio, variant)
        key = hashlib.sha256(f"{audio.sha256} {self.parameters()} {variant}".encode()).hexdigest()[:24]
        archive = cached_archive(f"cochlea-v{self.version}-{key}.npz", lambda: self._encode(audio, variant))
        return dataclasses.replace(archive, name=audio.name)

    def _encode(self, audio, variant):
        filters = self._filters(audio.sample_rate)
        # Recordings of like length go together, because the spike generators run a batch to its longest.
        order = np.argsort(-np.diff(audio.offsets), kind="stable")
        found = []
        for batch in self._batches(order, np.diff(audio.offsets) / audio.sample_rate, audio.name):
            envelopes = []
            for k in batch:
                rng = np.random.default_rng([variant, k]) if variant else None
                envelopes.append(self._envelopes(audio.recording(k), audio.sample_rate, filters, rng))
            # Trimming may have changed which one is the longest.
            longest = np.argsort([-len(envelope) for envelope in envelopes], kind="stable")
            batch, envelopes = batch[longest], [envelopes[k] for k in longest]
            for which, units, times in self._generate(envelopes):
                found.append((batch[which], units, times))
        units, times, offsets = flatten_events(found, len(audio))
        extra = {"speaker": audio.speaker, "take": audio.take}
        return EventArchive(units, times, offsets, audio.labels, self.n_units, 1, name=audio.name, extra=extra)

    def _batches(self, order, lengths, name):
        """Cut recordings, longest first, into batches that fit into memory at the length of their first."""
        if len(order) and lengths[order[0]] > LONGEST:
            takes = f"recording {order[0]} takes {lengths[order[0]]:.0f} s"
            raise DataError(f"{name}: {takes}; cut it into parts of at most {LONGEST:g} s")
        while len(order):
            values = max(1, lengths[order[0]] / float(self.step)) * self.n_units
            count = int(np.clip(VALUES // values, 1, BATCH))
            yield order[:count]
            order = order[count:]

    def _generate(self, envelopes):
        step_us, steps_per_tau = float(self.step) * 1e6, float(self.tau / self.step)
        if self.spikes == "sigma-delta":
            return sigma_delta_spikes(envelopes, self.thresholds[0], steps_per_tau, step_us)
        return hair_cell_spikes(envelopes, self.thresholds, steps_per_tau, step_us)
