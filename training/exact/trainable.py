"""A classifier of the user's own Brian 2 objects, trained by its exact gradient."""

from __future__ import annotations

import re
import warnings

import numpy as np
from brian2 import NeuronGroup, Quantity, SpikeGeneratorGroup, Synapses, get_unit, ms, second
from brian2.groups.group import get_local_namespace
from brian2.synapses.synapses import SynapticPathway
from brian2.units.fundamentalunits import get_dimensions

from ...models.events import EventsLeftOut
from ...models.gradients import Exact, Gradient, clip_by_norm
from ...models.hybrid.losses import Loss
from ...models.hybrid.network import DELAY
from ...models.parameters import ParameterInfo
from ...models.protocols import Learner
from ...models.storage import StoredNetwork, load_network
from ..errors import TrainingError
from .classification import FirstSpike, HighestPotential
from .gradient import HybridProblem, as_sum
from .losses import RunResult
from .samples import Samples, first_spikes, sample_of

DELAY_SIZE = 0.25  # of the duration
SMALLEST = 1e-2  # of the smallest initial value: what a time constant can shrink to


class TrainableNetwork(Learner, StoredNetwork):
    """Brian 2 objects that a sample drives through one generator and that answer by one group.

    If the answering group has a threshold, the output that spikes first is the answer; otherwise the one whose
    potential becomes largest.

    Parameters
    ----------
    network : Network or list
        `NeuronGroup`, `Synapses` and `SpikeGeneratorGroup` objects; their values are those at t = 0 of every sample.
    wrt : list of (object, str)
        What is trained, as in `value_and_grad`.
    duration : Quantity, second
        Length of the run of every sample.
    inputs : SpikeGeneratorGroup
        Its spikes are those of the sample; every other generator keeps its own.
    outputs : NeuronGroup
        One neuron per class.
    loss : Loss or RunLoss or callable, optional
        As in `value_and_grad`, added to the classification loss of every sample.
    readout : str
        Expression of `outputs` whose maximum over time is read, where it has no threshold.
    bounds : dict, optional
        Range of what is trained, ``{(object, variable): (lower, upper)}``. Delays and refractory periods are never
        negative, parameters that are times never below a hundredth of their smallest initial value.
    sizes : dict, optional
        Quantity by which a parameter moves per unit of learning rate, ``{(object, variable): size}``; by default the
        root mean square of its initial values, and a quarter of the duration for delays.
    namespace : dict, optional
        Where names are looked up; by default the caller's variables.
    threads : int, optional
        Of the compiled engine.

    Attributes
    ----------
    parameters : dict of str to array
        ``'object.variable'``, flat and in SI units, as Brian 2 keeps it.

    Raises
    ------
    TrainingError
        If objects, names or units do not fit each other.
    """

    kind = "exact"
    gradients_accepted = (Exact,)
    dtype = "float64"
    made_again = None  # by what a copy is made: a function of origin, threads and parameters

    def __init__(
        self, network, wrt, duration, inputs, outputs, *, loss=None, readout="v", bounds=None, sizes=None,
        namespace=None, threads=None, origin=None, level=0,
    ):  # fmt: skip
        namespace = get_local_namespace(level + 1) if namespace is None else namespace
        if not isinstance(inputs, SpikeGeneratorGroup):
            raise TrainingError(f"inputs = {_named(inputs)}; give the SpikeGeneratorGroup that a sample drives.")
        if not isinstance(outputs, NeuronGroup):
            raise TrainingError(f"outputs = {_named(outputs)}; give the NeuronGroup that answers.")
        if not wrt:
            raise TrainingError("wrt is empty: name at least one thing to train, such as (synapses, 'w').")
        self.inputs, self.outputs, self.origin, self.threads = inputs, outputs, origin, threads
        self.spiking, self._told = bool(outputs.thresholder), False
        self.objects, self.namespace = network, namespace
        self.readout = None if self.spiking else (outputs, readout)
        self.goals_accepted = (FirstSpike,) if self.spiking else (HighestPotential,)
        self._own, self._readout = as_sum(Loss(()) if loss is None else loss), readout
        # The goal's numbers may change from batch to batch; what it reads of a run does not.
        whole = self._own + self.goals_accepted[0]().loss(outputs, readout)
        self.problem = HybridProblem(network, whole, wrt, duration, namespace)
        model = self.problem.network
        for item in (inputs, outputs):
            if item.name not in {**model.groups, **model.generators}:
                raise TrainingError(f"'{item.name}' is not in the network.")
        names = _stable([f"{item.name}.{variable}" for item, variable in self.problem.wrt])
        self._keys = dict(zip(names, self.problem.keys, strict=True))
        self._items = dict(zip(self._keys, self.problem.wrt, strict=True))
        self._check_trained()
        self.parameters = {name: model.values[key].copy() for name, key in self._keys.items()}
        given = [_by_key(table, self.problem) for table in (bounds or {}, sizes or {})]
        self.info = {name: self._information(name, *given) for name in self._keys}
        self.n_spiking = sum(g.n for g in model.groups.values() if g.functions.spikes)
        self._wakers = list(self._incoming())

    def __reduce_ex__(self, protocol):
        """A copy is made of where the objects come from: Brian 2 cannot copy objects themselves."""
        if self.made_again is None:
            raise TrainingError(
                "A network of Brian 2 objects cannot be copied or sent to another process. Let a function of a file "
                "make it, open_origin({'model': 'MODEL.py:OBJECT'}), or make the objects again and restore() a file."
            )
        return self.made_again, (self.origin, self.threads, dict(self.parameters))

    def _check_trained(self):
        for name, (item, _) in self._items.items():
            if item is self.inputs:
                raise TrainingError(f"'{name}' is given by every sample; take it out of wrt.")

    def _information(self, name, bounds, sizes) -> ParameterInfo:
        key, (item, variable) = self._keys[name], self._items[name]
        values, dim = self.problem.network.values[key], self.problem.network.dimensions[key]
        is_time, synaptic = dim is second.dim, isinstance(item, Synapses | SynapticPathway)
        lower, upper = -np.inf, np.inf
        if variable == DELAY or variable == "refractory":
            lower = 0.0
        elif is_time and not synaptic:
            lower = SMALLEST * float(values[values > 0].min(initial=np.inf))
            lower = lower if np.isfinite(lower) else 0.0
        size = float(np.sqrt(np.mean(values**2)))
        if variable == DELAY:
            size = DELAY_SIZE * self.problem.duration
        size = size or (float(1 * ms) if is_time else 1.0)
        if key in bounds:
            lower, upper = (_in_unit(b, dim, f"bounds of '{name}'") for b in bounds[key])
        if key in sizes:
            size = _in_unit(sizes[key], dim, f"size of '{name}'")
            if not size > 0:
                raise TrainingError(f"size of '{name}' = {size}; it must be positive.")
        if not (lower <= values.min() and values.max() <= upper):
            raise TrainingError(
                f"'{name}' starts at {values.min():g} to {values.max():g}, outside its bounds {lower:g} to {upper:g}."
            )
        return ParameterInfo(get_unit(dim), lower, upper, size=size, decays=synaptic and variable != DELAY)

    def _incoming(self):
        """Trained weights by which neurons that spike, or answer, are excited: parameter, group, target neurons."""
        for name, (_, variable) in self._items.items():
            for pathway in self.problem.network.pathways:
                group = self.problem.network.groups[pathway.target]
                weights = pathway.synapses == self._keys[name][0] and variable in pathway.text.parameters.values()
                answers = group.name == self.outputs.name and (group.name, self._readout) in self.problem.network.values
                if weights and (group.functions.spikes or answers) and self.parameters[name].shape == pathway.j.shape:
                    yield name, group, pathway.j

    # -- running -----------------------------------------------------------------------------------------------

    @property
    def sizes(self) -> tuple[int, int]:
        """Input units and classes."""
        return len(self.inputs), len(self.outputs)

    @property
    def duration(self) -> Quantity:
        """Length of the run of a sample."""
        return Quantity(self.problem.duration, dim=second.dim)

    def engine(self):
        """Compiled engine, made when it is first needed."""
        return self.problem.compiled

    def values(self) -> dict:
        """Trained values by (object name, variable), SI."""
        return {key: self.parameters[name] for name, key in self._keys.items()}

    def forward(self, events: Samples):
        """Outcome of the compiled engine.

        Parameters
        ----------
        events : Samples
            Of at most as many units as `inputs` has neurons.
        """
        if events.n_units > len(self.inputs):
            raise TrainingError(
                f"The samples have {events.n_units} units, '{self.inputs.name}' has {len(self.inputs)} neurons."
            )
        late = int((events.spikes.times > self.problem.duration).sum())
        if late and not self._told:
            self._told = True  # once, not with every batch
            text = f"{late} of {len(events.spikes.times)} events lie after the end of their sample at {self.duration}"
            warnings.warn(f"{text} and are left out.", EventsLeftOut, stacklevel=2)
        return self.engine().run(values=self.values(), inputs={self.inputs.name: events.spikes}, threads=self.threads)

    def answers(self, outcome) -> np.ndarray:
        """What decides, (n_samples, n_outputs): minus the first spike time, or the largest potential; the most wins."""
        if self.spiking:
            return -first_spikes(outcome.spikes[self.outputs.name], len(self.outputs))[0]
        return outcome.maxima[self.outputs.name]

    def predict(self, events: Samples) -> np.ndarray:
        """Class of every sample; -1 where no output spikes."""
        return decided(self.answers(self.forward(events)))

    def score(self, events: Samples, labels) -> float:
        """Fraction of samples whose class is predicted."""
        return float((self.predict(events) == np.asarray(labels)).mean())

    # -- learning ----------------------------------------------------------------------------------------------

    def gradients(self, events, labels=None, *, goal=None, rule=None):
        """One exact gradient of the batch."""
        yield self.gradient(events, labels, goal=goal, rule=rule)

    def gradient(self, events: Samples, labels, *, goal=None, rule=None) -> Gradient:
        """Mean loss of a batch and its exact gradient.

        Parameters
        ----------
        events : Samples
        labels : (n_samples,) array of int
        goal : FirstSpike or HighestPotential, optional
        rule : Exact, optional
        """
        goal, rule = goal or self.goals_accepted[0](), rule or Exact()
        labels = np.asarray(labels)
        outcome = self.forward(events)
        run, n = RunResult.of_outcome(outcome), len(labels)
        partials = self._own.evaluate(run) + goal.loss(self.outputs, self._readout).evaluate(run, labels)
        seeds = partials.scaled(1 / n)
        found = outcome.backward(
            seeds.spike_times, seeds.final, seeds.maxima, np.full(n, 1 / n), wanted=set(self._keys.values())
        )
        gradients = {name: found[key] for name, key in self._keys.items()}
        if goal.wake:
            self._wake(gradients, outcome, labels, goal)
        norm = clip_by_norm(gradients, rule.clip, self.info, self.parameters) if rule.clip else None
        spikes = sum(len(outcome.spikes[g.name].times) for g in self.problem.network.groups.values())
        return Gradient(float(np.mean(partials.losses)), gradients, outcome, self.answers(outcome), spikes, norm)

    def _wake(self, gradients, outcome, labels, goal):
        """Add what pulls at the weights of neurons that do too little; an output counts where it is the label."""
        for name, group, j in self._wakers:
            if group.name == self.outputs.name:
                asked = np.bincount(labels, minlength=group.n)
                counts = np.bincount(self._heard(outcome, labels), minlength=group.n)
                mean = np.where(asked > 0, counts / np.maximum(asked, 1), goal.rate)
            else:
                mean = np.bincount(outcome.spikes[group.name].neurons, minlength=group.n) / len(labels)
            pull = goal.wake * np.maximum(0.0, goal.rate - mean)
            if pull.any():
                gradients[name] = gradients[name] - pull[j] / self.info[name].size

    def _heard(self, outcome, labels) -> np.ndarray:
        """Outputs that did something where they are the label, once for every spike or sample.

        One without spikes has no gradient in a sample in which its potential never rises above its start.
        """
        name = self.outputs.name
        if self.spiking:
            spikes = outcome.spikes[name]
            return spikes.neurons[labels[sample_of(spikes)] == spikes.neurons]
        rises = outcome.maxima[name] > self.problem.network.values[name, self._readout]
        return labels[rises[np.arange(len(labels)), labels]]

    def hits(self, outputs: np.ndarray, labels: np.ndarray) -> tuple[int, int]:
        """Correct answers, and answers asked for."""
        return int((decided(outputs) == labels).sum()), len(labels)

    # -- the user's own objects --------------------------------------------------------------------------------

    def apply(self) -> None:
        """Write the trained values into the user's own objects, which can then be run, exported, stored."""
        for name, (item, variable) in self._items.items():
            key = self._keys[name]
            values, dim = self.parameters[name], self.problem.network.dimensions[key]
            value = Quantity(values if values.size > 1 else values[0], dim=dim)
            if variable == DELAY:
                item.delay = value
            elif variable == "refractory":
                item._refractory = value
            elif variable in item.variables and not (isinstance(item, NeuronGroup) and variable in item.namespace):
                getattr(item, variable)[:] = value
            else:  # a constant of the namespace
                item.namespace[variable] = value

    def config(self) -> dict:
        """Where the objects come from, and the names of what is trained."""
        return {"origin": self.origin, "duration": self.problem.duration, "trained": list(self._keys)}

    def restore(self, path) -> None:
        """Take trained values from a file that `save` wrote for the same objects.

        Raises
        ------
        NetworkError
            If the file is damaged, or what is trained is not the same.
        """
        _, parameters = load_network(path, self.kind)
        self.set_parameters(parameters, source=str(path))

    @classmethod
    def load(cls, path, **overrides):
        """Refused: a file holds values, not the user's objects."""
        raise TrainingError(
            f"{path} holds trained values: make your objects and their TrainableNetwork, then restore()."
        )


def decided(answers: np.ndarray) -> np.ndarray:
    """Output with the largest answer; -1 where all are minus infinity."""
    return np.where(np.isneginf(answers).all(axis=1), -1, answers.argmax(axis=1))


def _named(item) -> str:
    return getattr(item, "name", repr(item))


def _stable(names) -> list[str]:
    """Names without the numbers that Brian 2 adds to those of a second network, where they stay apart."""
    plain = [re.sub(r"_\d+(?=\.)", "", name) for name in names]
    return plain if len(set(plain)) == len(plain) else list(names)


def _by_key(table, problem) -> dict:
    found = {}
    for (item, variable), value in table.items():
        matches = [k for k, (o, v) in zip(problem.keys, problem.wrt, strict=True) if o is item and v == variable]
        if not matches:
            raise TrainingError(f"'{_named(item)}.{variable}' has bounds or a size but is not in wrt.")
        found[matches[0]] = value
    return found


def _in_unit(value, dim, what) -> float:
    if get_dimensions(value) is not dim and np.isfinite(float(value)):
        raise TrainingError(f"{what} = {value!r} must be in units of {get_unit(dim)}.")
    return float(value)
