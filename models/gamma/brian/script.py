"""A trained SpikingGamma network as a plain Brian 2 script: no brian2grad, only its equations and a weights file."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from brian2 import Equations
from brian2.equations.equations import DIFFERENTIAL_EQUATION, PARAMETER, SingleEquation
from brian2.stateupdaters.base import StateUpdateMethod

from ...files import write_file
from .objects import BrianGamma

_SCRIPT = '''"""SpikingGamma network {sizes} in plain Brian 2, weights in {weights}: python {script} EVENTS.npz SAMPLE

Within a step all neurons decay; then, layer after layer: threshold, delivery to the next layer, reset. Brian 2's own
schedule would deliver a layer's spikes one step later, so every object is told its place.
"""
import sys
from pathlib import Path

import numpy as np
from brian2 import *

prefs.codegen.target = "numpy"  # for one short run; leave it out, or set_device("cpp_standalone"), for long ones
data = np.load(Path(__file__).with_name("{weights}"))
defaultclock.dt = {dt!r}*second
{models}

def run_sample(archive, sample, n_steps={n_steps}):
    """Spike monitors of the hidden layers, and the readout's recording (outputs, steps)."""
    part = slice(*archive["offsets"][sample:sample + 2])
    steps = (archive["times"][part]*float(archive["time_unit_us"])/{dt_us!r} + 1e-9).astype(int)
    events = np.zeros((n_steps or steps.max() + 1, {n_inputs}))
    kept = steps < len(events)
    np.add.at(events, (steps[kept], archive["units"][part][kept]), 1)
    counts = TimedArray(events, dt=defaultclock.dt)
    layers = [NeuronGroup({n_inputs}, "jump = counts(t, i) : 1", threshold="jump != 0", reset="")]
    for size, (equations, step, options), theta in {groups}:
        layers.append(NeuronGroup(size, equations.replace("; ", "\\n").replace("THETA", theta), **options))
        if step:
            layers[-1].run_regularly(step.replace("; ", "\\n"), when="start")
    spikes, synapses, order = [SpikeMonitor(layer) for layer in layers[:-1]], [], []  # order: of things within a step
    for k, layer in enumerate(layers[:-1]):
        order += [(10*k + 1, layer.thresholder["spike"]), (10*k + 2, spikes[k]), (10*k + 4, layer.resetter["spike"])]
    for k, (source, target, on_pre) in enumerate({connections}):
        synapses.append(Synapses(layers[source], layers[target], {synapses!r}, on_pre=on_pre))
        synapses[-1].connect(i=data[f"synapses{{k}}_i"], j=data[f"synapses{{k}}_j"])
        order.append((10*source + (0 if source == target else 3), synapses[-1].pre))
    named = {{f"synapses{{k}}": s for k, s in enumerate(synapses)}} | {{f"layer{{k}}": l for k, l in enumerate(layers)}}
    for name, variable in (key.split("_") for key in data if not key.endswith(("_i", "_j"))):
        setattr(named[name], variable, data[f"{{name}}_{{variable}}"])
    for place, thing in order:
        thing.when, thing.order = "thresholds", place
    readout = StateMonitor(layers[-1], "x", record=True, when="end")
    Network(layers, synapses, spikes, readout).run(len(events)*defaultclock.dt, namespace={{"counts": counts}})
    return spikes[1:], np.array(readout.x)


if __name__ == "__main__":
    spikes, readout = run_sample(np.load(sys.argv[1]), int(sys.argv[2]))
    scores = (np.exp(readout)/np.exp(readout).sum(axis=0))[:, {first}:].sum(axis=1)
    print("spikes of the hidden layers:", [int(monitor.num_spikes) for monitor in spikes])
    print("decision:", scores.argmax(), "with probability", scores.max()/scores.sum())
'''
_WIDTH = 110  # of a line of equations


def write_script(network, path, n_steps: int | None = None) -> list[Path]:
    """Write a network as a Brian 2 script, and its weights beside it.

    Parameters
    ----------
    network : SpikingGammaNetwork
    path : path
        Of the script; the weights go to the same name with ``.npz``.
    n_steps : int, optional
        Length of a sample; by default that of its events.

    Returns
    -------
    list of Path
        The files written.
    """
    path = Path(path)
    weights = path.with_suffix(".npz")
    brian = BrianGamma(network, 1)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **_arrays(brian))
    models, groups = _models(brian)
    last = brian.models[-1]
    text = _SCRIPT.format(
        sizes="-".join(map(str, network.sizes)), script=path.name, weights=weights.name, models=models, groups=groups,
        dt=float(network.dt), dt_us=round(float(network.dt) * 1e6, 6), n_steps=n_steps, n_inputs=network.sizes[0],
        synapses="\n".join(f"{name} : 1" for name in last.weight_names),
        connections=[
            (c.source, k, s.pre.code) for s, (k, c) in zip(brian.synapses, brian.connections, strict=True)
        ],
        first=network.first_step(),
    )  # fmt: skip
    write_file(weights, buffer.getvalue())
    write_file(path, text.encode())
    return [path, weights]


def _arrays(brian) -> dict[str, np.ndarray]:
    """Synapses of every connection with their weights, trained parameters of every layer."""
    found = {}
    for k, synapses in enumerate(brian.synapses):
        found |= {f"synapses{k}_{end}": np.array(getattr(synapses, end)[:], np.int32) for end in ("i", "j")}
        names = brian.models[-1].weight_names
        found |= {f"synapses{k}_{name}": np.array(getattr(synapses, name)[:]) for name in names}
    for k, (group, model) in enumerate(zip(brian.layers, brian.models, strict=True), 1):
        found |= {f"layer{k}_{name}": np.array(getattr(group, name)[:]) for name in model.trained_names}
    return found


def _models(brian) -> tuple[str, str]:
    """Text of every different kind of layer, and the list of the layers: size, kind and threshold."""
    names: dict[tuple, str] = {}
    lines, groups = [], []
    for group, model in zip(brian.layers, brian.models, strict=True):
        equations, method, code = _plain(model, group)
        theta = repr(model.theta)
        equations = re.sub(rf"\btheta = {re.escape(theta)}(?= )", "theta = THETA", equations)
        key = (equations, model.threshold, model.reset, method, code)
        if key not in names:
            names[key] = f"kind{len(names) + 1}"
            given = {"threshold": model.threshold, "reset": model.reset, "method": method}
            options = ", ".join(f"{name}={value!r}" for name, value in given.items() if value)
            lines += [f'{names[key]} = ("""{_wrapped(equations)}""",']
            lines += [f'    """{_wrapped(code)}""", dict({options}))']
        groups.append(f"({len(group)}, {names[key]}, {theta!r})")
    return "\n".join(lines), f"[{', '.join(groups)}]"


def _wrapped(text: str) -> str:
    """Statements, several to a line, parted by semicolons where a line goes on."""
    lines = [""]
    for statement in filter(None, map(str.strip, text.splitlines())):
        if lines[-1] and len(lines[-1]) + len(statement) < _WIDTH:
            lines[-1] += f"; {statement}"
        elif lines[-1]:
            lines.append(statement)
        else:
            lines[-1] = statement
    return "\n".join(lines)


def _plain(model, group) -> tuple[str, str | None, str]:
    """Equations, method and code of one step: a state updater of our own is written out as numbers."""
    if isinstance(model.method, str) or model.method is None:
        return str(model.model), model.method, ""
    code = StateUpdateMethod.apply_stateupdater(model.model, group.variables, model.method, {})
    plain = [
        SingleEquation(PARAMETER, e.varname, dimensions=e.dim) if e.type == DIFFERENTIAL_EQUATION else e
        for e in model.values()
    ]
    return str(Equations(plain)), None, code
