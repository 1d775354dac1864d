"""Functions that Brian 2 code of asynchronous networks calls: one Python object per network for NumPy and Cython, and
the same in C++ (``functions.hpp``) for C++ standalone.

A `network_operation` would be simpler, but C++ standalone drops it without a word.
"""

from __future__ import annotations

import heapq
from pathlib import Path

import brian2
import numpy as np
from brian2 import Function, second

from ...order.draws import PURPOSES, field_of, uniform

_MODELS = Path(__file__).resolve().parents[2]
HEADER = Path(__file__).with_name("functions.hpp")
RANDOM = _MODELS / "native" / "random.hpp"
PURPOSE_NAMES = {number: name for name, number in PURPOSES.items()}


class Finish:
    """``async_finish(condition)`` ends the run after the current tick."""

    def async_finish(self, condition):
        if np.any(np.asarray(condition) > 0):
            brian2.stop()
        return condition


class Choice(Finish):
    """Which of the waiting spikes are taken. All sources are offered before the first is asked for.

    Parameters
    ----------
    n_sources : int
    """

    def __init__(self, n_sources: int):
        self.key, self.core = np.zeros(n_sources), np.zeros(n_sources, int)
        self.waiting, self.chosen = np.zeros(n_sources, bool), np.zeros(n_sources)
        self.reset()

    def reset(self) -> None:
        """Start a new sample."""
        self.arrivals = 0

    def async_uniform(self, seed_high, seed_low, sample, timestep, step, purpose, source):
        """The random numbers of the compiled engine."""
        high, low, *where = (int(np.ravel(x)[0]) for x in (seed_high, seed_low, sample, timestep, step))
        hashed = field_of((high << 32) | low, *where, PURPOSE_NAMES[int(np.ravel(purpose)[0])])
        numbers = uniform(hashed, np.atleast_1d(source))  # unsigned arrays wrap around, single numbers would warn
        return numbers if np.ndim(source) else float(numbers[0])

    def async_offer(self, source, key, core, waiting):
        self.key[source], self.core[source], self.waiting[source] = key, core, np.asarray(waiting) > 0
        return 0.0

    def async_taken(self, source, group, ties):
        if np.ndim(source) or source == 0:  # Cython asks for one source after another
            self._take(int(np.ravel(group)[0]), bool(np.ravel(ties)[0] > 0))
        return self.chosen[source]

    def _take(self, group: int, ties: bool) -> None:
        self.chosen[:] = 0
        waiting = np.flatnonzero(self.waiting)
        for core in np.unique(self.core[waiting]):
            own = waiting[self.core[waiting] == core]
            keys = self.key[own]
            taken = own[keys == keys.min()] if ties else own[np.argsort(keys, kind="stable")[:group]]
            self.chosen[taken] = 1

    def async_arrival(self, fresh):
        """Running number of what joins the queue."""
        fresh = np.asarray(fresh) > 0
        numbers = self.arrivals + np.cumsum(fresh) - fresh
        self.arrivals += int(np.sum(fresh))
        return numbers if numbers.ndim and np.ndim(fresh) else float(np.ravel(numbers)[0])


class Travel(Finish):
    """Spikes on their way, in whole picoseconds.

    Parameters
    ----------
    n_neurons, n_cores : int
    """

    def __init__(self, n_neurons: int, n_cores: int):
        self.n_neurons, self.n_cores = n_neurons, n_cores
        self.reset()

    def reset(self) -> None:
        """Start a new sample."""
        self.heap: list = []
        self.current, self.reached = np.zeros(self.n_neurons), np.zeros(self.n_neurons)
        self.free_at = np.full(self.n_cores, -np.inf)

    def async_send(self, departure, axonal, synaptic, weight, target, place):
        time = departure + np.rint(np.asarray(axonal) * 1e12) + np.rint(np.asarray(synaptic) * 1e12)
        values = (np.atleast_1d(x).tolist() for x in np.broadcast_arrays(time, place, target, weight))
        for spike in zip(*values, strict=True):
            heapq.heappush(self.heap, spike)
        return time

    def async_next(self, never):
        return self.heap[0][0] if self.heap else never

    def async_arrive(self, now):
        """Add up, per target, everything that arrives at this time and has been sent by now."""
        now, n = float(np.ravel(now)[0]), 0
        while self.heap and self.heap[0][0] == now:  # sorted by (time, place)
            _, _, target, weight = heapq.heappop(self.heap)
            self.current[target] += weight
            self.reached[target] = 1
            n += 1
        return float(n)

    def async_current(self, target):
        current = np.array(self.current[target])
        self.current[target] = 0
        return current if current.ndim else float(current)

    def async_reached(self, target):
        reached = np.array(self.reached[target])
        self.reached[target] = 0
        return reached if reached.ndim else float(reached)

    def async_depart(self, now, core, service):
        service = float(np.ravel(service)[0])
        if not service > 0:
            return now
        ends = []
        for c, begin in zip(*np.broadcast_arrays(np.atleast_1d(core), now), strict=True):
            self.free_at[c] = max(begin, self.free_at[c]) + service
            ends.append(self.free_at[c])
        return np.array(ends) if np.ndim(core) else ends[0]


_UNITS = {"async_send": [1, second, second, 1, 1, 1]}


def functions(state: Finish) -> dict[str, Function]:
    """Brian 2 functions for the namespace of a group, bound to `state` in runtime mode.

    Parameters
    ----------
    state : Choice or Travel

    Returns
    -------
    dict of str to Function
    """
    table = {}
    for name in (n for n in dir(state) if n.startswith("async_")):
        method = getattr(state, name)
        n_arguments = method.__func__.__code__.co_argcount - 1
        function = Function(
            method,
            arg_units=_UNITS.get(name, [1] * n_arguments),
            arg_names=None,
            return_unit=1,
            # `async_uniform` depends on its arguments alone; all others may be called once per element only.
            stateless=name == "async_uniform",
        )
        for target in ("numpy", "cython"):  # without the wrapper that gives every argument its unit
            function.implementations.add_implementation(target, method)
        function.implementations.add_implementation(
            "cpp", "", name=name, compiler_kwds={"headers": [f'"{HEADER}"'], "include_dirs": [str(_MODELS)]}
        )
        table[name] = function
    return table
