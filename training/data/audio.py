"""Audio archives: labelled sound recordings as one flat array."""

import dataclasses
import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np

from .checks import check_offsets, check_scalar, first_true
from .errors import field_error
from .npz import read_fields, require

__all__ = ["AudioArchive", "read_audio"]

REQUIRED = ("pcm", "offsets", "labels", "speaker", "take", "sample_rate")


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
        where = self.name or "audio archive"
        object.__setattr__(self, "sample_rate", check_scalar(where, "sample_rate", self.sample_rate))
        for field, kinds, dtype in (
            ("pcm", "i", "int16"),
            ("labels", "u", "uint8"),
            ("speaker", "UuiS", "str"),
            ("take", "ui", "uint8"),
        ):
            array = getattr(self, field)
            exact = field in ("pcm", "labels")
            right = isinstance(array, np.ndarray) and array.dtype.kind in kinds
            if not right or (exact and array.dtype != dtype) or array.ndim != 1:
                found = getattr(array, "dtype", type(array).__name__)
                raise field_error(where, field, f"has dtype {found}; store it as one line of {dtype}")
        check_offsets(where, self.offsets, len(self.pcm), "pcm")
        for field in ("labels", "speaker", "take"):
            count, wanted = len(getattr(self, field)), len(self.offsets) - 1
            if count != wanted:
                problem = f"has {count} entries, but 'offsets' describes {wanted} recordings; they must agree"
                raise field_error(where, field, problem)
        empty = first_true(self.offsets[1:] == self.offsets[:-1])
        if empty is not None:
            raise field_error(where, "offsets", f"describes an empty recording at index {empty}; remove it")

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


def audio_from_fields(path, fields):
    """Build an audio archive from what `read_fields` returned; see `read_audio`."""
    require(path, fields, REQUIRED, "audio archive")
    archive = AudioArchive(**{field: fields[field] for field in REQUIRED}, name=str(path))
    object.__setattr__(archive, "name", Path(path).stem)  # the path was for the messages
    return archive


def read_audio(path):
    """Read an audio archive.

    Parameters
    ----------
    path : path-like
        ``.npz`` file with ``pcm`` int16, ``offsets`` int64, ``labels`` uint8, ``speaker``, ``take`` and
        ``sample_rate``.

    Returns
    -------
    AudioArchive

    Raises
    ------
    DataError
        If the file is missing, damaged or malformed.
    """
    return audio_from_fields(path, read_fields(path))
