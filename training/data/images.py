"""Image archives: labelled grey images, such as MNIST."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...equations.display import DisplayedFields
from .fields import Field, Problems
from .npz import read_fields

__all__ = ["ImageArchive", "is_images", "read_images"]

FIELDS = {"images": Field("uint8", 3), "labels": Field("uint8")}


@dataclass(frozen=True, eq=False, repr=False)
class ImageArchive(DisplayedFields):
    """Hold labelled images.

    Parameters
    ----------
    images : (n_samples, height, width) uint8 array
    labels : (n_samples,) uint8 array
    name : str, optional
        Names the archive in messages.

    Raises
    ------
    DataError
        If a value does not fit, or the arrays contradict each other.
    """

    images: np.ndarray
    labels: np.ndarray
    name: str = ""

    def __post_init__(self):
        problems = Problems(self.name or "image archive")
        problems.keep(self, FIELDS)
        if not self.images.size:
            problems.add("images", f"has shape {self.images.shape}; it must hold at least one pixel")
        if self.images[0:1].size > 2**16:
            problems.add("images", f"has {self.images[0].size} pixels an image; at most {2**16} fit")
        if len(self.labels) != len(self.images):
            problem = f"has {len(self.labels)} entries, but 'images' has {len(self.images)} images; they must agree"
            problems.add("labels", problem)
        problems.stop()

    def __len__(self):
        return len(self.labels)


def is_images(names) -> bool:
    """Whether a file with fields of these names is an image archive."""
    return "images" in names


def read_images(path) -> ImageArchive:
    """Read an image archive.

    Parameters
    ----------
    path : path-like
        ``.npz`` file with ``images`` (n, height, width) and ``labels`` (integers of any type that fit uint8).

    Raises
    ------
    DataError
        If the file is missing, damaged or malformed: one line that names every wrong field.
    """
    archive = ImageArchive(**read_fields(path, FIELDS, "archive of images"), name=str(path))
    object.__setattr__(archive, "name", Path(path).stem)  # the path was for the messages
    return archive
