"""Groups and synapses of asynchronous SpikingGamma networks in Brian 2: every step of them when an event says so."""

from __future__ import annotations

import numpy as np
from brian2 import Equations, NeuronGroup, Synapses
from brian2.equations.equations import DIFFERENTIAL_EQUATION, PARAMETER, SingleEquation
from brian2.parsing.sympytools import sympy_to_str

from ...equations.hybrid import HybridSystem


def layer_group(network, index: int, model, clock, events: dict, **spiking) -> NeuronGroup:
    """Neurons of a layer (counted from 1) that take the memory's step on the event 'begin' and test when told to."""
    kept = [e for e in model.values() if e.type != DIFFERENTIAL_EQUATION]
    states = [SingleEquation(PARAMETER, name, model[name].dim) for name in model.diff_eq_names]
    group = NeuronGroup(
        network.sizes[index], Equations([*kept, *states]) + Equations("testing : boolean\nstarting : boolean"),
        events=events, clock=clock, name=f"layer{index}", **spiking,
    )  # fmt: skip
    step = HybridSystem.of(model).step(float(network.dt))
    lines = [f"next_{name} = {sympy_to_str(step.next[name])}" for name in step.states]
    group.run_on_event("begin", "\n".join(lines + [f"{name} = next_{name}" for name in step.states]))
    return group


def layer_synapses(network, index: int, model, relay, group) -> Synapses:
    """From the relay's sources of the layer before to a layer, delivered on the event 'deliver'."""
    declared = "\n".join(f"{w} : 1" for w in model.weight_names)
    synapses = Synapses(relay, group, declared, on_pre=model.on_pre, on_event="deliver", clock=relay.clock,
                        name=f"weights{index}")  # fmt: skip
    pre, post = (a.ravel() for a in np.indices(network.sizes[index - 1 : index + 1]))
    synapses.connect(i=pre + sum(network.sizes[: index - 1]), j=post)
    return synapses
