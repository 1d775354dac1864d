"""Schedulers and forward groups by the names that configurations and the command line use."""

from __future__ import annotations

from ...models.order.orders import MixedOrder
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
from .recipes import whole_number

MIXED = ("random", "momentum", "fifo", "layered")
MIXED_GROUPS = (1, 4, 8, 16, "all")
_PLAIN = {"random": RandomScheduler, "fifo": FifoScheduler, "lifo": LifoScheduler, "layered": LayerSynchronous}
_PLAIN["mixed"] = RandomScheduler  # what a network trained in all orders is evaluated in unless asked otherwise
SCHEDULERS = ("random", "momentum", "fifo", "lifo", "timed", "layered", "mixed")


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
    if name == "timed":
        return FifoScheduler() if training else TimedScheduler()
    if name not in _PLAIN:
        raise TrainingError(f"scheduler '{name}' is unknown; use one of {', '.join(SCHEDULERS)}.")
    return _PLAIN[name]()


def parse_group(value, name: str = "forward_group") -> int | None:
    """Forward group size: a whole number, or ``all`` (``None``)."""
    if value is None or value == "all":
        return None
    number = None if isinstance(value, bool) else whole_number(value)
    if not number:
        raise TrainingError(f"{name} = '{value!s:.40}': give a whole number >= 1, or all.")
    return number


def mixed_order(options: dict, schedulers=MIXED, groups=MIXED_GROUPS) -> MixedOrder:
    """Orders that a network trained in all of them draws from; `options` as of `make_scheduler`."""
    return MixedOrder(
        tuple(make_scheduler(name, options, training=True) for name in schedulers),
        tuple(parse_group(group, "mixed_groups") for group in groups),
    )
