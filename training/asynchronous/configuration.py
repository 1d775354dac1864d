"""Recipes and run configurations of asynchronous networks."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from brian2 import ms
from pydantic import Field

from ...models.asynchronous.losses import AsyncLoss
from ...models.asynchronous.network import AsynchronousNetwork
from ...models.gradients import CHOICES, Online, Unlayered
from ...models.order.orders import ForwardGroups
from ...models.topology.plan import plan_of
from ..configuration.layers import structure
from ..configuration.orders import MIXED, MIXED_GROUPS, make_scheduler, mixed_order, parse_group
from ..configuration.recipes import check_size
from ..configuration.schema import (
    Configuration,
    ForwardGroup,
    Layers,
    NaturalNumber,
    NotNegative,
    Order,
    Part,
    Positive,
    Untimed,
    Width,
    section_of,
)  # fmt: skip
from ..errors import TrainingError
from ..loop import TrainingOptions
from ..runs import Run
from ..tasks import Task

Kind = Literal["counts", "membrane", "latency"]
_PLAIN = ("weight_scale", "refractory", "refractory_dropout", "spike_dropout", "input_dropout", "sigma", "dtype")


class AsyncNetwork(Order):
    """``[network]``: membranes, thresholds (the output's may be its own) and the order of training."""

    hidden: Layers
    input: Annotated[list[Width], Field(min_length=1, max_length=3)] | None = None
    n_classes: Width | None = None
    tau_m_ms: Positive = 10.0
    output_tau_m_ms: Positive | None = None
    V_th: Positive = 0.3
    output_V_th: Positive | None = None
    weight_scale: Positive | Annotated[list[Positive], Field(min_length=1)] | None = None
    refractory: bool | None = None
    refractory_dropout: Part | None = None
    spike_dropout: Part | None = None
    input_dropout: Part | None = None
    sigma: NotNegative | None = None
    dtype: Literal["float32", "float64"] | None = None


_Gradient = section_of(
    Unlayered, steepness=Positive | None, scale=Positive, truncate=NaturalNumber,
    **{name: Literal[words] for name, words in CHOICES.items()},
)  # fmt: skip


class UnlayeredTable(_Gradient):
    """``[unlayered]``: the surrogate gradient, what it trains, and the orders it is taken in."""

    clip: NotNegative | None = 1.0
    groups: Annotated[list[ForwardGroup], Field(min_length=1)] | None = None
    trained: list[Literal["w", "V_th", "tau_m", "tau", "sigma"]] = ["w"]
    mixed_schedulers: Annotated[list[Untimed], Field(min_length=1)] = list(MIXED)
    mixed_groups: Annotated[list[ForwardGroup], Field(min_length=1)] = list(MIXED_GROUPS)


LossTable = section_of(
    AsyncLoss, kind=Kind, smoothing=Part, latency_scale=Positive, activity=NotNegative,
    **dict.fromkeys(("gain", "total", "total_gain", "first", "haste"), NotNegative),
)  # fmt: skip


class AsyncConfiguration(Configuration):
    """Recipe or run of an asynchronous network."""

    network: AsyncNetwork
    unlayered: UnlayeredTable = UnlayeredTable()
    loss: LossTable = LossTable()

    def options(self) -> TrainingOptions:
        """Options of the training loop, with goal and gradient as values."""
        gradient = Unlayered(**{name: getattr(self.unlayered, name) for name in _Gradient.model_fields})
        training = self.training.given()
        if training.get("rule") == Online.name:
            window_ms = training.get("window_ms", 0.0)
            gradient = Online(max(1, round(window_ms / self.data.dt_ms)) if window_ms else None, gradient)
        return TrainingOptions(**training | {"loss": AsyncLoss(**self.loss.model_dump()), "rule": gradient})


def build(config: dict, task: Task, seed: int, threads: int | None = None) -> AsynchronousNetwork:
    """New network of a configuration, with as many inputs and outputs as the task needs."""
    if task.per_step:
        raise TrainingError("This data set has a label for every step; asynchronous networks learn one per sample.")
    checked = AsyncConfiguration.read(config)
    network, gradient = checked.network, checked.unlayered
    n_out, made = network.n_classes or task.n_classes, structure(network, task)
    name, order = network.scheduler or "random", network.given()
    groups = tuple(parse_group(group) for group in gradient.groups or ())
    if "sizes" in made:
        check_size(made["sizes"])
        made = {"connectivity": made["sizes"]}
        n_hidden = sum(network.hidden)
    else:
        n_hidden = sum(plan_of(**made).sizes[1:-1])
    return AsynchronousNetwork(
        **made,
        tau_m=_per_neuron(network.tau_m_ms, network.output_tau_m_ms, n_hidden, n_out) * ms,
        V_th=_per_neuron(network.V_th, network.output_V_th, n_hidden, n_out),
        dt=checked.data.dt_ms * ms,
        scheduler=make_scheduler(name, order, training=True),
        forward_group=parse_group(order.get("forward_group", 8)),
        **{k: order[k] for k in _PLAIN if k in order},
        seed=seed,
        threads=threads,
        groups=ForwardGroups(groups) if groups else None,
        order=mixed_order(order, gradient.mixed_schedulers, gradient.mixed_groups) if name == "mixed" else None,
        trained=tuple(gradient.trained),
    )


def open_run(
    run: Run, *, scheduler: str | None = None, forward_group=None, noise: float | None = None, **overrides
) -> AsynchronousNetwork:
    """Network of a run, under the order it was trained in unless another is given."""
    options = run.config.get("network", {})
    name = scheduler or options.get("scheduler", "random")
    options = {k: v for k, v in options.items() if k != "noise_decay"}  # a schedule belongs to training
    if noise is not None:
        options["noise"] = noise
    elif scheduler is not None:
        options = {k: v for k, v in options.items() if not k.startswith("noise")}
    chosen = {"scheduler": make_scheduler(name, options)}
    if forward_group is not None:
        chosen["forward_group"] = parse_group(forward_group)
    return AsynchronousNetwork.load(run.weights, **chosen, **overrides)


def _per_neuron(value: float, output: float | None, n_hidden: int, n_out: int) -> np.ndarray:
    return np.r_[np.full(n_hidden, float(value)), np.full(n_out, float(value if output is None else output))]
