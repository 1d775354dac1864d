"""Data-parallel gradients: a batch in shards, whose number and whose sum do not depend on the workers.

The loss of a batch is the mean of its shards' losses, weighted by their samples. As many shards as were asked for are
made of every batch, each is computed alone on one thread, and they are added in their own order: the same bits on one
worker and on many.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...models.errors import NetworkError
from ...models.gradients import Gradient, clip_by_norm
from ...models.protocols import StandIn
from ..errors import TrainingError
from .connection import held

SHARDS = 8
_STRIDE = 0x9E3779B9  # between the seeds of two shards


@dataclass(frozen=True)
class Batch:
    """Samples of a batch by their numbers; they are drawn and varied where they are used.

    Attributes
    ----------
    chosen : (n,) array of int
    seed : int
        Of the augmentation.
    augmentation : dict
    """

    chosen: np.ndarray
    seed: int
    augmentation: dict


class SharedTask:
    """A task whose data the workers hold; everything but its batches is the task's own.

    Parameters
    ----------
    task : Task
    """

    def __init__(self, task):
        self.task = task

    def __len__(self):
        return len(self.task)

    def __getattr__(self, name):
        if name == "task":  # of a copy that is not filled yet
            raise AttributeError(name)
        return getattr(self.task, name)

    def batch(self, chosen, rng: np.random.Generator, **augmentation) -> Batch:
        """Some of the samples, as numbers."""
        return Batch(np.asarray(chosen), int(rng.integers(2**62)), augmentation)


class Distributed(StandIn):
    """A network whose gradients are computed on a cluster.

    Parameters
    ----------
    network : SpikingGammaNetwork or AsynchronousNetwork
    task : Task
    client : distributed.Client
    shards : int
        Of a batch: the result depends on it, and not on the number of workers.

    Raises
    ------
    TrainingError
        If the network cannot be sent to other processes.
    """

    def __init__(self, network, task, client, shards: int = SHARDS):
        if network.kind == "exact":
            raise TrainingError("A network of your own objects stays in its process: train it without a cluster.")
        super().__init__(network)
        self.client, self.shards = client, int(shards)
        self._begun = (0, 0.0)
        # One thread a task: the workers are the cores, and sums of threads would depend on their number.
        alone = type(network).__new__(type(network))
        alone.__dict__ |= network.__getstate__() | {"threads": 1}
        self._network, self._task = held(client, alone), held(client, task)

    def begin(self, iteration: int, progress: float) -> None:
        """Begin a batch."""
        self._begun = (iteration, progress)
        self.network.begin(iteration, progress)

    def gradients(self, batch: Batch, labels=None, *, goal=None, rule=None):
        """Gradient of a batch, the sum over its shards.

        Parameters
        ----------
        batch : Batch
        labels : ignored
            The workers have them.
        goal, rule : value, optional
            As of the network.
        """
        clip = getattr(rule, "clip", None)
        learning = {"goal": goal, "rule": replace(rule, clip=None) if clip else rule}
        parts = [part for part in np.array_split(np.arange(len(batch.chosen)), self.shards) if len(part)]
        state = held(self.client, (self.network.parameters, self.network.theta, self._begun))
        futures = [
            self.client.submit(
                shard_gradient, self._network, self._task, state, replace(batch, chosen=batch.chosen[part]), index,
                learning, pure=False, **where,
            )
            for index, (part, where) in enumerate(zip(parts, in_turn(self.client, len(parts)), strict=True))
        ]  # fmt: skip
        found = self.client.gather(futures)
        shares = [len(part) / len(batch.chosen) for part in parts]
        total = {name: np.zeros_like(value) for name, value in found[0].gradients.items()}
        for share, result in zip(shares, found, strict=True):
            for name, value in result.gradients.items():
                total[name] += value.dtype.type(share) * value
        norm = clip_by_norm(total, clip, self.network.info, self.network.parameters) if clip else None
        loss = sum(share * result.loss for share, result in zip(shares, found, strict=True))
        outputs = np.concatenate([result.outputs for result in found])
        yield Gradient(loss, total, None, outputs, sum(result.n_spikes for result in found), norm)


def in_turn(client, n: int) -> list[dict]:
    """Arguments of `submit` that give tasks to the workers in turn; left to itself dask keeps them near their data."""
    workers = sorted(client.nthreads())
    if not workers:  # all are on their way up again
        return [{}] * n
    return [{"workers": [workers[k % len(workers)]], "allow_other_workers": True} for k in range(n)]


def shard_gradient(network, task, state, batch: Batch, index: int, learning: dict) -> Gradient:
    """Gradient of one shard, in a worker.

    Parameters
    ----------
    network, task
        The worker's own copies.
    state : (dict, tuple or None, (int, float))
        Parameters, thresholds, and where the training stands.
    batch : Batch
    index : int
        Of the shard: its random numbers are its own.
    learning : dict
    """
    parameters, theta, begun = state
    network.parameters = {name: value.copy() for name, value in parameters.items()}
    if theta is not None:
        network.theta = theta
    own = network.seed
    network.begin(*begun)
    try:
        network.seed = own + _STRIDE * index
        events = task.batch(batch.chosen, np.random.default_rng([batch.seed, index]), **batch.augmentation)
        found = list(network.gradients(events, task.labels[batch.chosen], **learning))
    finally:
        network.seed = own
    if len(found) != 1:
        raise NetworkError("This rule changes the weights within a batch: it cannot be shared among workers.")
    return replace(found[0], outcome=None)
