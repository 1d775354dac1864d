"""Evaluation in parts: samples are independent, so their results are put side by side."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from ...models.asynchronous.network import AsynchronousNetwork
from ..asynchronous.evaluation import evaluate_async
from ..evaluation import evaluate_native
from ..tasks import Task
from .connection import held
from .gradients import Distributed

PART = 200  # samples


def evaluate_distributed(network, task: Task, client, *, part=PART, on_sample=None, **options):
    """Evaluate a network on a cluster.

    Parameters
    ----------
    network : SpikingGammaNetwork or AsynchronousNetwork
    task : Task
    client : distributed.Client
    part : int
        Samples of a task of the cluster.
    on_sample : callable, optional
        Called with the number of samples done.
    **options
        As of `evaluate_native`, or of `evaluate_async` for an asynchronous network.

    Returns
    -------
    Evaluation or AsyncEvaluation
        As of `evaluate_native`, sample for sample.
    """
    from distributed import as_completed

    shared = [held(client, value) for value in (network, task)]
    begins = range(0, len(task), part)
    futures = {client.submit(evaluate_part, *shared, first, part, options, pure=False): first for first in begins}
    done = 0
    for future in as_completed(futures):
        done += min(part, len(task) - futures[future])
        if on_sample:
            on_sample(done)
    return joined(client.gather(list(futures)))


def evaluate_part(network, task: Task, first: int, size: int, options: dict):
    """Evaluation of some samples, in a worker."""
    chosen = np.arange(first, min(first + size, len(task)))
    some = replace(task, events=task.events.take(chosen), labels=task.labels[chosen])
    network.threads = 1
    if isinstance(network, AsynchronousNetwork):
        return evaluate_async(network, some, first_sample=first, **options)
    return evaluate_native(network, some, **options)


def joined(parts: list):
    """One evaluation of all samples; seconds add up, what is one number for all is the first's."""
    values = {}
    for field in fields(parts[0]):
        found = [getattr(part, field.name) for part in parts]
        if isinstance(found[0], np.ndarray):
            values[field.name] = np.concatenate(found)
        elif isinstance(found[0], dict) and all(isinstance(v, np.ndarray) for v in found[0].values()):
            values[field.name] = {name: np.concatenate([f[name] for f in found]) for name in found[0]}
        else:
            values[field.name] = sum(found) if field.name == "seconds" else found[0]
    return type(parts[0])(**values)


@evaluate_native.register
def _(network: Distributed, task: Task, *, dtype=None, on_sample=None):
    return evaluate_distributed(network.network, task, network.client, dtype=dtype, on_sample=on_sample)
