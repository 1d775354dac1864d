"""Numbers of a page against those counted by hand."""

import numpy as np
import pytest

from brian2grad.training.report.pictures import confusion_figure
from brian2grad.training.report.summary import confused, confusion, energy, worst_samples

LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, -1])
ANSWERS = np.array([0, 1, 1, 1, -1, 2, 0, 0, 0, 2])


def test_confusion_counts_answers_and_their_lack():
    table = confusion(LABELS, ANSWERS, 3)
    assert table.tolist() == [[1, 2, 0, 0], [0, 1, 0, 1], [3, 0, 1, 0]]
    assert confused(table) == [(2, 0, 3), (0, 1, 2), (1, -1, 1)]


def test_worst_samples_show_every_frequent_confusion_once():
    table = confusion(LABELS, ANSWERS, 3)
    assert worst_samples(LABELS[:-1], ANSWERS[:-1], table) == [6, 1, 4]
    assert worst_samples(LABELS[:-1], ANSWERS[:-1], table, most=5) == [6, 1, 4, 2, 7]
    assert worst_samples(np.array([0, 1]), np.array([0, 1]), confusion([0, 1], [0, 1], 2)) == []


def test_labels_of_every_step():
    labels, answers = np.array([[0, 1, 1], [1, 1, -1]]), np.array([[0, 1, 1], [0, 1, 0]])
    assert confusion(labels, answers, 2).tolist() == [[1, 0, 0], [1, 3, 0]]
    assert worst_samples(labels, answers, None) == [1]


def test_energy_of_a_thousand_operations():
    assert energy({"synaptic_operations": 1000.0}) == {"spiking": 0.9e-9, "multiplying": 4.6e-9}


@pytest.mark.parametrize("n", [2, 3, 45])
@pytest.mark.parametrize("unanswered", [False, True])
def test_axes_of_the_confusion_matrix(n, unanswered):
    table = np.pad(np.eye(n, dtype=int), ((0, 0), (0, 1)))
    table[0, n] = unanswered
    ax = confusion_figure(table).axes[0]
    assert (ax.get_xticklabels()[-1].get_text() == "none") == unanswered
    assert ax.get_images()[0].get_array().shape == (n, n + unanswered)
