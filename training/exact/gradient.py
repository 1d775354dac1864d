"""Loss and exact gradient of the user's own Brian 2 objects."""

from __future__ import annotations

import numpy as np
from brian2 import Network, NeuronGroup, Quantity, SpikeGeneratorGroup, Synapses, second
from brian2.core.base import Nameable
from brian2.groups.group import get_local_namespace
from brian2.groups.subgroup import Subgroup
from brian2.synapses.synapses import SynapticPathway
from brian2.units.fundamentalunits import fail_for_dimension_mismatch

from ...models.hybrid.adjoint import Backward, loss_value
from ...models.hybrid.losses import Loss
from ...models.hybrid.network import DELAY, HybridNetwork, build
from ...models.hybrid.oracle import Tape, simulate
from ..errors import TrainingError


class HybridProblem:
    """A network, a loss and what is trained, ready to be run at other values.

    Parameters
    ----------
    network : Network or list
        The user's `NeuronGroup`, `Synapses` and `SpikeGeneratorGroup` objects; monitors are ignored.
    loss : Loss
        Sum of `spike_loss`, `integral_loss` and `final_loss` terms.
    wrt : list of (object, str)
        What derivatives are taken of: a parameter or a namespace constant of a group, a variable of a group (its
        initial value), ``'refractory'`` where it was given as a time, a synaptic variable, ``'delay'`` of `Synapses` or
        of one of their pathways, ``'spike_time'`` of a generator.
    duration : Quantity
        Length of the run.
    namespace : dict, optional
        Where names are looked up; the caller's variables by default.

    Attributes
    ----------
    keys : list of (str, str)
        Object name and variable of every entry of `wrt`.
    """

    def __init__(self, network, loss, wrt, duration, namespace=None, level=0):
        namespace = get_local_namespace(level + 1) if namespace is None else namespace
        if not isinstance(loss, Loss):
            raise TrainingError(f"loss = {loss!r}; give a sum of spike_loss, integral_loss and final_loss.")
        fail_for_dimension_mismatch(duration, second, "duration must be a time")
        if not float(duration) > 0:
            raise TrainingError(f"duration = {duration}; it must be positive.")
        self.duration = float(duration)
        self.wrt = [_pair(entry) for entry in wrt]
        self.keys = [_key(*entry) for entry in self.wrt]
        objects = network.objects if isinstance(network, Network) else network
        for (item, _), (name, _) in zip(self.wrt, self.keys, strict=True):
            known = {o.name for o in objects} | {
                p.name for o in objects if isinstance(o, Synapses) for p in o._pathways
            }
            if name not in known:
                raise TrainingError(f"'{getattr(item, 'name', item)}' in wrt is not in the network.")
        self.network: HybridNetwork = build(network, loss, self.keys, namespace)
        for key in self.keys:
            if key not in self.network.values:
                owner = sorted(v for n, v in self.network.values if n == key[0])
                raise TrainingError(f"'{key[0]}' has no variable '{key[1]}' that the loss depends on; it has {owner}.")

    def simulate(self, values=None) -> Tape:
        """Run the oracle, with some values replaced (by key)."""
        return simulate(self.network, self.duration, values)

    def loss(self, values=None) -> float:
        """Loss in SI units."""
        return loss_value(self.simulate(values))

    def loss_and_gradients(self, values=None) -> tuple[float, list[np.ndarray]]:
        """Loss and one array per entry of `wrt`, all in SI units."""
        tape = self.simulate(values)
        value, found = loss_value(tape), Backward(tape).run()
        return value, [found[key] for key in self.keys]

    def with_units(self, value, gradients):
        """Attach units: those of the loss, and of the loss over each variable."""
        dims = self.network.loss_dim
        arrays = [Quantity(g, dim=dims / self.network.dimensions[k]) for k, g in zip(self.keys, gradients, strict=True)]
        return Quantity(value, dim=dims), arrays


def value_and_grad(network, loss, wrt, duration, *, namespace=None, level=0):
    """Loss and exact gradient of a spiking network written in Brian 2.

    Spikes are located as events, not on a time grid: this is the gradient that Brian 2's simulation tends to as its
    time step goes to zero, exact as long as no spike appears or vanishes.

    Parameters
    ----------
    network, loss, wrt, duration, namespace
        See `HybridProblem`.

    Returns
    -------
    value : Quantity or float
    gradients : list of Quantity
        One array for every entry of `wrt`: of one entry per neuron, synapse or input spike, or of a single entry for
        shared values.

    Raises
    ------
    ModelError
        If something in the model has no derivative.
    NetworkError
        If the run has none: a neuron touches its threshold, spikes twice at once, or is not finite.
    TrainingError
        If `wrt` or `loss` do not fit the network.

    Examples
    --------
    >>> loss, (w, tau) = value_and_grad(net, spike_loss('t/ms', G), [(S, 'w'), (G, 'tau_m')], 50*ms)  # doctest: +SKIP
    """
    problem = HybridProblem(network, loss, wrt, duration, namespace, level + 1)
    return problem.with_units(*problem.loss_and_gradients())


def _pair(entry):
    if not (isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], str)):
        raise TrainingError(
            f"wrt has the entry {entry!r}; give (object, variable name) pairs, such as (synapses, 'w')."
        )
    return entry


def _key(item, variable) -> tuple[str, str]:
    if isinstance(item, Synapses) and variable == DELAY:
        if len(item._pathways) != 1:
            names = [p.objname for p in item._pathways]
            raise TrainingError(
                f"'{item.name}' has the pathways {names}; name one, as in (synapses.{names[0]}, 'delay')."
            )
        return item._pathways[0].name, DELAY
    if isinstance(item, Subgroup) or not isinstance(
        item, NeuronGroup | Synapses | SpikeGeneratorGroup | SynapticPathway
    ):
        described = item.name if isinstance(item, Nameable) else repr(item)
        raise TrainingError(f"wrt names {described}; give a whole NeuronGroup, Synapses or SpikeGeneratorGroup.")
    return item.name, variable
