"""The cluster: a local one by default, a running one by its address."""

from __future__ import annotations

import contextlib
import importlib.util

from ...models.checks import processors
from ..errors import TrainingError

# A task is given up when this many workers died with it: killed workers are no reason, a task that kills them is.
ALLOWED_FAILURES = 100


@contextlib.contextmanager
def connected(address: str | None = None, workers: int | None = None):
    """Client of a cluster.

    Parameters
    ----------
    address : str, optional
        Of a running scheduler, such as ``tcp://host:8786``; by default a cluster of processes on this machine.
    workers : int, optional
        Processes of the local cluster, one thread each; by default one per core.

    Yields
    ------
    distributed.Client

    Raises
    ------
    TrainingError
        If dask.distributed is missing, or nobody answers at the address.
    """
    if importlib.util.find_spec("distributed") is None:
        raise TrainingError("dask.distributed is not installed: pip install 'brian2grad[dask]'.")
    import dask
    from distributed import Client, LocalCluster

    settings = {
        "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
        "distributed.admin.large-graph-warning-threshold": "10GB",  # data and weights travel as arguments, once
        "distributed.worker.daemon": False,
    }
    with dask.config.set(settings), contextlib.ExitStack() as stack:
        if address is not None:
            if workers is not None:
                raise TrainingError("--workers belongs to a cluster of this machine; --cluster has its own.")
            try:
                client = Client(address, timeout="10s")
            except OSError as error:
                raise TrainingError(
                    f"No scheduler answers at {address} ({error}); start one: dask scheduler."
                ) from None
        else:
            n = processors() if workers is None else workers
            cluster = LocalCluster(
                n_workers=n, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
            )  # fmt: skip
            client = Client(stack.enter_context(cluster))
        yield stack.enter_context(client)  # what fails from here on is no matter of the connection


def hold(value):
    """A value as a task: it is shipped once, travels from worker to worker, and is there again when one dies."""
    return value


def held(client, value):
    """Future of a value that many tasks share."""
    return client.submit(hold, value, pure=False)
