"""Measures of answers that every evaluation shares."""

from __future__ import annotations

import numpy as np


def balanced_accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Mean over the classes that occur of the fraction recognised; labels below 0 are not asked for.

    Parameters
    ----------
    labels, predictions : arrays of int of one shape
    """
    from sklearn.metrics import recall_score  # here, because it takes a second to import

    present = np.unique(labels[labels >= 0])
    return float(recall_score(labels.ravel(), predictions.ravel(), labels=present, average="macro"))
