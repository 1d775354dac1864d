"""Recipes and run configurations of asynchronous networks: from TOML and options to networks and schedulers."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from brian2 import ms

from ...models.asynchronous.losses import AsyncLoss
from ...models.asynchronous.network import AsynchronousNetwork
from ...models.asynchronous_gamma.network import AsynchronousSpikingGamma
from ...models.gamma.network import SpikingGammaNetwork
from ...models.gradients import Online, Unlayered
from ...models.order.orders import ForwardGroups, MixedOrder
from ...models.order.schedulers import (
    FifoScheduler,
    LayerSynchronous,
    LifoScheduler,
    MomentumScheduler,
    RandomScheduler,
    TimedScheduler,
    momentum_noise,
)
from ..errors import TrainingError

SCHEDULERS = ("random", "momentum", "fifo", "lifo", "timed", "layered", "mixed")
MIXED = ("random", "momentum", "fifo", "layered")
MIXED_GROUPS = (1, 4, 8, 16, "all")
_NETWORK = {
    "hidden",
    "n_classes",
    "tau_m_ms",
    "output_tau_m_ms",
    "V_th",
    "output_V_th",
    "weight_scale",
    "forward_group",
}
_NETWORK |= {"scheduler", "noise", "noise_decay", "noise_step"}
_PLAIN = ("refractory", "refractory_dropout", "spike_dropout", "input_dropout", "sigma", "dtype")
_NETWORK |= set(_PLAIN)
_ORDER = ("scheduler", "forward_group", "noise", "noise_decay", "noise_step", "once_per_timestep", "idle")
_OF_NETWORK = {"groups", "trained", "mixed_schedulers", "mixed_groups"}  # in [unlayered], but no part of the gradient


def make_scheduler(name: str, options: dict | None = None, training: bool = False):
    """Scheduler by its name on the command line.

    Parameters
    ----------
    name : str
    options : dict, optional
        ``noise`` of momentum, with ``noise_decay`` and ``noise_step`` a schedule over training iterations.
    training : bool
        Continuous time has no forward steps to go back through: a ``timed`` network is trained in the order of
        arrival, which is what equal delays make of it.
    """
    options = options or {}
    if name == "momentum":
        noise = float(options.get("noise", 1e-6))
        if "noise_decay" in options:
            noise = momentum_noise(noise, float(options["noise_decay"]), int(options.get("noise_step", 1)))
        return MomentumScheduler(noise=noise)
    if name == "timed" and not training:
        return TimedScheduler()
    plain = {"random": RandomScheduler, "fifo": FifoScheduler, "lifo": LifoScheduler, "layered": LayerSynchronous}
    plain["timed"] = FifoScheduler
    plain["mixed"] = RandomScheduler  # what a network trained in all orders is evaluated in unless asked otherwise
    if name not in plain:
        raise TrainingError(f"scheduler '{name}' is unknown; use one of {', '.join(SCHEDULERS)}.")
    return plain[name]()


def parse_group(value, name: str = "forward_group"):
    """Forward group size: a whole number, or ``all`` (``None``)."""
    if value is None or value == "all":
        return None
    if isinstance(value, bool) or not str(value).isdigit() or int(value) < 1:
        raise TrainingError(f"{name} = '{value}': give a whole number >= 1, or all.")
    return int(value)


def build_async(config: dict, task, seed: int, threads: int | None = None) -> AsynchronousNetwork:
    """New network of a configuration, with as many inputs and outputs as the task needs."""
    if task.per_step:
        raise TrainingError("This data set has a label for every step; asynchronous networks learn one per sample.")
    network, gradient = dict(config.get("network", {})), dict(config.get("unlayered", {}))
    _known(network, _NETWORK, "network")
    hidden, n_out = network["hidden"], network.get("n_classes", task.n_classes)
    sizes = [task.events.n_units, *hidden, n_out]
    name = network.get("scheduler", "random")
    return AsynchronousNetwork(
        sizes,
        tau_m=_per_neuron(network, "tau_m_ms", "output_tau_m_ms", 10.0, sum(hidden), n_out) * ms,
        V_th=_per_neuron(network, "V_th", "output_V_th", 0.3, sum(hidden), n_out),
        dt=config["data"]["dt_ms"] * ms,
        scheduler=make_scheduler(name, network, training=True),
        forward_group=parse_group(network.get("forward_group", 8)),
        weight_scale=network.get("weight_scale", 1.0),
        **{k: network[k] for k in _PLAIN if k in network},
        seed=seed,
        threads=threads,
        groups=_groups(gradient),
        order=_mixed(gradient, network) if name == "mixed" else None,
        trained=tuple(gradient.get("trained", ("w",))),
    )  # fmt: skip


def learning_of(config: dict) -> dict:
    """Goal and gradient of a configuration, as `TrainingOptions` takes them."""
    given = {k: v for k, v in config.get("unlayered", {}).items() if k not in _OF_NETWORK}
    rule = _dataclass(Unlayered, given, "unlayered")
    training = config.get("training", {})
    if training.get("rule") == Online.name:
        dt_ms, window_ms = config["data"]["dt_ms"], training.get("window_ms", 0.0)
        rule = Online(max(1, round(window_ms / dt_ms)) if window_ms else None, rule)
    return {"loss": _dataclass(AsyncLoss, config.get("loss", {}), "loss"), "rule": rule}


def gamma_order(network: dict) -> dict:
    """Take the order of execution out of a gamma network's options; empty if it runs layer by layer.

    Returns
    -------
    dict
        Arguments of `AsynchronousSpikingGamma`.
    """
    given = {name: network.pop(name) for name in _ORDER if name in network}
    if not given:
        return {}
    name = given.get("scheduler", "random")
    if "noise" in given and name not in ("momentum", "mixed"):
        raise TrainingError(f"noise belongs to momentum order; leave it out for {name} order.")
    return {
        "scheduler": make_scheduler(name, given),
        "forward_group": parse_group(given.get("forward_group", 8)),
        "order": _mixed({}, given) if name == "mixed" else None,
        **{name: given[name] for name in ("once_per_timestep", "idle") if name in given},
    }


def open_gamma(run, *, scheduler=None, forward_group=None, noise=None, **overrides) -> SpikingGammaNetwork:
    """Network of a gamma run in the order it was trained in, layer by layer or not, unless another is given."""
    given = {"scheduler": scheduler, "forward_group": forward_group, "noise": noise}
    options = dict(run.config.get("network", {}))
    if scheduler is not None:  # the noise is that of the order of training
        options = {k: v for k, v in options.items() if not k.startswith("noise")}
    order = gamma_order(options | {k: v for k, v in given.items() if v is not None})
    kind = AsynchronousSpikingGamma if order else SpikingGammaNetwork
    return kind.load(run.weights, **order, **overrides)


def _per_neuron(network, name, output_name, default, n_hidden, n_out):
    value = float(network.get(name, default))
    own = float(network.get(output_name, value))
    return np.r_[np.full(n_hidden, value), np.full(n_out, own)]


def _groups(gradient) -> ForwardGroups | None:
    groups = gradient.get("groups")
    return None if not groups else ForwardGroups(tuple(parse_group(g, "groups") for g in groups))


def _mixed(gradient, network) -> MixedOrder:
    names = gradient.get("mixed_schedulers", MIXED)
    groups = gradient.get("mixed_groups", MIXED_GROUPS)
    return MixedOrder(
        tuple(make_scheduler(name, network, training=True) for name in names),
        tuple(parse_group(g, "mixed_groups") for g in groups),
    )


def _dataclass(kind, values: dict, section: str):
    _known(values, {field.name for field in fields(kind)}, section)
    return kind(**values)


def _known(values: dict, known: set, section: str) -> None:
    unknown = sorted(set(values) - known)
    if unknown:
        raise TrainingError(f"{section}.{unknown[0]} is unknown; known are {', '.join(sorted(known))}.")


def open_async(run, *, scheduler=None, forward_group=None, noise=None, **overrides) -> AsynchronousNetwork:
    """Network of an asynchronous run, under the order it was trained in unless another is given."""
    network = run.config.get("network", {})
    name = scheduler or network.get("scheduler", "random")
    options = network | ({} if noise is None else {"noise": noise})
    if scheduler is not None and noise is None:
        options = {k: v for k, v in options.items() if not k.startswith("noise")}
    chosen = {"scheduler": make_scheduler(name, {k: v for k, v in options.items() if k != "noise_decay"})}
    if forward_group is not None:
        chosen["forward_group"] = parse_group(forward_group)
    return AsynchronousNetwork.load(run.weights, **chosen, **overrides)
