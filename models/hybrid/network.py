"""The user's own Brian 2 objects as one hybrid system with values: groups, pathways, input spikes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from brian2 import Network, NeuronGroup, PoissonGroup, PoissonInput, SpikeGeneratorGroup, Synapses
from brian2.groups.subgroup import Subgroup
from brian2.input.timedarray import TimedArray
from brian2.monitors import EventMonitor, PopulationRateMonitor, StateMonitor

from ...equations.brian.extraction import HybridNeuron, neuron_of
from ...equations.brian.pathways import HybridPathway, pathways_of, targets_of
from ..errors import NetworkError
from .functions import JumpFunctions, NeuronFunctions
from .losses import FINAL, INTEGRAL, SPIKE, ParsedTerm, loss_dimension, parse_term, whole_group

DELAY = "delay"
TIMES = "spike_time"


@dataclass
class Group:
    """Neurons of one `NeuronGroup`: functions, names of parameters, loss terms.

    `theta` names what the functions take as parameters (in this order, then ``i`` and ``N``).
    """

    name: str
    n: int
    neuron: HybridNeuron
    functions: NeuronFunctions
    states: tuple[str, ...]
    theta: tuple[str, ...]
    wrt: tuple[str, ...]
    inputs: list
    terms: list[ParsedTerm]
    dimensions: dict

    @property
    def gates(self) -> bool:
        """Whether spikes are followed by a refractory period."""
        return self.functions.period is not None

    def running(self, index: int) -> tuple[ParsedTerm, ...]:
        return tuple(t for t in self.terms if t.kind == INTEGRAL and t.start <= index < t.stop)

    def at_spikes(self, index: int):
        return [t for t in self.terms if t.kind == SPIKE and t.start <= index < t.stop]

    def at_end(self, index: int):
        return [t for t in self.terms if t.kind == FINAL and t.start <= index < t.stop]


@dataclass
class Pathway:
    """One pathway of a `Synapses` object with the synapses of every source neuron."""

    name: str
    synapses: str
    source: str
    target: str
    text: HybridPathway
    active: JumpFunctions
    refractory: JumpFunctions
    i: np.ndarray
    j: np.ndarray
    leaving: dict[int, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class StateBlock:
    """Variables that the synapses of one object hold as their own, among all numbers of that kind in the target."""

    synapses: str
    target: str
    names: tuple[str, ...]
    n: int
    first: int

    @property
    def end(self) -> int:
        return self.first + self.n * len(self.names)

    def part(self, numbers: np.ndarray) -> np.ndarray:
        """Those of this object, (n_synapses, n_names)."""
        return numbers[self.first : self.end].reshape(self.n, len(self.names))


@dataclass
class HybridNetwork:
    """All that a run needs; `values` holds every number that may be trained, by (object name, variable).

    Attributes
    ----------
    groups : dict of str to Group
    pathways : list of Pathway
    generators : dict of str to numpy.ndarray
        Neuron of every input spike; times are values.
    n_inputs : dict of str to int
        Neurons of every generator, connected or not.
    values : dict
        SI values as flat arrays of one entry or of one a neuron, synapse or spike.
    dimensions : dict
        Brian 2 dimension of every value.
    loss_dim : Dimension
    """

    groups: dict[str, Group]
    pathways: list[Pathway]
    generators: dict[str, np.ndarray]
    n_inputs: dict[str, int]
    values: dict
    dimensions: dict
    loss_dim: object

    def state_blocks(self) -> dict[str, StateBlock]:
        """Own variables of all synapses, by the name of their object."""
        found, ends = {}, dict.fromkeys(self.groups, 0)
        for p in self.pathways:
            if p.synapses not in found:
                names = tuple(p.text.states.values())
                found[p.synapses] = block = StateBlock(p.synapses, p.target, names, len(p.i), ends[p.target])
                ends[p.target] = block.end
        return found

    def replaced(self, values: dict | None) -> dict:
        """The network's values with some of them replaced.

        Raises
        ------
        NetworkError
            If there is no such value, or it is not numbers of the right shape: one for all, or one each; or if any
            value is not finite, or a delay negative.
        """
        found, sizes = dict(self.values), {name: group.n for name, group in self.groups.items()}
        sizes |= {name: len(path.i) for path in self.pathways for name in (path.name, path.synapses)}
        for (owner, name), value in (values or {}).items():
            if (owner, name) not in found:
                raise NetworkError(f"'{owner}' has no value '{name}'; there are {', '.join(n for o, n in found)}.")
            given, shapes = np.asarray(value), ((1,), (sizes.get(owner, 0),))
            if name == TIMES:
                shapes = (self.generators[owner].shape,)
            if given.dtype.kind not in "biuf" or given.shape not in shapes:
                raise NetworkError(
                    f"'{owner}': {name} has type {given.dtype} and shape {given.shape}; expected numbers of shape "
                    f"{' or '.join(map(str, dict.fromkeys(shapes)))}."
                )
            found[owner, name] = np.asarray(given, float)
        for (owner, name), value in found.items():
            if name == DELAY and not (np.isfinite(value).all() and (value >= 0).all()):
                raise NetworkError(f"'{owner}': delays must be finite and not negative; found {value.min()!r} s.")
            if name != TIMES and not np.isfinite(value).all():
                raise NetworkError(f"'{owner}': values must be finite; '{name}' is not.")
        return found


def objects_of(network) -> list:
    """The objects of a `Network` or a list, monitors left out.

    Raises
    ------
    NetworkError
        For objects that have no gradient, with the remedy.
    """
    objects = list(network.objects) if isinstance(network, Network) else list(network)
    if isinstance(network, Network) and float(network.t) > 0:
        raise NetworkError(
            f"'{network.name}' has been run to t = {network.t}; its variables are no initial values any more. Call "
            "store() before the run and restore() after it."
        )
    kept = []
    for item in objects:
        if isinstance(item, StateMonitor | EventMonitor | PopulationRateMonitor):
            continue
        if isinstance(item, PoissonGroup | PoissonInput):
            raise NetworkError(
                f"'{item.name}' ({type(item).__name__}) draws its spikes at random; record them once and replay them "
                "with a SpikeGeneratorGroup."
            )
        if type(item) not in (NeuronGroup, Synapses, SpikeGeneratorGroup, Subgroup):
            raise NetworkError(
                f"'{item.name}' ({type(item).__name__}) is not supported; give NeuronGroup, Synapses and "
                "SpikeGeneratorGroup objects."
            )
        kept.append(item)
    return kept


def build(network, loss, wrt, namespace) -> HybridNetwork:
    """Turn Brian 2 objects into a hybrid network.

    Parameters
    ----------
    network : Network or list
    loss : Loss
    wrt : list of (str, str)
        Object names and variables of which derivatives will be wanted.
    namespace : dict
        Where external names are looked up.
    """
    objects = objects_of(network)
    synapses = [o for o in objects if isinstance(o, Synapses)]
    given = {o.name: o for o in objects}
    for term in loss.terms:
        whole = whole_group(term.group)[0]
        if whole.name not in given:
            raise NetworkError(f"The loss '{term.text}' reads '{whole.name}', which is not in the network.")
    values, dimensions, groups, generators, n_inputs = {}, {}, {}, {}, {}
    for item in objects:
        if isinstance(item, NeuronGroup):
            groups[item.name] = _group(item, synapses, loss, wrt, namespace, values, dimensions)
        elif isinstance(item, SpikeGeneratorGroup):
            generators[item.name], n_inputs[item.name] = _generator(item, values, dimensions), len(item)
    pathways = []
    for item in synapses:
        pathways += _pathways(item, groups, generators, wrt, namespace, values, dimensions)
    return HybridNetwork(groups, pathways, generators, n_inputs, values, dimensions, loss_dimension(loss, namespace))


def _group(item, synapses, loss, wrt, namespace, values, dimensions) -> Group:
    altered = sorted(set().union(*(targets_of(s) for s in synapses if whole_group(s.target)[0].name == item.name)))
    neuron = neuron_of(item, namespace, altered)
    terms = [parse_term(t, neuron, namespace) for t in loss.terms if whole_group(t.group)[0].name == item.name]
    theta = sorted({*neuron.system.parameters, *(n for t in terms for n in t.parameters)})
    jumps = [
        p for s in synapses if whole_group(s.target)[0].name == item.name for p in pathways_of(s, neuron, namespace)
    ]
    for jump in jumps:  # parameters of the target that only its synapses read
        names = {s.name for table in (jump.jump, jump.jump_refractory) for e in table.values() for s in e.free_symbols}
        own = {*neuron.system.states, *jump.parameters, *jump.constants, *jump.states}
        theta = sorted({*theta, *(n for n in names - own if n in item.equations or n in neuron.constants)})
    theta = [n for n in theta if n not in ("i", "N", "t", "not_refractory")]
    constants = dict(neuron.constants)
    sizes = {**neuron.dimensions}
    for term in terms:
        constants.update(term.constants)
        sizes.update({n: d for n, d in term.dimensions.items() if n not in sizes})
    for name in theta:
        value = constants[name] if name in constants else _parameter(item, name)
        values[item.name, name] = _flat(value)
        dimensions[item.name, name] = sizes[name]
    for name in neuron.system.states:
        values[item.name, name] = np.broadcast_to(_flat(item.variables[name].get_value()), (len(item),)).copy()
        dimensions[item.name, name] = item.variables[name].dim
    inputs = dict(neuron.inputs)
    for reader in (*terms, *jumps):
        inputs.update(reader.inputs)
    own = [name for owner, name in wrt if owner == item.name and name in theta]
    functions = NeuronFunctions(neuron, list(inputs), [*theta, "i", "N"], own)
    return Group(
        item.name, len(item), neuron, functions, neuron.system.states, tuple(theta), tuple(own), list(inputs.items()),
        terms, dimensions,
    )  # fmt: skip


def _parameter(item, name):
    """Values of a parameter; of a linked one those that its own neurons read."""
    variable = item.variables[name]
    linked = name in item.equations and "linked" in item.equations[name].flags
    return np.asarray(getattr(item, name)[:], float) if linked and not variable.scalar else variable.get_value()


def _flat(value) -> np.ndarray:
    return np.array(np.atleast_1d(value), float)


def _generator(item, values, dimensions) -> np.ndarray:
    if float(item.variables["period"].get_value().item()) > 0:
        raise NetworkError(f"'{item.name}' repeats its spikes with a period; give the spikes of the whole run instead.")
    values[item.name, TIMES] = np.array(item.variables["spike_time"].get_value(), float)
    dimensions[item.name, TIMES] = item.variables["spike_time"].dim
    return np.array(item.variables["neuron_index"].get_value(), int)


def _pathways(item, groups, generators, wrt, namespace, values, dimensions) -> list[Pathway]:
    source, first, _ = whole_group(item.source)
    target, first_target, _ = whole_group(item.target)
    for end, name in ((source, "source"), (target, "target")):
        if end.name not in groups and (name == "target" or end.name not in generators):
            raise NetworkError(f"'{item.name}': its {name} '{end.name}' is not in the network.")
    if int(item.variables["N"].get_value().item()) == 0:
        raise NetworkError(f"'{item.name}' has no synapses; call connect() first.")
    group, found = groups[target.name], []
    wanted = [n for n in group.wrt]
    for text, brian in zip(pathways_of(item, group.neuron, namespace), item._pathways, strict=True):
        active = JumpFunctions(text, group.neuron, group.functions, wanted, refractory=False)
        held = JumpFunctions(text, group.neuron, group.functions, wanted, refractory=True)
        for symbol_name, variable in text.parameters.items():
            values[item.name, variable] = _synaptic(item, variable)
            dimensions[item.name, variable] = text.dimensions[symbol_name]
        for symbol_name, variable in text.states.items():
            values[item.name, variable] = np.broadcast_to(_synaptic(item, variable), (len(item),)).copy()
            dimensions[item.name, variable] = text.dimensions[symbol_name]
        for name, value in text.constants.items():
            values[item.name, name] = _flat(value)
            dimensions[item.name, name] = text.dimensions[name]
        values[brian.name, DELAY] = _flat(brian.variables["delay"].get_value())
        dimensions[brian.name, DELAY] = brian.variables["delay"].dim
        i, j = np.array(item.i[:], int) + first, np.array(item.j[:], int) + first_target
        origin, i = (target.name, j) if text.post else (source.name, i)
        if text.post:
            _check_order(brian.name, text, group.neuron, values[brian.name, DELAY])
        leaving = {int(n): np.flatnonzero(i == n) for n in np.unique(i)}
        found.append(Pathway(brian.name, item.name, origin, target.name, text, active, held, i, j, leaving))
    return found


def _check_order(name, text, neuron, delays) -> None:
    """At one and the same time Brian 2 runs `on_post` before the reset, and events here come after it."""
    reset = neuron.system.reset
    changed = sorted(v for v in reset if str(reset[v]) != v and v in text.touched())
    if changed and not (delays > 0).all():
        raise NetworkError(
            f"'{name}' reads or changes '{changed[0]}' at the very time at which the reset changes it; give the "
            "pathway a delay, or move the statement into the reset."
        )


def _synaptic(item, variable) -> np.ndarray:
    if variable.endswith("_pre"):
        every = _flat(item.source.variables[variable.removesuffix("_pre")].get_value())
        return every if every.size == 1 else every[np.array(item.i[:], int)]
    if variable in ("i", "j"):
        return _flat(getattr(item, variable)[:])
    return _flat(item.variables[variable].get_value())


def input_values(inputs, t: float, index: int) -> list[float]:
    """Values of the `TimedArray` inputs at a time inside one of their steps."""
    found = []
    for _, (array, by_neuron) in inputs:
        step = min(max(int(np.floor(t / float(array.dt))), 0), len(array.values) - 1)
        found.append(float(array.values[step, index] if by_neuron else array.values[step]))
    return found


def held_values(inputs, times: np.ndarray, n: int | None) -> np.ndarray:
    """Values of the `TimedArray` inputs at many times, (times, inputs) or, for `n` neurons, (times, inputs, n)."""
    held = np.zeros((len(times), len(inputs)) if n is None else (len(times), len(inputs), n))
    for k, (_, (array, by_neuron)) in enumerate(inputs):
        steps = np.clip(np.floor(times / float(array.dt)).astype(int), 0, len(array.values) - 1)
        found = np.asarray(array.values, float)[steps]
        held[:, k] = found if n is None else (found[:, :n] if by_neuron else found[:, None])
    return held


def breaks(inputs, duration: float) -> list[float]:
    """Times within the run at which an input takes its next value."""
    times: set[float] = set()
    for _, (array, _) in inputs:
        if not isinstance(array, TimedArray):
            raise NetworkError(f"'{array}' is read as an input but is not a TimedArray.")
        times |= {k * float(array.dt) for k in range(1, len(array.values)) if k * float(array.dt) < duration}
    return sorted(times)
