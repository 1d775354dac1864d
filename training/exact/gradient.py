"""Loss and exact gradient of the user's own Brian 2 objects."""

from __future__ import annotations

import functools

import numpy as np
from brian2 import Network, NeuronGroup, Quantity, SpikeGeneratorGroup, Synapses, second
from brian2.core.base import Nameable
from brian2.groups.group import get_local_namespace
from brian2.groups.subgroup import Subgroup
from brian2.synapses.synapses import SynapticPathway
from brian2.units.fundamentalunits import DimensionMismatchError, fail_for_dimension_mismatch

from ...equations import derive_adjoint
from ...models.errors import NetworkError
from ...models.hybrid.adjoint import Backward, loss_value
from ...models.hybrid.brian.backward import reversed_gradients
from ...models.hybrid.engine import HybridEngine
from ...models.hybrid.losses import FINAL, MAX, Loss, Term, loss_dimension
from ...models.hybrid.network import DELAY, TIMES, HybridNetwork, build, objects_of
from ...models.hybrid.oracle import Tape, simulate
from ...models.hybrid.used import mark_used
from ..errors import TrainingError
from .losses import FunctionLoss, LossSum, Partials, RunLoss, RunResult
from .replayed import checked_located, replayed, warn_of


class HybridProblem:
    """A network, a loss and what is trained, ready to be run at other values.

    Parameters
    ----------
    network : Network or list
        The user's `NeuronGroup`, `Synapses` and `SpikeGeneratorGroup` objects; monitors are ignored. The values that
        their variables have now are those at t = 0.
    loss : Loss or RunLoss or callable
        Sum of text losses (`spike_loss`, `integral_loss`, `final_loss`, `max_loss`) and ready ones such as
        `SpikeTimes`; or a function of a `RunResult` that returns value and partials, see `FunctionLoss`.
    wrt : list of (object, str)
        What derivatives are taken of: a parameter or a namespace constant of a group, a variable of a group (its
        initial value), ``'refractory'`` where it was given as a time, a synaptic variable, ``'delay'`` of `Synapses` or
        of one of their pathways, ``'spike_time'`` of a generator.
    duration : Quantity, second
        Length of the run.
    namespace : dict, optional
        Where names are looked up; the caller's variables by default.
    engine : {'compiled', 'oracle'}
        ``'oracle'``: the slow reference in plain Python.

    Attributes
    ----------
    keys : list of (str, str)
        Object name and variable of every entry of `wrt`.
    """

    def __init__(self, network, loss, wrt, duration, namespace=None, level=0, engine="compiled"):
        namespace = get_local_namespace(level + 1) if namespace is None else namespace
        self.loss_terms = as_sum(loss)
        if wrt and not self.loss_terms.timed:
            raise TrainingError(
                "The loss counts spikes, and a number of spikes has no timing gradient: it is zero until a spike comes "
                "or goes. Add a loss of spike times, or SpikeRate or WakeSilent."
            )
        fail_for_dimension_mismatch(duration, second, "duration must be a time")
        if not float(duration) > 0:
            raise TrainingError(f"duration = {duration}; it must be positive.")
        if engine not in ("compiled", "oracle"):
            raise TrainingError(f"engine = {engine!r}; choose 'compiled' or 'oracle'.")
        self.engine = engine
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
        self.network: HybridNetwork = build(network, self.loss_terms.every_term, self.keys, namespace)
        self.network.loss_dim = self._loss_dimension(namespace)
        mark_used(objects)
        for key in self.keys:
            if key not in self.network.values:
                owner = sorted(v for n, v in self.network.values if n == key[0])
                raise TrainingError(f"'{key[0]}' has no variable '{key[1]}' that the loss depends on; it has {owner}.")

    def _loss_dimension(self, namespace):
        """Unit of the loss: that of the text, of which a maximum counts as a value at the end."""
        terms = [Term(FINAL if t.kind == MAX else t.kind, t.text, t.group) for t in self.loss_terms.text.terms]
        found = loss_dimension(Loss(tuple(terms)), namespace)
        if self.loss_terms.parts and not found.is_dimensionless:
            raise DimensionMismatchError("Ready losses have no unit; the text beside them must have none", found)
        return found

    def judge(self, run: RunResult, targets=None) -> Partials:
        """Loss of a run, of the oracle's or of the compiled engine's, and its derivatives by what the run gave."""
        return self.loss_terms.evaluate(run, targets)

    def simulate(self, values=None) -> Tape:
        """Run the oracle, with some values replaced (by key)."""
        return simulate(self.network, self.duration, values)

    def loss(self, values=None) -> float:
        """Loss in SI units."""
        return self.value_of(self.simulate(values))

    def value_of(self, tape: Tape) -> float:
        """Loss of a run of the oracle in SI units.

        Raises
        ------
        NetworkError
            If it is not finite.
        """
        if self.loss_terms.only_text:
            return loss_value(tape)
        return self._finite(self.judge(RunResult.of_tape(tape)).losses[0])

    @staticmethod
    def _finite(value) -> float:
        if not np.isfinite(value):
            raise NetworkError(f"The loss is {value}; it is not finite on this run.")
        return float(value)

    @functools.cached_property
    def compiled(self) -> HybridEngine:
        """The compiled engine of this network, built on first use."""
        return HybridEngine(self.network, self.duration)

    def loss_and_gradients(self, values=None) -> tuple[float, list[np.ndarray]]:
        """Loss and one array per entry of `wrt`, all in SI units."""
        if self.engine == "compiled":
            outcome = self.compiled.run(values)
            partials = self.judge(RunResult.of_outcome(outcome))
            found = outcome.backward(partials.spike_times, partials.final, partials.maxima, wanted=self.keys)
            return self._finite(partials.losses[0]), [found[key] for key in self.keys]
        tape = self.simulate(values)
        value, found = self.value_of(tape), self.backward(tape)
        return value, [found[key] for key in self.keys]

    def backward(self, tape: Tape) -> dict:
        """Exact gradient of a run of the oracle by every value of the network."""
        if self.loss_terms.only_text:
            return Backward(tape).run()
        partials = self.judge(RunResult.of_tape(tape))
        one = [{name: array[0] for name, array in table.items()} for table in (partials.final, partials.maxima)]
        return Backward(tape, partials.spike_times, *one).run()

    def with_units(self, value, gradients):
        """Attach units: those of the loss, and of the loss over each variable."""
        dims = self.network.loss_dim
        arrays = [Quantity(g, dim=dims / self.network.dimensions[k]) for k, g in zip(self.keys, gradients, strict=True)]
        return Quantity(value, dim=dims), arrays


def value_and_grad(network, loss, wrt, duration, *, namespace=None, level=0, engine="compiled", located=True):
    """Loss and exact gradient of a spiking network written in Brian 2.

    Spikes are located as events, not on a time grid: this is the gradient that Brian 2's simulation tends to as its
    time step goes to zero, exact as long as no spike appears or vanishes.

    Parameters
    ----------
    network, loss, wrt, duration, namespace, engine
        See `HybridProblem`.
    located : bool
        ``False`` runs Brian 2 on its time grid and takes the gradient through the spikes that it finds there; a warning
        says which error to expect. For comparison: the default is exact and faster.

    Returns
    -------
    value : Quantity or float
    gradients : list of Quantity
        One array for every entry of `wrt`: of one entry per neuron, synapse or input spike, or of a single entry for
        shared values.

    Raises
    ------
    EngineError
        If C++ cannot express a function of the model; take ``engine='oracle'``.
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
    checked_located(located)
    namespace = get_local_namespace(level + 1) if namespace is None else namespace
    problem = HybridProblem(network, loss, wrt, duration, namespace, engine=engine)
    if not located:
        value, gradients, error = replayed(problem, network, namespace)
        warn_of(error)
        return problem.with_units(value, gradients)
    return problem.with_units(*problem.loss_and_gradients())


def brian2_gradient(network, loss, wrt, duration, *, dt, device="runtime", namespace=None, level=0):
    """The gradient from Brian 2 alone: a run on its time grid, then the adjoint as a Brian 2 network, run backward.

    That network is made of the equations and event rules of `derive_adjoint`. Its gradient tends to that of
    `value_and_grad` with the first power of the time step; it is slower and less exact, and shows what an adjoint is.

    Parameters
    ----------
    network, wrt, duration, namespace
        See `HybridProblem`; all synapses of a pathway have the same delay, and input spike times have no gradient here.
    loss : Loss
        Text losses of spikes, integrals and the end.
    dt : Quantity, second
        Time step of both runs.
    device : {'runtime', 'cpp_standalone'}

    Returns
    -------
    list of Quantity
        One array for every entry of `wrt`.

    Raises
    ------
    NetworkError
        For what does not run backward in Brian 2.
    """
    namespace = get_local_namespace(level + 1) if namespace is None else namespace
    fail_for_dimension_mismatch(dt, second, "dt must be a time")
    problem = HybridProblem(network, loss, wrt, duration, namespace)
    if not problem.loss_terms.only_text or any(variable == TIMES for _, variable in problem.keys):
        raise TrainingError("Backward in Brian 2: give text losses, and no spike times of a generator in wrt.")
    items, adjoints = objects_of(network), {}
    for item in [item for item in items if isinstance(item, NeuronGroup)]:
        arriving = [s for s in items if isinstance(s, Synapses) and s.target is item]
        unit, names = Quantity(1, dim=problem.network.loss_dim), problem.network.groups[item.name].wrt
        adjoints[item.name] = derive_adjoint(item, *arriving, wrt=names, loss_unit=unit, namespace=namespace)
    found = reversed_gradients(items, problem.network, adjoints, duration, dt, device, namespace)
    return problem.with_units(0.0, [found[key] for key in problem.keys])[1]


def as_sum(loss) -> LossSum:
    if not isinstance(loss, Loss | RunLoss) and callable(loss):
        loss = FunctionLoss(loss)
    found = LossSum.of(loss)
    if found is NotImplemented:
        raise TrainingError(
            f"loss = {loss!r}; give a sum of spike_loss, integral_loss, final_loss, max_loss and ready losses, or a "
            "function of a RunResult."
        )
    return found


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
