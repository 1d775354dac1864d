"""A run on Brian 2's time grid with what its adjoint needs: spikes, and states just before the events of every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from brian2 import Quantity, SpikeMonitor, StateMonitor, second

from ....equations.brian.extraction import GATE
from ..network import HybridNetwork
from .copies import Copies


@dataclass(frozen=True)
class Record:
    """What a run left: spikes by time step, and states in every step before its events.

    Attributes
    ----------
    spikes : dict of str to (steps, neurons)
    states : dict of str to dict of str to (n_steps, n) array
    """

    spikes: dict
    states: dict


def record(items, network: HybridNetwork, n_steps: int, dt: Quantity, namespace: dict, values=None) -> Record:
    """Run copies of the objects on the time grid; on a standalone device the arrays are there after the build."""
    copies = Copies(items, {}, 1, dt, None, namespace, values)
    inputs, states = {name: SpikeMonitor(copies.made[name]) for name in network.generators}, {}
    for name, group in network.groups.items():
        kept = [*group.states, *([GATE] if group.gates else [])]
        states[name] = StateMonitor(copies.made[name], kept, record=True, when="before_synapses", dt=dt)
    copies.network.add(*inputs.values(), *states.values())
    copies.network.run(n_steps * dt, namespace={})
    return Record(inputs | copies.monitors, states)


def read(record: Record, dt: float) -> Record:
    """The arrays of a record."""
    spikes = {n: (np.rint(m.t / second / dt).astype(int), np.array(m.i[:], int)) for n, m in record.spikes.items()}
    states = {
        name: {v: np.array(getattr(m, f"{v}_" if v != GATE else v), float).T for v in m.record_variables}
        for name, m in record.states.items()
    }
    return Record(spikes, states)
