"""The training loop: a generator of one record per epoch; progress, printing and stopping are the caller's."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np

from ..models.errors import NetworkError
from ..models.gamma.losses import GOALS
from ..models.gradients import GRADIENTS, Online, accepted, as_gradient
from ..models.parameters import ParameterInfo
from ..models.protocols import Learns
from .errors import TrainingError
from .evaluation import evaluate_native
from .optimisers import make_optimiser, ramp, schedule_factor
from .runs import Run
from .tasks import Task, check_labels
from .watching.diagnosis import NothingLearned, trouble
from .watching.progress import BatchProgress

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
    loss : goal or {'cross_entropy', 'squared_error'}, optional
        What is asked of the network, such as `AsyncLoss`, or the name of a loss of SpikingGamma networks; by default
        what the network asks of itself.
    rule : gradient or str, optional
        One of `brian2grad.models.gradients`, or its name; by default the network's own.
    window_ms : float
        For an online gradient given by its name: length of its window; 0: the gradient's own.
    activity : float
        Weight of the penalty on activity, added to the goal's own: fewer spikes.
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
    average : float
        Decay per update of a running average of the parameters, such as 0.999; 0: none. What is validated, saved and
        left in the network after an epoch is the average; the parameters themselves learn on.
    relative : bool
        Weights and bucket weights move by fractions of their mean size: one learning rate then fits layers whose
        calibrated weights differ in size, as those of maps and of deep networks do by a factor of 80.
    seed : int
        Seed of the order of the samples and the augmentation.
    """

    epochs: int = 10
    batch_size: int = 64
    optimiser: str = "adam"
    learning_rate: float = 2e-3
    schedule: str = "cosine"
    warmup: int = 0
    loss: object = None
    rule: object = None
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
    average: float = 0.0
    relative: bool = False
    seed: int = 0

    def __post_init__(self):
        for name, value in vars(self).items():
            if isinstance(value, float) and not np.isfinite(value):
                raise TrainingError(f"{name} = {value} must be finite.")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} = {getattr(self, name)} must be at least 1.")
        if isinstance(self.loss, str) and self.loss not in GOALS:
            raise TrainingError(f"loss '{self.loss}' is unknown; use 'cross_entropy' or 'squared_error'.")
        if isinstance(self.rule, str) and self.rule not in GRADIENTS:
            raise TrainingError(f"rule='{self.rule}' is unknown; available: {', '.join(GRADIENTS)}.")
        if not 0 <= self.drop < 1 or self.shift < 0 or self.activity < 0:
            raise TrainingError("drop must lie in [0, 1), shift and activity must not be negative.")
        for name in NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise TrainingError(f"{name} = {getattr(self, name)} must not be negative.")
        if not 0 <= self.average < 1:
            raise TrainingError(f"average = {self.average} must lie in [0, 1): it is the part kept at every update.")
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

    def learning(self, network: Learns) -> dict:
        """Arguments of the network's `gradients` besides a batch: its goal and its gradient, as values.

        Raises
        ------
        TrainingError
            If the network does not take them.
        """
        goal = GOALS[self.loss]() if isinstance(self.loss, str) else self.loss
        rule = as_gradient(self.rule)
        if self.rule == Online.name and self.window_ms:
            rule = Online(max(1, round(self.window_ms * 1e-3 / float(network.dt))))
        try:
            goal = accepted(goal, network.goals_accepted, network, "goal")
            rule = accepted(rule, network.gradients_accepted, network)
        except NetworkError as error:
            raise TrainingError(str(error)) from None
        return {"goal": replace(goal, activity=goal.activity + self.activity), "rule": rule}

    def info(self, network: Learns) -> dict[str, ParameterInfo]:
        """What the optimiser knows of the parameters."""
        if not self.relative:
            return network.info
        scale = lambda name: "absolute" if name.endswith(".b") else "relative"  # noqa: E731 (biases begin at zero)
        return {name: replace(info, scale=scale(name)) for name, info in network.info.items()}

    def asdict(self) -> dict:
        """Plain dictionary, for configuration files."""
        return asdict(self)


def train(
    network: Learns,
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
    network : SpikingGammaNetwork or AsynchronousNetwork
        Anything that `Learns`.
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

    Warns
    -----
    NothingLearned
        Once, with what to try: if no neuron spikes, or accuracy stays at chance.

    Raises
    ------
    TrainingError
        If options do not fit the network or the task, labels exceed its outputs, or there is no run to resume.
    """
    if options.theta_start != 1 and network.theta is None:
        raise TrainingError(f"theta_start: {type(network).__name__} has no thresholds that change in training; use 1.")
    if task.per_step and (options.time_stretch or options.time_shift):
        raise TrainingError("time_stretch and time_shift would part events from the labels of their steps; use 0.")
    for part in (task, validation):
        if part is not None:
            check_labels(part.labels, network.sizes[-1])
    options.learning(network)  # an illegal pair is refused before anything is drawn
    if resume and run is None:
        raise TrainingError("There is no run to resume.")
    with contextlib.nullcontext() if run is None else run.held():  # two processes would undo each other's epochs
        yield from _epochs(network, task, options, validation, run, resume, on_batch)


def _epochs(network, task, options, validation, run, resume, on_batch) -> Iterator[dict]:
    rng = np.random.default_rng(options.seed)
    optimiser = make_optimiser(options.optimiser, options.learning_rate, options.average)
    first = run.resume(network, optimiser, rng) if resume else None
    if first is None:
        first = 0
        network.initialise(lambda n: task.events.take(np.sort(rng.choice(len(task), min(n, len(task)), replace=False))))
        if run is not None:
            run.save_epoch(network, optimiser, rng, None, 0)
    own, records, told = network.theta, [], False
    try:
        for epoch in range(first + 1, options.epochs + 1):
            began = time.perf_counter()
            if options.average and optimiser.steps:  # between epochs, and in checkpoints, the network is the average
                optimiser.exchange(network.parameters)
            if options.theta_start != 1:
                network.theta = tuple(theta * options.theta_factor(epoch) for theta in own)
            record = {"epoch": epoch, **_epoch(network, optimiser, task, options, rng, epoch, on_batch)}
            if options.average:
                optimiser.exchange(network.parameters)
                network.constrain()
            record["seconds"] = round(time.perf_counter() - began, 3)
            if options.theta_start != 1:
                record["theta"] = list(network.theta)
            if validation is not None:
                result = evaluate_native(network, validation, dtype=network.dtype)
                record["validation_accuracy"] = result.accuracy
                record["spikes_per_neuron"] = result.spikes_per_neuron
            if run is not None:
                run.save_epoch(network, optimiser, rng, record, epoch)
            records.append(record)
            said = None if told else trouble(records, task.labels, int(network.sizes[-1]), network.n_spiking)
            if said is not None:  # once: what follows from it is the caller's to decide
                told = True
                warnings.warn(said, NothingLearned, stacklevel=3)
            yield record
    finally:
        if options.theta_start != 1:  # the same network can be trained on: a schedule starts from its own thresholds
            network.theta = own


def _epoch(network, optimiser, task, options: TrainingOptions, rng, epoch, on_batch) -> dict:
    order = rng.permutation(len(task))
    batches = [order[i : i + options.batch_size] for i in range(0, len(order), options.batch_size)]
    if len(batches) > 1 and len(batches[-1]) < options.batch_size // 2:
        batches.pop()  # a handful of samples would be a very noisy step; the next epoch's order reaches them
    total = options.epochs * len(batches)
    loss = correct = answers = spikes = seen = 0.0
    rate = 0.0
    learning = options.learning(network)
    for index, chosen in enumerate(batches):
        step = (epoch - 1) * len(batches) + index
        rate = schedule_factor(options.schedule, step, total, options.warmup)
        network.begin(step, step / total)
        events = task.batch(chosen, rng, **options.augmentation())
        labels, parts = task.labels[chosen], []
        for result in network.gradients(events, labels, **learning):
            _refuse_non_finite(result, f"epoch {epoch}, batch {index + 1}", options.learning_rate)
            _decay(network.parameters, network.info, options.learning_rate * rate * options.weight_decay)
            with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is refused below
                optimiser.step(network.parameters, result.gradients, rate, options.info(network))
            network.constrain()
            _refuse_infinite(network.parameters, f"epoch {epoch}, batch {index + 1}", options.learning_rate)
            parts.append(result)
        outputs = parts[0].outputs if len(parts) == 1 else np.concatenate([p.outputs for p in parts], axis=1)
        hits, asked = network.hits(outputs, labels)
        loss += float(np.mean([p.loss for p in parts])) * len(chosen)
        correct, answers = correct + hits, answers + asked
        spikes, seen = spikes + sum(p.n_spikes for p in parts), seen + len(chosen)
        if on_batch:
            per_neuron = spikes / seen / max(1, network.n_spiking)
            on_batch(BatchProgress(epoch, index + 1, len(batches), loss / seen, correct / max(1, answers), per_neuron))
    return {
        "loss": loss / seen,
        "train_accuracy": correct / max(1, answers),
        "spikes_per_neuron": spikes / seen / max(1, network.n_spiking),
        "learning_rate": options.learning_rate * rate,
    }


def _decay(parameters: dict, info: dict[str, ParameterInfo], amount: float) -> None:
    if amount:
        for name, value in parameters.items():
            if info[name].decays:
                value *= value.dtype.type(1 - amount)


def _refuse_non_finite(result, where: str, learning_rate: float) -> None:
    if not np.isfinite(result.loss):
        raise TrainingError(f"The loss became {result.loss} in {where}; lower the learning rate ({learning_rate}).")
    for name, gradient in result.gradients.items():
        if not np.isfinite(gradient.sum()):
            raise TrainingError(
                f"The gradient of {name} is not finite in {where}; lower the learning rate ({learning_rate})."
            )


def _refuse_infinite(parameters: dict, where: str, learning_rate: float) -> None:
    for name, value in parameters.items():
        if not np.isfinite(value).all():
            raise TrainingError(
                f"{name} is not finite after the update in {where}; lower the learning rate ({learning_rate})."
            )
