"""Reading classes from a readout: by hand."""

import numpy as np
import pytest

from brian2grad.models import NetworkError
from brian2grad.models.readout import decisions, loss_window, scores

READOUT = np.log([[[9.0, 1.0], [4.0, 6.0], [1.0, 9.0], [2.0, 8.0]]])  # softmax: a tenth of these


def test_evidence_adds_up():
    """0.9 + 0.4 is still more than 0.1 + 0.6; the third step decides for class 1."""
    assert decisions(READOUT, 0).tolist() == [[0, 0, 1, 1]]
    assert decisions(READOUT, 1).tolist() == [[-1, 1, 1, 1]]
    np.testing.assert_allclose(scores(READOUT, 0), [[1.6, 2.4]])
    np.testing.assert_allclose(scores(READOUT, 2), [[0.3, 1.7]])


def test_weights_of_the_steps():
    """Class 0 is a class, -1 none; what is left sums to one."""
    labels, weight = loss_window((2, 3), [0, 1], None, 1, 2)
    assert labels.tolist() == [[0, 0, 0], [1, 1, 1]]
    np.testing.assert_allclose(weight, [[0, 0.25, 0.25]] * 2)
    _, weight = loss_window((2, 3), [[0, 0, -1], [-1, 1, 0]], [[1.0, 2.0, 3.0]], 0, 2)
    np.testing.assert_allclose(weight, np.array([[1, 2, 0], [0, 2, 3]]) / 8)
    for first, labels in ((3, [0, 1]), (0, [-1, -1]), (0, [0, 2]), (0, [0]), (0, [[0, 1]])):
        with pytest.raises(NetworkError):
            loss_window((2, 3), labels, None, first, 2)
