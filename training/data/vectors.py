"""Vector archives: labelled points with coordinates between 0 and 1, such as Yin-Yang."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...equations.display import DisplayedFields
from .fields import Field, Problems
from .npz import field_names, read_fields

__all__ = ["VectorArchive", "is_vectors", "read_vectors"]

FIELDS = {"samples": Field("float64", 2, 0, 1), "labels": Field("uint8")}
PARTS = {"train": "train_", "validation": "validation_"}


@dataclass(frozen=True, eq=False, repr=False)
class VectorArchive(DisplayedFields):
    """Hold labelled vectors.

    Parameters
    ----------
    samples : (n_samples, n_features) float64 array
        Between 0 and 1.
    labels : (n_samples,) uint8 array
    name : str, optional
        Names the archive in messages.

    Raises
    ------
    DataError
        If a value does not fit, or the arrays contradict each other.
    """

    samples: np.ndarray
    labels: np.ndarray
    name: str = ""

    def __post_init__(self):
        problems = Problems(self.name or "archive of vectors")
        problems.keep(self, FIELDS)
        _check_lengths(problems, "samples", self.samples, "labels", self.labels)
        problems.stop()

    def __len__(self):
        return len(self.labels)


def is_vectors(names) -> bool:
    """Whether a file with fields of these names is a vector archive."""
    return bool({"samples", *(f"{begin}samples" for begin in PARTS.values())} & set(names))


def read_vectors(path, part="train") -> tuple[VectorArchive, bool]:
    """Read a vector archive, or one part of it.

    Parameters
    ----------
    path : path-like
        ``.npz`` file with ``samples`` (n, d) in [0, 1] and ``labels`` (integers of any type that fit uint8), or with
        ``train_samples``, ``train_labels``, ``validation_samples`` and ``validation_labels``.
    part : {'train', 'validation'}
        Of a file with two parts.

    Returns
    -------
    archive : VectorArchive
    parts : bool
        Whether the file holds two parts.

    Raises
    ------
    DataError
        If the file is missing, damaged or malformed: one line that names every wrong field.
    """
    parts = "samples" not in field_names(path)
    begin = PARTS[part] if parts else ""
    # Of a file with two parts the other one must be there, too: half a file is no training set.
    schema = {f"{b}{n}": f for b in (PARTS.values() if parts else [""]) for n, f in FIELDS.items()}
    fields = read_fields(path, schema, "archive of vectors")
    problems = Problems(path)
    for b in PARTS.values() if parts else [""]:
        _check_lengths(problems, f"{b}samples", fields[f"{b}samples"], f"{b}labels", fields[f"{b}labels"])
    if parts and not problems.found:
        widths = [fields[f"{b}samples"].shape[1] for b in PARTS.values()]
        if widths[0] != widths[1]:
            problem = f"has {widths[1]} columns, but 'train_samples' has {widths[0]}; they must agree"
            problems.add("validation_samples", problem)
    problems.stop()
    archive = VectorArchive(fields[f"{begin}samples"], fields[f"{begin}labels"], name=str(path))
    object.__setattr__(archive, "name", Path(path).stem)  # the path was for the messages
    return archive, parts


def _check_lengths(problems, samples, vectors, labels, classes):
    if not vectors.size:
        problems.add(samples, f"has shape {vectors.shape}; it must hold at least one number")
    if len(classes) != len(vectors):
        problems.add(labels, f"has {len(classes)} entries, but '{samples}' has {len(vectors)} rows; they must agree")
