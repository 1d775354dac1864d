"""Recordings: event archives, their readers, the embedded default and the encoders."""

from .archive import EventArchive
from .audio import AudioArchive, read_audio
from .augment import shift_units
from .camera import EventCamera
from .cochlea import Cochlea
from .digits import digits, simulate_digits
from .errors import DataError
from .gesture import read_gestures
from .heidelberg import read_heidelberg
from .images import ImageArchive, read_images
from .latency import encode_images, encode_vectors
from .loading import DATASETS, load, load_splits
from .nmnist import read_nmnist, read_nmnist_file
from .npz import read_archive
from .recordings import RecordingArchive, read_recording
from .vectors import VectorArchive, read_vectors

__all__ = [
    "DATASETS",
    "AudioArchive",
    "Cochlea",
    "DataError",
    "EventArchive",
    "EventCamera",
    "ImageArchive",
    "RecordingArchive",
    "VectorArchive",
    "digits",
    "encode_images",
    "encode_vectors",
    "load",
    "load_splits",
    "read_archive",
    "read_audio",
    "read_gestures",
    "read_heidelberg",
    "read_images",
    "read_nmnist",
    "read_nmnist_file",
    "read_recording",
    "read_vectors",
    "shift_units",
    "simulate_digits",
]
