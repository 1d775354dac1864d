"""Schedulers of asynchronous networks, under the name by which users import them."""

from ..order.keys import KeyScheduler, QueueView, Scheduler
from ..order.schedulers import (
    FifoScheduler,
    LayerSynchronous,
    LifoScheduler,
    MomentumScheduler,
    PerCoreScheduler,
    RandomScheduler,
    ReplayScheduler,
    TimedScheduler,
    momentum_noise,
)

__all__ = [
    "FifoScheduler",
    "KeyScheduler",
    "LayerSynchronous",
    "LifoScheduler",
    "MomentumScheduler",
    "PerCoreScheduler",
    "ReplayScheduler",
    "QueueView",
    "RandomScheduler",
    "Scheduler",
    "TimedScheduler",
    "momentum_noise",
]
