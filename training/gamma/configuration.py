"""Recipes and run configurations of SpikingGamma networks, layer by layer or in any order."""

from __future__ import annotations

from typing import Annotated, Literal

from brian2 import ms
from pydantic import BeforeValidator, Field

from ...equations.gamma import present_word
from ...models.asynchronous_gamma.network import AsynchronousSpikingGamma
from ...models.checks import MOST_BUCKETS
from ...models.gamma.network import SpikingGammaNetwork
from ..configuration.layers import structure
from ..configuration.orders import make_scheduler, mixed_order, parse_group
from ..configuration.recipes import check_size
from ..configuration.schema import Configuration, Layers, NotNegative, Order, Positive, Width
from ..errors import TrainingError
from ..runs import Run
from ..tasks import Task

Memory = Literal["paper", "continuous"]
Buckets = Literal["neuron", "synapse"]
_TIMES = ("tau_ms", "tau_theta_ms", "read_from_ms")


class GammaOrder(Order):
    """Entries of ``[network]`` that make the network run without a layer barrier."""

    once_per_timestep: bool | None = None
    idle: Literal["end", "start"] | None = None


class GammaNetwork(GammaOrder):
    """``[network]``: arguments of `SpikingGammaNetwork`, which also knows the defaults."""

    hidden: Layers
    input: Annotated[list[Width], Field(min_length=1, max_length=3)] | None = None
    n_classes: Width | None = None
    K: Annotated[int, Field(ge=1, le=MOST_BUCKETS)] | None = None
    tau_ms: Positive | Annotated[list[Positive], Field(min_length=1, max_length=MOST_BUCKETS)] | None = None
    theta: Positive | Annotated[list[Positive], Field(min_length=1)] | None = None
    ratio: Positive | None = None
    memory: Annotated[Memory | None, BeforeValidator(present_word)] = None
    buckets: Buckets | None = None
    bias: bool | None = None
    adaptation: NotNegative | None = None
    tau_theta_ms: Positive | None = None
    multiple: bool | None = None
    signed: bool | None = None
    train_tau: bool | None = None
    read_from_ms: Annotated[float, Field(ge=0, le=1e8)] | None = None
    dtype: Literal["float32", "float64"] | None = None


class GammaConfiguration(Configuration):
    """Recipe or run of a SpikingGamma network."""

    network: GammaNetwork


def build(config: dict, task: Task, seed: int, threads: int | None = None) -> SpikingGammaNetwork:
    """New network of a configuration, with as many inputs and outputs as the task needs."""
    checked = GammaConfiguration.read(config)
    network = checked.network
    options = network.given("hidden", "input", "n_classes", *GammaOrder.model_fields)
    options |= {name.removesuffix("_ms"): options.pop(name) * ms for name in _TIMES if name in options}
    kind, order = _order(network.model_dump(include=set(GammaOrder.model_fields), exclude_none=True))
    sizes = [task.events.n_units, *network.hidden, network.n_classes or task.n_classes]
    if not any(isinstance(size, str) for size in sizes):  # a convolution has few weights
        check_size(sizes, options.get("K", 1) if options.get("buckets") == "synapse" else 1)
    return kind(
        **structure(network, task), dt=checked.data.dt_ms * ms, seed=seed, threads=threads, **options, **order,
    )  # fmt: skip


def open_run(
    run: Run, *, scheduler: str | None = None, forward_group=None, noise: float | None = None, **overrides
) -> SpikingGammaNetwork:
    """Network of a run in the order it was trained in, layer by layer or not, unless another is given."""
    trained = run.config.get("network", {})
    order = {name: trained[name] for name in GammaOrder.model_fields if name in trained}
    if scheduler is not None:  # the noise is that of the order of training
        order = {name: value for name, value in order.items() if not name.startswith("noise")}
    given = {"scheduler": scheduler, "forward_group": forward_group, "noise": noise}
    kind, arguments = _order(order | {name: value for name, value in given.items() if value is not None})
    return kind.load(run.weights, **arguments, **overrides)


def _order(given: dict) -> tuple[type[SpikingGammaNetwork], dict]:
    """Class of network that runs in an order, and its arguments; no entry at all means layer by layer."""
    if not given:
        return SpikingGammaNetwork, {}
    name = given.get("scheduler", "random")
    if "noise" in given and name not in ("momentum", "mixed"):
        raise TrainingError(f"noise belongs to momentum order; leave it out for {name} order.")
    return AsynchronousSpikingGamma, {
        "scheduler": make_scheduler(name, given),
        "forward_group": parse_group(given.get("forward_group", 8)),
        "order": mixed_order(given) if name == "mixed" else None,
        **{name: given[name] for name in ("once_per_timestep", "idle") if name in given},
    }
