"""Latency encoding: one spike per number, and when it comes says how large the number is.

The code of vectors is that of Göltz et al. 2021 (doi:10.1038/s42256-021-00388-x), that of images the one of latency
MNIST in Wunderlich & Pehle 2021 (doi:10.1038/s41598-021-91786-z).
"""

from __future__ import annotations

import numpy as np
from brian2 import Quantity, ms, second
from brian2.units.fundamentalunits import fail_for_dimension_mismatch

from .archive import EventArchive
from .errors import DataError
from .images import ImageArchive
from .vectors import VectorArchive

__all__ = ["encode_images", "encode_vectors"]

UNIT_US = 1e-3  # a nanosecond: far below what a spike time can be learned to


def encode_vectors(
    archive: VectorArchive, span: Quantity = 30 * ms, complement: bool | None = None, bias: bool = True
) -> EventArchive:
    """Encode every number x of a vector by a spike at x times the span.

    Parameters
    ----------
    archive : VectorArchive
    span : Quantity, second
        Time of the spike of a one.
    complement : bool, optional
        Add 1 - x for every number: what is early for one is late for the other. Left out, they are added unless the
        second half of every vector is the complement of the first half already, as in the Yin-Yang set.
    bias : bool
        Add a unit that spikes at 0.

    Returns
    -------
    EventArchive
        Of one unit per number, its complement and the bias, in this order; times in nanoseconds.
    """
    values = archive.samples
    if complement is None:
        complement = not _has_complement(values)
    if complement:
        values = np.hstack([values, 1 - values])
    if bias:
        values = np.hstack([values, np.zeros((len(values), 1))])
    order = np.argsort(values, axis=1, kind="stable")
    times = np.take_along_axis(values, order, axis=1)
    n, width = values.shape
    if width > 2**16:
        raise DataError(f"{archive.name or 'vectors'}: {width} units are too many; at most {2**16} fit")
    offsets = np.arange(0, n * width + 1, width, dtype=np.int64)
    return _archive(archive, order.ravel(), times.ravel(), offsets, width, span)


def encode_images(archive: ImageArchive, span: Quantity = 20 * ms, threshold: int = 1) -> EventArchive:
    """Encode every pixel above a threshold by a spike, the brightest (255) at 0, a black one would be at the span.

    Parameters
    ----------
    archive : ImageArchive
    span : Quantity, second
    threshold : int
        Pixels up to here stay silent.

    Returns
    -------
    EventArchive
        Unit = y*width + x; times in nanoseconds.
    """
    images = archive.images.reshape(len(archive), -1)
    order = np.argsort(255 - images, axis=1, kind="stable")
    values = np.take_along_axis(images, order, axis=1)
    seen = values > threshold
    offsets = np.concatenate([[0], np.cumsum(seen.sum(axis=1))]).astype(np.int64)
    return _archive(archive, order[seen], (255 - values[seen].astype(float)) / 255, offsets, images.shape[1], span)


def _has_complement(values) -> bool:
    half = values.shape[1] // 2
    return values.shape[1] == 2 * half > 0 and bool(np.allclose(values[:, half:], 1 - values[:, :half], atol=1e-6))


def _archive(archive, units, times, offsets, n_units, span) -> EventArchive:
    fail_for_dimension_mismatch(span, second, "span must be a time")
    length = float(span) * 1e6 / UNIT_US
    if not 1 <= length < 2**32:
        raise DataError(f"span = {span} must lie between 1 ns and 4 s")
    ticks = np.rint(times * length).astype(np.uint32)
    return EventArchive(units.astype(np.uint16), ticks, offsets, archive.labels, n_units, UNIT_US, name=archive.name)
