"""The random numbers of a run, by what they are used for: the NumPy twin of ``native/random.hpp``.

A number is a hash of (seed, sample, timestep, forward step, purpose, source). Nothing is stored, every number
can be asked for again, and a dense simulation that draws one key per neuron meets the same keys as the
event-driven engine, which only ever computes those of queued neurons.
"""

from __future__ import annotations

import numpy as np

PURPOSES = {"key": 0, "refractory dropout": 1, "spike dropout": 2, "input dropout": 3, "pick": 4}
_SLOTS = 8
_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def _mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def field_of(seed: int, sample: int, timestep: int, step: int, purpose: str) -> int:
    """Hash that `uniform` extends by the source; compute it once per forward step."""
    z = _mix((seed + _GOLDEN) & _MASK)
    for part in (
        sample + 1,
        timestep + 1,
        _SLOTS * step + PURPOSES[purpose] + 1,
    ):  # step -1 is the choice before the first step
        z = _mix((z + _GOLDEN * part) & _MASK)
    return z


def uniform(field: int, sources) -> np.ndarray:
    """Uniform numbers in [0, 1) of the given sources.

    Parameters
    ----------
    field : int
        From `field_of`.
    sources : array of int
        Source numbers: input units count from 0, neuron j is ``n_inputs + j``.

    Returns
    -------
    array of float64
        Multiples of 2**-53.
    """
    index = np.asarray(sources, dtype=np.uint64) + np.uint64(1)
    z = np.uint64(field) + np.uint64(_GOLDEN) * index  # unsigned arithmetic on arrays wraps, as in C++
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(float) * 2.0**-53
