"""Measures of answers that every evaluation shares."""

from __future__ import annotations

import numpy as np

from ..equations.display import DisplayedFields


def balanced_accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Mean over the classes that occur of the fraction recognised; labels below 0 are not asked for.

    Parameters
    ----------
    labels, predictions : arrays of int of one shape
    """
    from sklearn.metrics import recall_score  # here, because it takes a second to import

    present = np.unique(labels[labels >= 0])
    return float(recall_score(labels.ravel(), predictions.ravel(), labels=present, average="macro"))


class Answers(DisplayedFields):
    """What all evaluations share: `predictions`, `labels`, `spikes`, `duration`, and `n_spiking` neurons."""

    @property
    def accuracy(self) -> float:
        """Fraction of correct answers (of steps, where every step has a label)."""
        asked = self.labels >= 0
        return float((self.predictions == self.labels)[asked].mean())

    @property
    def balanced_accuracy(self) -> float:
        """Mean over classes of the fraction recognised."""
        return balanced_accuracy(self.labels, self.predictions)

    @property
    def spikes_per_neuron(self) -> float:
        """Spikes per sample of a neuron that can spike."""
        return float(self.spikes.sum() / len(self.spikes) / max(1, self.n_spiking))

    def shared_report(self, task) -> dict:
        """Entries of the report that all of them have."""
        return {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "n_samples": len(self.predictions),
            "spikes_per_neuron": self.spikes_per_neuron,
            "spikes_per_second": self.spikes_per_neuron / self.duration,
            "spikes_per_layer": [float(n) for n in self.spikes.mean(axis=0)],
            "input_events": task.raw_events,
        }


class SpikingAnswers(Answers):
    """What evaluations share whose outputs spike, and count among the `n_neurons`.

    `latency` has, by name, (n_samples, 2) arrays of what passed until the first output spike and until the first of the
    labelled class, infinite where there is none.
    """

    @property
    def n_spiking(self) -> int:
        """All neurons, the outputs too."""
        return self.n_neurons

    @property
    def decision_spikes(self) -> np.ndarray:
        """Network spikes until the first and the correct output spike, nan where there is none, (n_samples, 2)."""
        return self._until("spikes")

    @property
    def decision_ms(self) -> np.ndarray:
        """Time until then in milliseconds, nan where there is none, (n_samples, 2)."""
        return self._until("ms")

    def _until(self, name: str) -> np.ndarray:
        return np.where(np.isfinite(self.latency[name]), self.latency[name], np.nan)

    def medians(self) -> dict:
        """Medians of the decision latency over the samples that decided."""
        table: dict = {}
        for name, values in self.latency.items():
            table[name] = {}
            for column, which in enumerate(("first", "correct")):
                found = values[np.isfinite(values[:, column]), column]
                table[name][which] = float(np.median(found)) if len(found) else None
        return table
