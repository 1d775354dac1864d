"""The training loop: a generator of one record per epoch; progress, printing and stopping are the caller's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np

from .errors import TrainingError
from .evaluation import evaluate_native
from .optimisers import make_optimiser, ramp, schedule_factor
from .runs import Run
from .tasks import Task, augment

AUGMENTATION = (
    "shift", "drop", "rotate", "zoom", "channel_shift", "channel_mask", "fibres", "time_stretch", "time_shift", "level",
)  # fmt: skip
NOT_NEGATIVE = (
    "rotate", "zoom", "channel_shift", "channel_mask", "time_stretch", "time_shift", "weight_decay", "window_ms",
)  # fmt: skip


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained.

    Attributes
    ----------
    epochs, batch_size : int
    optimiser : {'adam', 'sgd'}
    learning_rate : float
    schedule : {'cosine', 'constant'}
    warmup : int
        Steps of linear rise of the learning rate.
    loss : {'cross_entropy', 'squared_error'}
        Per step; squared error is against the one-hot label.
    rule : str
        Gradient rule of the network.
    window_ms : float
        For rule `online` only: time after which errors are cut off; 0: the network's own, `default_window`.
    activity : float
        Weight of the penalty on the mean hidden signal: fewer spikes.
    theta_start : float
        Thresholds of the first epoch, as a multiple of the network's own: below one, training begins with a fine
        code and ends with the sparse one.
    theta_ramp : float
        Fraction of the epochs after which the thresholds are the network's own.
    theta_schedule : {'linear', 'cosine'}
        From the first thresholds to the last, in steps of an epoch.
    shift, drop, rotate, zoom, channel_shift, channel_mask, fibres, time_stretch, time_shift, level
        Augmentation, see `augment`.
    weight_decay : float
        Decay of the synaptic weights per update, in units of the learning rate.
    seed : int
        Of the order of the samples and the augmentation.
    """

    epochs: int = 10
    batch_size: int = 64
    optimiser: str = "adam"
    learning_rate: float = 2e-3
    schedule: str = "cosine"
    warmup: int = 0
    loss: str = "cross_entropy"
    rule: str = "filter"
    window_ms: float = 0.0
    activity: float = 0.0
    theta_start: float = 1.0
    theta_ramp: float = 0.5
    theta_schedule: str = "linear"
    shift: int = 0
    drop: float = 0.0
    rotate: float = 0.0
    zoom: float = 0.0
    channel_shift: int = 0
    channel_mask: int = 0
    fibres: int = 1
    time_stretch: float = 0.0
    time_shift: int = 0
    level: float = 0.0
    weight_decay: float = 0.0
    seed: int = 0

    def __post_init__(self):
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} = {getattr(self, name)} must be at least 1.")
        if self.loss not in ("cross_entropy", "squared_error"):
            raise TrainingError(f"loss '{self.loss}' is unknown; use 'cross_entropy' or 'squared_error'.")
        if not 0 <= self.drop < 1 or self.shift < 0 or self.activity < 0:
            raise TrainingError("drop must lie in [0, 1), shift and activity must not be negative.")
        for name in NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise TrainingError(f"{name} = {getattr(self, name)} must not be negative.")
        if not 0 <= self.level < 1 or self.fibres < 1:
            raise TrainingError("level must lie in [0, 1), and fibres be at least 1.")
        if not (self.theta_start > 0 and 0 <= self.theta_ramp <= 1):
            raise TrainingError("theta_start must be positive, and theta_ramp a fraction of the epochs.")
        schedule_factor(self.schedule, 0, 1), self.theta_factor(1)  # refuse unknown names

    def augmentation(self) -> dict:
        """Arguments of `augment`."""
        return {name: getattr(self, name) for name in AUGMENTATION}

    def theta_factor(self, epoch: int) -> float:
        """Multiple of the network's thresholds in an epoch (the first is 1)."""
        length = max(1, round(self.theta_ramp * self.epochs))
        return ramp(self.theta_schedule, self.theta_start, (epoch - 1) / length)

    def learning(self, dt: float) -> dict:
        """Arguments of a network's `gradient` beside batch and targets; `dt` in seconds."""
        options = {"rule": self.rule, "activity": self.activity}
        if self.rule == "online" and self.window_ms:
            options["window"] = max(1, round(self.window_ms * 1e-3 / dt))
        return options

    def asdict(self) -> dict:
        """Plain dictionary, for configuration files."""
        return asdict(self)


@dataclass
class BatchProgress:
    """What a progress display needs after a batch: running means over the epoch so far."""

    epoch: int
    batch: int
    n_batches: int
    loss: float
    accuracy: float
    spikes_per_neuron: float


def train(
    network,
    task: Task,
    options: TrainingOptions,
    *,
    validation: Task | None = None,
    run: Run | None = None,
    resume: bool = False,
    on_batch: Callable[[BatchProgress], None] | None = None,
) -> Iterator[dict]:
    """Train a network in place and yield one record per epoch.

    With `run`, everything is written after each epoch, so that stopping at any moment leaves a usable run, and
    ``resume=True`` goes on from the last finished epoch with the same numbers as if it had never stopped.

    Parameters
    ----------
    network : SpikingGammaNetwork or TrainableAsynchronous
    task, validation : Task
    options : TrainingOptions
    run : Run, optional
    resume : bool
    on_batch : callable, optional

    Yields
    ------
    dict
        ``epoch``, ``loss``, ``train_accuracy``, ``spikes_per_neuron`` (of the last validation, else of training),
        ``validation_accuracy``, ``learning_rate``, ``seconds``; with a threshold schedule ``theta``.
    """
    if options.theta_start != 1 and not hasattr(network, "theta"):
        raise TrainingError(f"theta_start: {type(network).__name__} has no thresholds that change in training; use 1.")
    if task.per_step and (options.time_stretch or options.time_shift):
        raise TrainingError("time_stretch and time_shift would part events from the labels of their steps; use 0.")
    rng = np.random.default_rng(options.seed)
    optimiser = make_optimiser(options.optimiser, options.learning_rate)
    first = 0
    if resume:
        if run is None:
            raise TrainingError("There is no run to resume.")
        first = run.resume(network, optimiser, rng)
    else:
        _calibrate(network, task, rng)
        if run is not None:
            run.save_epoch(network, optimiser, rng, None, 0)
    own = getattr(network, "theta", None)
    try:
        for epoch in range(first + 1, options.epochs + 1):
            began = time.perf_counter()
            if options.theta_start != 1:
                network.theta = tuple(theta * options.theta_factor(epoch) for theta in own)
            record = {"epoch": epoch, **_epoch(network, optimiser, task, options, rng, epoch, on_batch)}
            record["seconds"] = round(time.perf_counter() - began, 3)
            if options.theta_start != 1:
                record["theta"] = list(network.theta)
            if validation is not None:
                result = evaluate_native(network, validation, dtype=network.dtype)
                record["validation_accuracy"] = result.accuracy
                record["spikes_per_neuron"] = result.spikes_per_neuron
            if run is not None:
                run.save_epoch(network, optimiser, rng, record, epoch)
            yield record
    finally:
        if own is not None:  # the same network can be trained on: a schedule starts from its own thresholds
            network.theta = own


def _calibrate(network, task: Task, rng) -> None:
    """Scale the initial weights on a few samples, where a network can do that."""
    if hasattr(network, "calibrate"):
        chosen = rng.choice(len(task), min(64, len(task)), replace=False)
        network.calibrate(task.events.take(np.sort(chosen)))


def _epoch(network, optimiser, task, options: TrainingOptions, rng, epoch, on_batch) -> dict:
    order = rng.permutation(len(task))
    batches = [order[i : i + options.batch_size] for i in range(0, len(order), options.batch_size)]
    if len(batches) > 1 and len(batches[-1]) < options.batch_size // 2:
        batches.pop()  # a handful of samples would be a very noisy step; the next epoch's order reaches them
    total = options.epochs * len(batches)
    loss = correct = answers = spikes = seen = 0.0
    rate = 0.0
    n_counted = getattr(network, "n_spiking", sum(network.sizes[1:-1]))
    for index, chosen in enumerate(batches):
        step = (epoch - 1) * len(batches) + index
        rate = schedule_factor(options.schedule, step, total, options.warmup)
        if hasattr(network, "begin_batch"):  # what is drawn per batch depends on the iteration, so that runs resume
            network.begin_batch(step, step / total)
        events = augment(task.events.take(chosen), rng, **options.augmentation())
        labels, parts = task.labels[chosen], []
        for result in _gradients(network, events, options, labels):
            _refuse_non_finite(result, f"epoch {epoch}, batch {index + 1}", options.learning_rate)
            _decay(network.parameters, options.learning_rate * rate * options.weight_decay)
            optimiser.step(network.parameters, result.gradients, rate)
            network.constrain()
            parts.append(result)
        readout = parts[0].run.readout if len(parts) == 1 else np.concatenate([p.run.readout for p in parts], axis=1)
        hits, asked = network.hits(readout, labels)
        loss += float(np.mean([p.loss for p in parts])) * len(chosen)
        correct, answers = correct + hits, answers + asked
        spikes, seen = spikes + sum(float(p.run.spikes.sum()) for p in parts), seen + len(chosen)
        if on_batch:
            per_neuron = spikes / seen / max(1, n_counted)
            on_batch(BatchProgress(epoch, index + 1, len(batches), loss / seen, correct / max(1, answers), per_neuron))
    return {
        "loss": loss / seen,
        "train_accuracy": correct / max(1, answers),
        "spikes_per_neuron": spikes / seen / max(1, n_counted),
        "learning_rate": options.learning_rate * rate,
    }


def _gradients(network, events, options: TrainingOptions, labels) -> Iterator:
    """Gradients of a batch, an update after each: one, or as many as a network that learns on the way asks for."""
    arguments = options.learning(events.dt) | _target(network, labels, events, options.loss)
    if hasattr(network, "gradients"):
        yield from network.gradients(events, **arguments)
    else:
        yield network.gradient(events, **arguments)


def _decay(parameters: dict, amount: float) -> None:
    if amount:
        for name, value in parameters.items():
            if name.endswith(".w"):
                value *= value.dtype.type(1 - amount)


def _refuse_non_finite(result, where: str, learning_rate: float) -> None:
    if not np.isfinite(result.loss):
        raise TrainingError(f"The loss became {result.loss} in {where}; lower the learning rate ({learning_rate}).")
    for name, gradient in result.gradients.items():
        if not np.isfinite(gradient.sum()):
            raise TrainingError(
                f"The gradient of {name} is not finite in {where}; lower the learning rate ({learning_rate})."
            )


def _target(network, labels, events, loss: str) -> dict:
    if loss == "cross_entropy":
        return {"labels": labels}
    full = np.repeat(labels[:, None], events.n_steps, axis=1) if labels.ndim == 1 else labels
    one_hot = np.eye(network.sizes[-1], dtype=network.dtype)[np.maximum(full, 0)]
    return {"targets": one_hot, "weight": (full >= 0).astype(float), "loss": loss}
