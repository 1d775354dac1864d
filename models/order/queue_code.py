"""A scheduler's key lowered to the expressions from which the C++ of its queue is generated."""

from __future__ import annotations

import functools

import sympy

from ...equations.statements import symbol
from ..native.express import cpp
from .keys import UNIFORM, Scheduler, checked_key, parse_key
from .schedulers import RandomScheduler


def queue_code(scheduler: Scheduler) -> dict:
    """Template values of a scheduler: which queue, and its key in C++."""
    if isinstance(scheduler, RandomScheduler) and not scheduler.keyed:
        return {"queue": "bag"}
    order = getattr(scheduler, "order", None)
    if isinstance(order, RandomScheduler) and not order.keyed:
        return {"queue": "bag"}
    if scheduler.key is None:
        return {"queue": "external"}
    checked_key(scheduler)
    return {"ties": scheduler.ties} | _key_code(scheduler.key, tuple(sorted(scheduler.numbers())))


@functools.cache
def _key_code(text: str, names: tuple[str, ...]) -> dict:
    key = parse_key(text)
    noise = key.diff(UNIFORM)
    code = {"queue": "heap", "key_parameters": names, "random": bool(key.has(UNIFORM))}
    if not noise.free_symbols - {symbol(name) for name in names}:  # fixed + noise * uniform: prunes the queue
        fixed = sympy.expand(key - noise * UNIFORM)
        value = symbol("fixed") + noise * UNIFORM
        return code | {"key_fixed": cpp(fixed), "key_noise": cpp(noise), "key_value": cpp(value)}
    return code | {"key_fixed": "0.0", "key_noise": None, "key_value": cpp(key)}
