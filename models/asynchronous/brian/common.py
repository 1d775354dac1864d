"""What clock-driven and event-driven asynchronous networks share in Brian 2."""

from __future__ import annotations

import functools
import re
import time

import numpy as np
from brian2 import Equations, Quantity, TimedArray, ms
from brian2.equations.equations import DIFFERENTIAL_EQUATION, PARAMETER, SingleEquation
from scipy import sparse

from ...devices import StandaloneProject, exact_arithmetic
from ...errors import NetworkError
from .functions import HEADER, RANDOM

TICK = 1 * ms  # of a clock that counts forward steps or events; its time has no meaning
LONGEST_RUN = 2**36  # ticks; a run ends itself


class BrianObjects:
    """Brian 2 objects of one network, and the values that may change between two runs of them.

    Attributes
    ----------
    network : brian2.Network
    state : Choice or Travel
        Memory of the user functions in runtime mode; a C++ program starts with an empty one.
    """

    places = None

    def assign(self, values: dict) -> None:
        """Set values: (object, variable) to value, or the name of a timed array to its values."""
        for key, value in values.items():
            if isinstance(key, str):
                getattr(self, key).values[:] = value
            else:
                group = getattr(self, key[0])
                setattr(group, key[1], Quantity(value, dim=group.variables[key[1]].dim))

    def arguments(self, values: dict) -> dict:
        """The same as ``run_args`` of a compiled project."""
        table = {}
        for key, value in values.items():
            view = getattr(self, key) if isinstance(key, str) else getattr(getattr(self, key[0]), key[1])
            table[view] = value if isinstance(view, TimedArray) else Quantity(value, dim=view.dim)
        return table

    def check_places(self, source, target) -> None:
        """Refuse a network with other synapses than the first one: a compiled program would keep its weights."""
        places = np.stack([source, target])
        if self.places is None:
            self.places = places
        elif not np.array_equal(self.places, places):
            raise NetworkError("This network joins other neurons than the one the Brian 2 objects were made for.")

    def run(self) -> None:
        """Run one sample (in C++ standalone: write down that one is to be run)."""
        self.state.reset()
        self.network.run(LONGEST_RUN * TICK)


def execute(build, samples, device: str, identity: str, progress=None) -> tuple[list, float, int]:
    """Run samples, which may each have a network of their own, with one set of Brian 2 objects.

    Parameters
    ----------
    build : callable
        Makes the `BrianObjects`.
    samples : list of (AsynchronousNetwork, dict)
        Network and arguments of ``values``.
    device : {'runtime', 'cpp_standalone'}
    identity : str
        Text on which the generated C++ depends.
    progress : callable, optional

    Returns
    -------
    parts : list
        What `collect` found for every sample.
    seconds : float
    compilations : int
    """
    parts, seconds = [], 0.0

    def run_all(built, run_one):
        nonlocal seconds
        for network, arguments in samples:
            values = built.values(network, **arguments)
            began = time.perf_counter()
            run_one(values)
            seconds += time.perf_counter() - began
            built.collect(parts, network)
            if progress:
                progress(len(parts))

    if device == "cpp_standalone":
        # A kept project must not outlive the functions it was compiled with.
        with StandaloneProject(identity + HEADER.read_text() + RANDOM.read_text()) as project:
            built = build()
            first = built.values(samples[0][0], **samples[0][1])
            built.assign(first)
            built.run()
            project.build()

            def run_changed(values):  # every array that is passed is written to a file: a thousand times the weights
                changed = {key: v for key, v in values.items() if not np.array_equal(v, first[key])}
                project.run(built.arguments(changed))

            run_all(built, run_changed)
            return parts, seconds, project.compilations
    with exact_arithmetic():
        built = build()
        built.network.store()

        def run_one(values):
            built.network.restore()
            built.assign(values)
            built.run()

        run_all(built, run_one)
    return parts, seconds, 0


@functools.lru_cache(maxsize=2)
def synapse_table(net) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All stored weights, by source and target: sources, target neurons, weights; zeros of dense ones included.

    Networks whose dense projections join the same layers therefore have the same table but for the weights.
    """
    parts = []
    for p in net.projections:
        if sparse.issparse(p.weights):
            coo = p.weights.tocoo()
            rows, columns, weights = coo.row, coo.col, coo.data
        else:
            rows, columns = (index.ravel() for index in np.indices(p.weights.shape))
            weights = np.ravel(p.weights)
        first = int(net.starts[p.target]) - net.n_inputs
        parts.append((rows + int(net.starts[p.source]), columns + first, weights.astype(float)))
    source, target, weight = (np.concatenate(c) for c in zip(*parts, strict=True))
    order = np.lexsort((target, source))  # stable: of two synapses between the same neurons, the first stays first
    return source[order], target[order], weight[order]


def state_of(model) -> str:
    (state,) = model.diff_eq_names
    return state


def without_dynamics(model) -> Equations:
    """The model's variables; the dynamics act at timestep boundaries only, not in every tick."""
    kept = [e for e in model.values() if e.type != DIFFERENTIAL_EQUATION]
    return Equations([*kept, SingleEquation(PARAMETER, state_of(model), model[state_of(model)].dim)])


def jump_of(on_pre: str) -> str:
    """``v_post += w`` for the current of a whole group: ``v += I``."""
    return re.sub(r"\bw\b", "I", re.sub(r"\b(\w+)_post\b", r"\1", on_pre))
