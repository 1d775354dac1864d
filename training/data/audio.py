"""Audio archives: labelled sound recordings as one flat array."""

import dataclasses
import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np

from .checks import check_offsets
from .fields import Field, Misfit, Problems, first_true
from .npz import read_fields

__all__ = ["AudioArchive", "read_audio"]

FIELDS = {
    "sample_rate": Field("float64", 0, 1, 1e7),
    "pcm": Field("int16"),
    "offsets": Field("int64", least=0),
    "labels": Field("uint8"),
    "speaker": Field("text"),
    "take": Field("int64", least=0),
}


@dataclasses.dataclass(frozen=True, eq=False)
class AudioArchive:
    """Hold labelled sounds, one after the other.

    Parameters
    ----------
    pcm : (n_values,) int16 array
        Sound pressure, full scale 32768.
    offsets : (n_samples + 1,) int64 array
        Recording ``k`` is ``pcm[offsets[k]:offsets[k + 1]]``; none is empty.
    labels : (n_samples,) uint8 array
    speaker : (n_samples,) string or integer array
    take : (n_samples,) integer array
        Which repetition of the word by this speaker.
    sample_rate : int or float, hertz
    name : str, optional
        Names the archive in messages.

    Raises
    ------
    DataError
        If the arrays contradict each other; the message names field and first bad index.
    """

    pcm: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    speaker: np.ndarray
    take: np.ndarray
    sample_rate: float
    name: str = ""

    def __post_init__(self):
        problems = Problems(self.name or "audio archive")
        for name, field in FIELDS.items():
            try:
                object.__setattr__(self, name, field.checked(getattr(self, name)))
            except Misfit as misfit:
                problems.add(name, misfit)
        problems.stop()
        check_offsets(problems, self.offsets, len(self.pcm), "pcm")
        for name in ("labels", "speaker", "take"):
            count, wanted = len(getattr(self, name)), len(self.offsets) - 1
            if count != wanted:
                problem = f"has {count} entries, but 'offsets' describes {wanted} recordings; they must agree"
                problems.add(name, problem)
        empty = first_true(self.offsets[1:] == self.offsets[:-1])
        if empty is not None:
            problems.add("offsets", f"describes an empty recording at index {empty}; remove it")
        problems.stop()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, which):
        """Return some of the recordings (int, slice, index array or boolean array) as an archive."""
        chosen = np.atleast_1d(np.arange(len(self))[which])
        parts = [self.recording(k) for k in chosen]
        return AudioArchive(
            pcm=np.concatenate(parts) if parts else self.pcm[:0],
            offsets=np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64),
            labels=self.labels[chosen],
            speaker=self.speaker[chosen],
            take=self.take[chosen],
            sample_rate=self.sample_rate,
            name=self.name,
        )

    def recording(self, k):
        """Return recording `k`, an int16 array that shares the archive's memory."""
        return self.pcm[self.offsets[k] : self.offsets[k + 1]]

    @cached_property
    def sha256(self):
        """Hexadecimal SHA-256 of sounds and annotations, for run records and cache names."""
        digest = hashlib.sha256(f"{self.sample_rate} ".encode())
        for array in (self.pcm, self.offsets, self.labels, self.speaker, self.take):
            digest.update(f"{array.dtype.str} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        return digest.hexdigest()


def read_audio(path):
    """Read an audio archive.

    Parameters
    ----------
    path : path-like
        ``.npz`` file with ``pcm``, ``offsets``, ``labels``, ``take`` (integers of any type that fit int16, int64,
        uint8 and int64), ``speaker`` and ``sample_rate``.

    Returns
    -------
    AudioArchive

    Raises
    ------
    DataError
        If the file is missing, damaged or malformed.
    """
    archive = AudioArchive(**read_fields(path, FIELDS, "audio archive"), name=str(path))
    object.__setattr__(archive, "name", Path(path).stem)  # the path was for the messages
    return archive
