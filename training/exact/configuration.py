"""Recipes and run configurations of networks trained by the exact gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from brian2 import ms
from pydantic import Field, NonNegativeFloat, PositiveFloat

from ..configuration.schema import Configuration, Hidden, Section, Width
from ..configuration.tasks import evaluation_archive, load_archives
from ..errors import TrainingError
from ..loop import TrainingOptions
from ..runs import Run
from .classification import GOALS
from .origin import is_ready, open_origin, ready_origin, restored
from .samples import SpikeTask, spike_task
from .trainable import TrainableNetwork

Kind = Literal["first-spike", "max-over-time"]
Spread = Annotated[list[float], Field(min_length=2, max_length=2)]
REST_MS = 30.0  # after the last input spike of any sample, where the length of a run is not given


class ExactNetwork(Section):
    """``[network]``: a ready neuron and its layers (see `Layers`), or ``MODEL.py:OBJECT`` alone."""

    model: str | None = None
    hidden: Hidden | None = None
    weight_pa: Spread | None = None
    output_weight_pa: Spread | None = None
    delay_ms: NonNegativeFloat | None = None
    trained: list[str] | None = None
    constants: dict[str, float] | None = None
    output: dict[str, float] | None = None
    fires: bool | None = None
    n_inputs: Width | None = None
    n_classes: Width | None = None

    def layers(self) -> dict[str, Any]:
        """What was given of `Layers`."""
        return self.given("model", "n_inputs", "n_classes")


class ExactLoss(Section):
    """``[loss]``: see `FirstSpike` and `HighestPotential`."""

    kind: Kind | None = None
    tau0_ms: PositiveFloat | None = None
    alpha: NonNegativeFloat | None = None
    tau1_ms: PositiveFloat | None = None
    gain: PositiveFloat | None = None
    wake: NonNegativeFloat | None = None
    rate: NonNegativeFloat | None = None

    def goal(self):
        """Goal of the training loop; ``None``: the network's own."""
        given = self.given("kind")
        if self.kind is None:
            if given:
                raise TrainingError(f"loss.{next(iter(given))} needs loss.kind: one of {', '.join(GOALS)}.")
            return None
        kind = GOALS[self.kind]
        foreign = sorted(given.keys() - kind.__dataclass_fields__.keys())
        if foreign:
            raise TrainingError(f"loss.{foreign[0]} is no part of '{self.kind}'; leave it out.")
        return kind(**given)


class ExactConfiguration(Configuration):
    """Recipe or run of a network trained by the exact gradient."""

    network: ExactNetwork = ExactNetwork()
    loss: ExactLoss = ExactLoss()

    def options(self) -> TrainingOptions:
        """Options of the training loop."""
        return TrainingOptions(**self.training.given() | {"loss": self.loss.goal()})


def load_tasks(config: dict, data_root=None, limit=None) -> tuple[SpikeTask, SpikeTask | None]:
    """Training and validation task of a configuration, in spike times."""
    train, held_out = load_archives(config, data_root)
    return spike_task(train, limit), None if held_out is None else spike_task(held_out, limit)


def evaluation_task(config: dict, name: str, data_root=None, limit=None) -> SpikeTask:
    """Validation part of a data set, or one archive whole, in spike times."""
    return spike_task(evaluation_archive(config, name, data_root), limit)


def complete(config: dict, task: SpikeTask, held_out: SpikeTask | None) -> None:
    """Write into a configuration what its tasks say of a layered network: its inputs, its classes, its duration."""
    network, data = config["network"], config["data"]
    if not is_ready(network["model"]):
        for name in ("hidden", "weight_pa", "output_weight_pa", "delay_ms", "trained", "constants", "output", "fires"):
            if name in network:
                raise TrainingError(f"network.{name} belongs to ready neurons; '{network['model']}' says it itself.")
        network["model"] = _absolute(network["model"])
        return
    network.setdefault("n_inputs", task.events.n_units)
    network.setdefault("n_classes", max(task.n_classes, held_out.n_classes if held_out else 0))
    data.setdefault("duration_ms", round(task.events.duration * 1e3 + REST_MS, 6))


def build(config: dict, task: SpikeTask, seed: int, threads: int | None = None) -> TrainableNetwork:
    """New network of a configuration."""
    checked = ExactConfiguration.read(config)
    network = checked.network
    if not is_ready(network.model):
        return open_origin({"model": network.model}, threads)
    origin = ready_origin(
        network.model, network.n_inputs, network.n_classes, network.layers(), checked.data.duration_ms * float(ms), seed
    )
    return open_origin(origin, threads)


def open_run(run: Run, threads: int | None = None) -> TrainableNetwork:
    """Network of a run with its trained values."""
    return restored(run.weights, threads)


def _absolute(place: str) -> str:
    """The same place from any folder."""
    path, _, name = place.rpartition(":")
    return f"{Path(path).resolve()}:{name}" if path else place
