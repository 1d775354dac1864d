"""The order of execution of a training batch: the network's own, one that changes over training, or one drawn anew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..protocols import Learner
from .schedulers import LayerSynchronous


@dataclass(frozen=True)
class ForwardGroups:
    """Forward group size over training: ``groups[k]`` from the fraction ``k / len(groups)`` of it on.

    Attributes
    ----------
    groups : tuple of int or None
        ``None`` is all; one entry is a constant.
    """

    groups: tuple

    def at(self, fraction: float):
        """Size at a fraction of the training done."""
        index = min(len(self.groups) - 1, int(fraction * len(self.groups)))
        return self.groups[index]


@dataclass(frozen=True)
class MixedOrder:
    """Draw scheduler and forward group size anew for every batch, for a network that works in any order.

    Attributes
    ----------
    schedulers : tuple of Scheduler
    groups : tuple of int or None
    """

    schedulers: tuple
    groups: tuple

    def draw(self, rng: np.random.Generator):
        """Scheduler and forward group size of one batch."""
        scheduler = self.schedulers[int(rng.integers(len(self.schedulers)))]
        group = None if isinstance(scheduler, LayerSynchronous) else self.groups[int(rng.integers(len(self.groups)))]
        return scheduler, group


class OrderedLearner(Learner):
    """A network that learns in an order of execution.

    Attributes
    ----------
    scheduler : Scheduler
    forward_group : int or None
    order : MixedOrder or None
        Draws both for every training batch.
    groups : ForwardGroups or None
        Forward group size over training.
    seed : int
    iteration : int
        Of the present training batch.
    progress : float
        Fraction of the training done.
    """

    order: MixedOrder | None = None
    groups: ForwardGroups | None = None
    iteration = 0
    progress = 0.0

    def begin(self, iteration: int, progress: float) -> None:
        """Begin a batch: its order and random numbers depend on the iteration only."""
        self.iteration, self.progress = int(iteration), float(progress)

    def batch_order(self) -> dict:
        """Scheduler, forward group, seed and iteration of the present training batch, as arguments of `run`."""
        rng = np.random.default_rng([self.seed % 2**32, self.iteration])
        seed = int(rng.integers(2**62))
        scheduler, group = self.scheduler, self.forward_group
        if self.order is not None:
            scheduler, group = self.order.draw(rng)
        elif self.groups is not None:
            group = self.groups.at(self.progress)
        return {"scheduler": scheduler, "forward_group": group, "seed": seed, "iteration": self.iteration}
