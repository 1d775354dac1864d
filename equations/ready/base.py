"""What every ready neuron is: equations, the values of their constants, and how a spike reaches it."""

from __future__ import annotations

import numpy as np
from brian2 import Equations
from brian2.units.fundamentalunits import get_dimensions, get_unit_for_display

from ..errors import ModelError
from ..neurons import NeuronModel

# Synaptic input: the equations that it adds, the current that it makes, its jump, the unit of a weight.
SYNAPSES = {
    "current": ("dI_syn/dt = -I_syn/tau_s : amp\ntau_s : second (constant)", "I_syn", "I_syn_post += w", "amp"),
    "conductance": (
        "dg_syn/dt = -g_syn/tau_s : siemens\ntau_s : second (constant)\nE_syn : volt (constant)",
        "g_syn*(E_syn - v)",
        "g_syn_post += w",
        "siemens",
    ),
    "delta": ("", "0*amp", "v_post += w", "volt"),
}


class ReadyModel(NeuronModel):
    """A neuron whose numbers are constants of the group, with the values they start from.

    Parameters
    ----------
    model : str or Equations
    constants : dict of str to Quantity
        A value for every constant of the equations.
    initial : dict of str to str
        Start values of the states that do not start at zero, as text in the constants.
    on_pre : str
        What a presynaptic spike does.
    weight_unit : str
        Unit of the weight ``w``, as Brian 2 text.
    **arguments
        As in `NeuronModel`.

    Examples
    --------
    ::

        neuron = adex(tau_w=100 * ms)
        group = NeuronGroup(5, neuron, **neuron.arguments)
        neuron.assign(group)
        synapses = Synapses(source, group, **neuron.synapse)
    """

    def __init__(self, model, *, constants, initial=(), on_pre, weight_unit, **arguments):
        super().__init__(model, **arguments)
        self.constants, self.initial = dict(constants), dict(initial)
        self.on_pre, self.weight_unit = on_pre, weight_unit

    @property
    def synapse(self) -> dict:
        """Keyword arguments for `Synapses` onto a group of this model; its weight is ``w``."""
        return {"model": f"w : {self.weight_unit}", "on_pre": self.on_pre}

    def assign(self, group) -> None:
        """Write the constants and the start values into a `NeuronGroup` made of this model."""
        for name, value in self.constants.items():
            setattr(group, name, value)
        for state, text in self.initial.items():
            setattr(group, state, text)


def ready(name, flow, defaults, given, *, synapse, initial=("v = E_L",), **arguments) -> ReadyModel:
    """Put equations, synaptic input and constants together.

    Parameters
    ----------
    name : str
    flow : str
        Equations with ``{syn}`` where the synaptic current stands.
    defaults, given : dict
        Values of the constants; `given` replaces defaults.
    synapse : {'current', 'conductance', 'delta'}
    initial : sequence of str
        Statements ``state = expression``.
    **arguments
        As in `NeuronModel`.

    Raises
    ------
    ModelError
        If a constant or synapse is unknown, or a value has the wrong unit or is not finite.
    """
    if synapse not in SYNAPSES:
        raise ModelError(f"'{name}': synapse='{synapse}' is unknown; use one of {', '.join(SYNAPSES)}.")
    lines, current, on_pre, weight_unit = SYNAPSES[synapse]
    equations = Equations(flow.replace("{syn}", current) + "\n" + lines)
    needed = [key for key in defaults if key in equations]
    unknown = sorted(set(given) - set(needed))
    if unknown:
        raise ModelError(f"'{name}' has no constant '{unknown[0]}'; it has {', '.join(needed)}.")
    constants = {key: given.get(key, defaults[key]) for key in needed}
    for key, value in constants.items():
        wanted = equations.dimensions[key]
        if get_dimensions(value) != wanted:
            unit = get_unit_for_display(wanted)
            raise ModelError(f"'{name}': {key} = {value!r} must be in units of {unit}.")
        if not np.isfinite(np.asarray(value, float)).all():
            raise ModelError(f"'{name}': {key} = {value!r} is not finite.")
    return ReadyModel(
        equations, constants=constants, initial=dict(text.split(" = ", 1) for text in initial), on_pre=on_pre,
        weight_unit=weight_unit, name=name, **arguments,
    )  # fmt: skip
