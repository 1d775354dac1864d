"""Many samples of the user's own objects in Brian 2."""

from __future__ import annotations

import time

from brian2 import Quantity

from ...devices import check_device
from ...errors import NetworkError
from ..network import objects_of
from .copies import BrianOutcome, Copies
from .serve import serve_objects


def run_brian2(
    objects, inputs: dict, duration: Quantity, dt: Quantity, *, readout=None, namespace=None, device="runtime",
    processes=None, progress=None,
) -> BrianOutcome:  # fmt: skip
    """Run samples in Brian 2: side by side, or in C++ standalone one after another in several processes.

    Parameters
    ----------
    objects : Network or list
        The user's objects with the values that are to be run; they are not changed.
    inputs : dict of str to SampleSpikes
        Spikes of the generators that the samples drive; others repeat their own in every sample.
    duration : Quantity, second
    dt : Quantity, second
        Time step; spikes and delays are rounded to it.
    readout : (NeuronGroup, str), optional
        Group and expression of which the maximum over time is wanted.
    namespace : dict, optional
        Where names are looked up.
    device : {'runtime', 'cpp_standalone'}
        ``'cpp_standalone'`` compiles once for all values and samples of these objects.
    processes : int, optional
        Of C++ standalone; by default one per core.
    progress : callable, optional
        Called with the number of samples done in C++ standalone.

    Raises
    ------
    EngineError
        If C++ standalone can't be built, or no sample could be run.
    NetworkError
        If the objects cannot be copied, with the remedy.
    """
    check_device(device)
    if device == "genn":
        raise NetworkError("device='genn' does not run networks of your own objects; use runtime or cpp_standalone.")
    began = time.perf_counter()
    if device == "cpp_standalone":
        return serve_objects(
            objects_of(objects), inputs, duration, dt, readout, dict(namespace or {}), processes, progress
        )
    items, n = objects_of(objects), next(iter(inputs.values())).n_samples
    copies = Copies(items, inputs, n, dt, readout, dict(namespace or {}))
    copies.network.run(duration, namespace={})
    return copies.outcome(time.perf_counter() - began)
