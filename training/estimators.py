"""Classifiers in scikit-learn's manner, for event archives: the same networks and training loop behind three verbs."""

from __future__ import annotations

import numpy as np
from brian2 import ms, second
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from .asynchronous.configuration import AsyncConfiguration
from .asynchronous.configuration import build as build_asynchronous
from .data import EventArchive
from .errors import TrainingError
from .gamma.configuration import GammaConfiguration
from .gamma.configuration import build as build_gamma
from .loop import train
from .tasks import Task, make_task

_TRAINING = ("epochs", "batch_size", "learning_rate", "activity", "optimiser", "schedule", "warmup", "seed")


class EventClassifier(ClassifierMixin, BaseEstimator):
    """What both classifiers share; `X` is an `EventArchive` throughout, `y` defaults to its labels.

    Attributes
    ----------
    classes_ : (n_classes,) array
    network_ : SpikingGammaNetwork or AsynchronousNetwork
        Trained.
    history_ : list of dict
        One record per epoch, see `train`.
    duration_ : Quantity, second
        To which samples are cut or filled up: the given one, or that of the longest sample of `fit`.
    n_features_in_ : int
        Input units.
    """

    def fit(self, X: EventArchive, y=None) -> EventClassifier:
        """Train a new network.

        Parameters
        ----------
        X : EventArchive
        y : (n_samples,) array, optional
            Classes of any type.

        Raises
        ------
        TrainingError
            If `X` is no archive, has a label for every step, or `y` has another length.
        """
        labels = self._labels(X, y)
        self.classes_, index = np.unique(labels, return_inverse=True)
        self.n_features_in_ = X.n_units
        task = self._task(X, self.duration, index)
        self.duration_ = task.events.n_steps * task.events.dt * second
        training = {name: getattr(self, name) for name in self._training}
        sections = {"training": training, **self._sections(), "data": {"dt_ms": float(self.dt / ms)}}
        sections["network"] |= {"hidden": list(self.hidden), "n_classes": len(self.classes_)}
        self.network_ = self._build(sections, task, self.seed, self.threads)
        self.history_ = list(train(self.network_, task, self._configuration.read(sections).options()))
        return self

    def predict_proba(self, X: EventArchive) -> np.ndarray:
        """Share of every class in the answer, (n_samples, n_classes); rows sum to one."""
        check_is_fitted(self)
        self._labels(X, None)
        shares = self._evidence(self._task(X, self.duration_).events)
        total = shares.sum(axis=1, keepdims=True)
        silent = np.full_like(shares, 1 / shares.shape[1])
        return np.divide(shares, total, out=silent, where=total > 0)

    def predict(self, X: EventArchive) -> np.ndarray:
        """Class of every sample, (n_samples,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def score(self, X: EventArchive, y=None, sample_weight=None) -> float:
        """Fraction of correct answers."""
        return float(accuracy_score(self._labels(X, y), self.predict(X), sample_weight=sample_weight))

    def _labels(self, X: EventArchive, y) -> np.ndarray:
        if not isinstance(X, EventArchive):
            raise TrainingError(f"X is of type {type(X).__name__}; give an EventArchive, such as load('digits').")
        if X.labels_per_step is not None:
            raise TrainingError("X has a label for every step; a classifier answers once per sample: use a network.")
        labels = X.labels if y is None else np.asarray(y)
        if labels.shape != (len(X),):
            raise TrainingError(f"y has shape {labels.shape}, expected ({len(X)},): one class per sample of X.")
        return labels

    def _task(self, X: EventArchive, duration, labels=None) -> Task:
        if X.n_units != self.n_features_in_:
            raise TrainingError(f"X has {X.n_units} units; the classifier was fitted on {self.n_features_in_}.")
        task = make_task(X, self.dt, duration)
        return task if labels is None else Task(task.events, labels.astype(np.int64), task.raw_events)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags


class SpikingGammaClassifier(EventClassifier):
    """SpikingGamma network with a linear readout, trained by decoded gradients.

    Parameters
    ----------
    hidden : sequence of int or str
        Hidden layers, such as ``(128,)`` or, of a camera, ``("16c5", "p2", 128)``.
    K, tau, theta, memory, buckets, read_from, dt
        As in `SpikingGammaNetwork`.
    rule : {'filter', 'online', 'direct', 'detached'}
        Gradient.
    epochs, batch_size, learning_rate, activity, optimiser, schedule, warmup
        As in `TrainingOptions`.
    duration : Quantity, second, optional
        Length of a sample; by default that of the longest one.
    seed : int
    threads : int, optional

    Examples
    --------
    >>> from sklearn.model_selection import cross_val_score
    >>> cross_val_score(SpikingGammaClassifier(epochs=5), digits, digits.labels)  # doctest: +SKIP
    """

    _configuration, _build, _training = GammaConfiguration, staticmethod(build_gamma), (*_TRAINING, "rule")

    def __init__(
        self, hidden=(128,), *, K=5, tau=30 * ms, theta=1.0, memory="paper", buckets="neuron", read_from=0 * ms,
        dt=10 * ms, duration=None, rule="filter", epochs=20, batch_size=64, learning_rate=2e-3, activity=0.05,
        optimiser="adam", schedule="cosine", warmup=0, seed=0, threads=None,
    ):  # fmt: skip
        self.hidden, self.K, self.tau, self.theta, self.memory, self.buckets = hidden, K, tau, theta, memory, buckets
        self.read_from, self.dt, self.duration, self.rule = read_from, dt, duration, rule
        self.epochs, self.batch_size, self.learning_rate, self.activity = epochs, batch_size, learning_rate, activity
        self.optimiser, self.schedule, self.warmup, self.seed, self.threads = optimiser, schedule, warmup, seed, threads

    def _sections(self) -> dict:
        plain = {name: getattr(self, name) for name in ("K", "theta", "memory", "buckets")}
        tau = np.asarray(self.tau / ms).tolist()
        return {"network": {**plain, "tau_ms": tau, "read_from_ms": float(self.read_from / ms)}}

    def _evidence(self, events) -> np.ndarray:
        return self.network_.scores(self.network_.forward(events).readout)


class AsynchronousClassifier(EventClassifier):
    """Asynchronous network, read by the spike counts of its output, trained by unlayered backprop.

    Parameters
    ----------
    hidden : sequence of int
    tau_m, V_th, output_tau_m, output_V_th
        Membrane time constant and threshold of hidden and of output neurons.
    scheduler : {'random', 'momentum', 'fifo', 'lifo', 'layered', 'mixed'}
        Order of spikes.
    forward_group : int or 'all'
    noise : float, optional
        Noise of momentum order.
    refractory_dropout : float
    unlayered, loss : dict, optional
        Entries of these sections of a recipe.
    dt, duration, epochs, batch_size, learning_rate, activity, optimiser, schedule, warmup, seed, threads
        As in `SpikingGammaClassifier`.
    """

    _configuration, _build, _training = AsyncConfiguration, staticmethod(build_asynchronous), _TRAINING

    def __init__(
        self, hidden=(64, 64), *, tau_m=30 * ms, V_th=0.3, output_tau_m=150 * ms, output_V_th=1.5,
        scheduler="momentum", forward_group=8, noise=None, refractory_dropout=0.5, unlayered=None, loss=None,
        dt=10 * ms, duration=None, epochs=20, batch_size=64, learning_rate=2e-3, activity=0.0, optimiser="adam",
        schedule="cosine", warmup=20, seed=0, threads=None,
    ):  # fmt: skip
        self.hidden, self.tau_m, self.V_th, self.output_tau_m = hidden, tau_m, V_th, output_tau_m
        self.output_V_th, self.scheduler, self.forward_group, self.noise = output_V_th, scheduler, forward_group, noise
        self.refractory_dropout, self.unlayered, self.loss = refractory_dropout, unlayered, loss
        self.dt, self.duration, self.epochs, self.batch_size = dt, duration, epochs, batch_size
        self.learning_rate, self.activity, self.optimiser = learning_rate, activity, optimiser
        self.schedule, self.warmup, self.seed, self.threads = schedule, warmup, seed, threads

    def _sections(self) -> dict:
        names = ("V_th", "output_V_th", "scheduler", "forward_group", "refractory_dropout", "noise")
        network = {name: value for name in names if (value := getattr(self, name)) is not None}
        network |= {f"{name}_ms": float(getattr(self, name) / ms) for name in ("tau_m", "output_tau_m")}
        unlayered = {"reset": "detached", "steepness": 3.0, "filler": "random"}
        loss = {"gain": 0.0, "total": 1.0, "first": 1.0}
        return {"network": network, "unlayered": self.unlayered or unlayered, "loss": self.loss or loss}

    def _evidence(self, events) -> np.ndarray:
        return self.network_.run(events).outputs.sum(axis=1).astype(float)
