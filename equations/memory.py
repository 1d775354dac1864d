"""How the update of a gamma memory depends on its time constants."""

from __future__ import annotations

import functools

from .gamma import gamma_memory
from .hybrid import HybridSystem
from .steps import Decay


@functools.cache
def memory_update(K: int, memory: str, transposed: bool) -> Decay:
    """Return the update of a chain of K buckets over a step, ``z(t+dt) = A z(t)``, as a function of ``tau_0 ...``."""
    names = tuple(f"tau_{k}" for k in range(K))
    model = gamma_memory(K, names, memory=memory, transposed=transposed)
    return HybridSystem.of(model).decay(by=names)
