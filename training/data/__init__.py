"""Recordings: event archives, their readers, the embedded default and the encoders."""

from .archive import EventArchive
from .audio import AudioArchive, read_audio
from .augment import shift_units
from .camera import EventCamera
from .cochlea import Cochlea
from .digits import digits, simulate_digits
from .errors import DataError
from .heidelberg import read_heidelberg
from .loading import DATASETS, load, load_splits
from .nmnist import read_nmnist, read_nmnist_file
from .npz import read_archive

__all__ = [
    "DATASETS",
    "AudioArchive",
    "Cochlea",
    "DataError",
    "EventArchive",
    "EventCamera",
    "digits",
    "load",
    "load_splits",
    "read_archive",
    "read_audio",
    "read_heidelberg",
    "read_nmnist",
    "read_nmnist_file",
    "shift_units",
    "simulate_digits",
]
