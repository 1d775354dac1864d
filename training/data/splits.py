"""Deterministic splits into training and validation samples."""

import numbers

import numpy as np

from .errors import DataError

__all__ = ["group_split", "last_split", "n_validation", "random_split", "stratified_split"]


def n_validation(n_samples, validation):
    """Return a number of samples from a fraction (below 1) or a number.

    Raises
    ------
    DataError
        If either part would be empty.
    """
    # 1.0 is refused rather than read as one sample: who writes it means everything.
    count = validation if isinstance(validation, numbers.Integral) else round(n_samples * validation)
    if not 0 < count < n_samples:
        problem = f"validation = {validation} of {n_samples} samples leaves one part empty"
        raise DataError(f"{problem}; give a fraction between 0 and 1 or a number of samples")
    return int(count)


def random_split(n_samples, count, seed):
    """Draw `count` of `n_samples` for validation.

    Returns
    -------
    train, validation : integer arrays
        Sorted indices.
    """
    order = np.random.default_rng(seed).permutation(n_samples)
    return np.sort(order[count:]), np.sort(order[:count])


def last_split(n_samples, count):
    """Hold out the last `count` of `n_samples`.

    Returns
    -------
    train, validation : integer arrays
    """
    return np.arange(n_samples - count), np.arange(n_samples - count, n_samples)


def stratified_split(labels, count, seed):
    """Draw `count` samples for validation, each class in proportion.

    Parameters
    ----------
    labels : (n_samples,) integer array
    count : int
    seed : int

    Returns
    -------
    train, validation : integer arrays
        Sorted indices.
    """
    rng = np.random.default_rng(seed)
    classes, sizes = np.unique(labels, return_counts=True)
    exact = sizes * count / len(labels)
    quota = np.floor(exact).astype(int)
    # Largest remainders take what rounding down left over; the order of classes breaks ties.
    for k in np.argsort(quota - exact, kind="stable")[: count - quota.sum()]:
        quota[k] += 1
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:n] for label, n in zip(classes, quota, strict=True)]
    validation = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), validation), validation


def group_split(groups, held_out, what):
    """Hold out whole groups: speakers or takes.

    Parameters
    ----------
    groups : (n_samples,) array
    held_out : array
        Values of `groups` for validation.
    what : str
        What the groups are, for the message.

    Returns
    -------
    train, validation : integer arrays

    Raises
    ------
    DataError
        If either part would be empty.
    """
    mask = np.isin(groups, held_out)
    if mask.all() or not mask.any():
        known = ", ".join(str(value) for value in np.unique(groups))
        raise DataError(f"holding out {what} {held_out} leaves one part empty; there are {known}")
    return np.flatnonzero(~mask), np.flatnonzero(mask)
