"""What can be fitted: a neuron, how its input enters, and the bounds of its parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from brian2 import DEFAULT_UNITS, Equations, NeuronGroup, Quantity, SpikeGeneratorGroup, Synapses, TimedArray, second
from brian2.core.functions import DEFAULT_FUNCTIONS
from brian2.units.fundamentalunits import get_unit

from ....equations import NeuronModel
from ...errors import TrainingError
from .parameters import Parameter, parameter

STIMULUS = "stimulus"
DELAY = "delay"
SPREAD = "spread"  # of the threshold, in the likelihood


@dataclass(frozen=True)
class FittingModel:
    """A neuron to be fitted.

    Attributes
    ----------
    name : str
    model : NeuronModel
        With threshold ``left > right`` and reset.
    constants : dict of str to Quantity
        Of everything that is a constant of the equations; the start of a fit.
    parameters : tuple of Parameter
        Those constants that are fitted; ``delay`` is the time by which the model's spikes are late, which is the same
        as a delay of its input.
    initial : dict of str to str
        Start values of the states, as text.
    input : str
        The variable that carries the input: a parameter of the equations that becomes ``drive``.
    drive : str
        Text of the input, in ``stimulus(t)``.
    threshold : str, optional
        The constant that moves the threshold; where it is given, the likelihood comes first.
    level : str, optional
        The constant by which the model without noise is moved to where it fires best; by default `threshold`.
    before : callable, optional
        What is fitted first where this model has no likelihood: a function that returns the other model and one that
        turns its values into values of this.
    namespace : dict
    """

    name: str
    model: NeuronModel
    constants: dict
    parameters: tuple[Parameter, ...]
    initial: dict = field(default_factory=dict)
    input: str = "I_ext"
    drive: str = f"{STIMULUS}(t)"
    threshold: str | None = "V_th"
    level: str | None = None
    before: Callable | None = None
    namespace: dict = field(default_factory=dict)

    def __post_init__(self):
        names = [p.name for p in self.parameters]
        for name in names:
            if name != DELAY and name not in self.constants:
                raise TrainingError(f"'{self.name}' has no constant '{name}'; it has {', '.join(self.constants)}.")
        if self.level is None:
            object.__setattr__(self, "level", self.threshold)
        for name in self.constants:
            if name not in self.model:
                raise TrainingError(
                    f"'{self.name}' has no constant '{name}'; its equations name {', '.join(self.model)}."
                )
        for p in self.parameters:
            dim = second.dim if p.name == DELAY else self.model[p.name].dim
            if p.dim != dim:
                raise TrainingError(f"'{self.name}': bounds of '{p.name}' are in {p.unit}; it is in {unit_text(dim)}.")
        if self.input not in self.model:
            raise TrainingError(f"'{self.name}' has no input {self.input!r:.60}; it has {', '.join(self.model)}.")
        if not self.model.threshold or self.model.reset is None:
            raise TrainingError(f"'{self.name}' needs a threshold and a reset: give a NeuronModel that has them.")
        if self.threshold is not None and self.margin is None:
            raise TrainingError(f"'{self.name}': its threshold '{self.model.threshold}' must read 'left > right'.")

    @property
    def start(self) -> dict[str, float]:
        """Values of all constants, SI, and of the delay, at the beginning."""
        found = {name: float(value) for name, value in self.constants.items()}
        return {DELAY: 0.0} | found | {p.name: p.start for p in self.parameters}

    @property
    def margin(self) -> str | None:
        """How far the neuron is above its threshold, as text."""
        sides = self.model.threshold.split(">")
        return f"(({sides[0]}) - ({sides[1]}))" if len(sides) == 2 and "=" not in sides[1] else None

    def equations(self, more: str = "", delayed: bool = False) -> Equations:
        """Equations in which the input is the stimulus, or what it was a ``delay`` ago."""
        unit = unit_text(self.model[self.input].dim)
        kept = Equations([e for name, e in self.model.items() if name != self.input])
        drive = self.drive
        if delayed:
            drive, more = (
                drive.replace(f"{STIMULUS}(t)", f"{STIMULUS}(t - {DELAY})"),
                f"{more}\n{DELAY} : second (constant)",
            )
        return kept + Equations(f"{self.input} = {drive} : {unit}\n{more}")

    def group(self, stimulus: TimedArray, values: dict | None = None, delayed=False, **arguments):
        """One neuron of this model with values of its constants (SI; by default the start), and its namespace.

        The spikes of the model are late by the delay; `delayed` makes its input late instead.
        """
        own = {"threshold": self.model.threshold, "reset": self.model.reset, "more": ""} | arguments
        more = own.pop("more")
        if self.model.refractory not in (False, None):
            own.setdefault("refractory", self.model.refractory)
        method = self.model.method or "exponential_euler"
        namespace = {**self.namespace, STIMULUS: stimulus}
        group = NeuronGroup(1, self.equations(more, delayed), method=method, namespace=namespace, **own)
        values = self.start if values is None else self.start | values
        if delayed:
            group.delay = values[DELAY] * second
        for name, constant in self.constants.items():
            setattr(group, name, Quantity(values[name], dim=getattr(constant, "dim", None)))
        for state, text in self.initial.items():
            setattr(group, state, text)
        return group, {**DEFAULT_UNITS, **DEFAULT_FUNCTIONS, **namespace}


def forced(model: FittingModel, stimulus: TimedArray, on_grid: str, on_spike: str, more: str, namespace=None):
    """Brian 2 objects in which recorded spikes take the place of the model's own.

    Between recorded spikes the neuron is a smooth system. A cost is collected in its state ``cost``: at the spikes of
    the generator ``grid``, and at the recorded spikes just before the neuron is reset.

    Parameters
    ----------
    model : FittingModel
    stimulus : TimedArray
    on_grid, on_spike : str
        Statements that add to ``cost``.
    more : str
        Equations that these need.
    namespace : dict, optional
        Names that these need.

    Returns
    -------
    objects : list
        ``forced`` (the neuron), ``recorded``, ``grid`` (generators) and their synapses.
    namespace : dict
    """
    reset = f"force = 0; {model.model.reset}"
    more = f"force : 1\ncost : 1\n{more}"
    group, names = model.group(stimulus, threshold="force > 0.5", reset=reset, more=more, name="forced*")
    recorded = SpikeGeneratorGroup(1, [0], [0] * second, name="recorded*")
    grid = SpikeGeneratorGroup(1, [0], [0] * second, name="grid*")
    at_spike = "; ".join(filter(None, (on_spike, "force = 1")))
    force = Synapses(recorded, group, on_pre=at_spike, namespace=namespace, name="forcing*")
    watch = Synapses(grid, group, on_pre=on_grid, namespace=namespace, name="watching*")
    for synapses in (force, watch):
        synapses.connect()
    return [group, recorded, grid, force, watch], names | (namespace or {})


def unit_text(dim) -> str:
    """Unit of a dimension as equations write it."""
    return "1" if dim.is_dimensionless else repr(get_unit(dim))


def fitting_model(name, model, bounds, constants=None, threshold=None, **more) -> FittingModel:
    """Say what of a neuron of one's own is fitted.

    Parameters
    ----------
    name : str
    model : NeuronModel
        With threshold and reset.
    bounds : dict
        Name of a constant to its start, lowest and highest value, with units; ``delay`` may be among them.
    constants : dict of str to Quantity, optional
        Constants that stay.
    threshold : str, optional
        The constant that moves the threshold; where it is given, the likelihood comes first.
    **more
        ``initial`` (text of the states' start values), ``input`` (the parameter that the recording drives,
        ``'I_ext'``), ``drive`` (its text in ``stimulus(t)``), ``namespace``; as in `FittingModel`.

    Returns
    -------
    FittingModel

    Raises
    ------
    TrainingError
        If a name is unknown, or bounds are no bounds.
    """
    if not isinstance(model, NeuronModel):
        raise TrainingError(f"'{name}': model is {type(model).__name__}; give a NeuronModel with threshold and reset.")
    for key, triple in bounds.items():
        if not isinstance(triple, tuple | list) or len(triple) != 3:
            raise TrainingError(f"'{name}': bounds['{key}'] = {triple!r}; give (start, lowest, highest).")
    parameters = tuple(parameter(key, *triple, log=False if key == DELAY else None) for key, triple in bounds.items())
    values = {
        **getattr(model, "constants", {}), **(constants or {}), **{k: v[0] for k, v in bounds.items() if k != DELAY}
    }  # fmt: skip
    more.setdefault("initial", getattr(model, "initial", {}))
    if threshold is not None and threshold not in bounds:
        raise TrainingError(f"'{name}': threshold = {threshold!r:.60} must have bounds.")
    return FittingModel(name, model, values, parameters, threshold=threshold, **more)
