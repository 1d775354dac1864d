"""Layered networks of ready neurons, as the Brian 2 objects that a user would write."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from brian2 import NeuronGroup, Quantity, SpikeGeneratorGroup, Synapses, ms, pA
from brian2.units.fundamentalunits import get_unit

from ...equations.ready import READY, ReadyModel
from ..errors import TrainingError


@dataclass(frozen=True)
class Layers:
    """What a layered network is made of.

    Attributes
    ----------
    hidden : list of int
        Neurons per hidden layer.
    weight_pa : (float, float)
        Mean and standard deviation of the initial weights onto hidden neurons, picoampere.
    output_weight_pa : (float, float)
        ... onto the outputs.
    delay_ms : float
        Initial delays are drawn between 0 and this; 0: all are 0, and stay so unless they are trained.
    trained : list of str
        ``'w'``, ``'delay'``, and constants of the hidden neurons, such as ``'V_th'``, which then have a value a neuron.
    constants : dict of str to float
        Of the hidden neurons, SI, in place of those of the ready model.
    output : dict of str to float
        Constants of the outputs, SI.
    fires : bool
        Whether the outputs spike (and the first spike answers), or only integrate (and the largest potential does).
    """

    hidden: list[int] = field(default_factory=lambda: [120])
    weight_pa: tuple[float, float] = (400.0, 300.0)
    output_weight_pa: tuple[float, float] = (0.0, 200.0)
    delay_ms: float = 0.0
    trained: list[str] = field(default_factory=lambda: ["w"])
    constants: dict[str, float] = field(default_factory=dict)
    output: dict[str, float] = field(default_factory=dict)
    fires: bool = False


def ready_network(name: str, n_inputs: int, n_outputs: int, layers: Layers, duration: Quantity, seed: int) -> dict:
    """Objects of a layered network: a generator, layers of one ready neuron, and LIF outputs.

    Parameters
    ----------
    name : str
        Of a ready neuron.
    n_inputs, n_outputs : int
    layers : Layers
    duration : Quantity, second
    seed : int
        Of weights and delays.

    Returns
    -------
    dict
        ``network``, ``wrt``, ``duration``, ``inputs``, ``outputs``, ``namespace``: arguments of `TrainableNetwork`.
    """
    rng, trained = np.random.default_rng(seed), list(layers.trained)
    neuron, output = _model(name, layers.constants), _model("lif", layers.output)
    unknown = sorted(set(trained) - {"w", "delay", *neuron.constants})
    if unknown or not trained:
        raise TrainingError(f"trained = {trained}: choose from w, delay, {', '.join(neuron.constants)}.")
    inputs = SpikeGeneratorGroup(n_inputs, [], [] * ms, name="inputs*")
    objects, source, wrt = [inputs], inputs, []
    for number, size in enumerate([*layers.hidden, n_outputs], 1):
        last = number > len(layers.hidden)
        model = output if last else neuron
        # Without a threshold there is no refractoriness either: the outputs only integrate.
        spiking = dict(model.arguments) if not last or layers.fires else {"method": "exponential_euler"}
        if float(model.constants.get("t_ref", 1.0)) == 0:
            spiking.pop("refractory", None)  # no event, where there is no time
        label = "outputs" if last else f"hidden{'' if len(layers.hidden) == 1 else number}"
        group = NeuronGroup(size, model, name=f"{label}*", **spiking)
        model.assign(group)
        synapses = Synapses(source, group, name=f"to_{label}*", **model.synapse)
        shape = len(source), size
        synapses.connect(i=np.repeat(np.arange(shape[0]), size), j=np.tile(np.arange(size), shape[0]))
        mean, spread = layers.output_weight_pa if last else layers.weight_pa
        synapses.w = rng.normal(mean, spread, len(synapses)) * pA
        if layers.delay_ms or "delay" in trained:
            synapses.delay = rng.uniform(0, layers.delay_ms, len(synapses)) * ms
        wrt += [(synapses, variable) for variable in ("w", "delay") if variable in trained]
        wrt += [] if last else [(group, variable) for variable in trained if variable in neuron.constants]
        objects += [group, synapses]
        source = group
    return {
        "network": objects, "wrt": wrt, "duration": duration, "inputs": inputs, "outputs": source, "namespace": {},
    }  # fmt: skip


def _model(name: str, constants: dict) -> ReadyModel:
    if name not in READY:
        raise TrainingError(f"'{name}' is no ready neuron; there are {', '.join(READY)}, or give MODEL.py:OBJECT.")
    plain = READY[name]()
    dims = plain.dimensions
    unknown = sorted(set(constants) - set(plain.constants))
    if unknown:
        raise TrainingError(f"'{name}' has no constant '{unknown[0]}'; it has {', '.join(plain.constants)}.")
    return READY[name](**{key: float(value) * get_unit(dims[key]) for key, value in constants.items()})
