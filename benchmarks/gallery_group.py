"""One neuron group of a script under the gradient check: its adjoint derived, then compared with differences on its
first neuron, which an input spike lifts over the threshold."""

from __future__ import annotations

import contextlib
import signal

import numpy as np
from brian2 import NeuronGroup, Quantity, SpikeGeneratorGroup, Synapses, second
from brian2.core.variables import ArrayVariable, Subexpression
from brian2.units.fundamentalunits import get_unit

from brian2grad.equations import ModelError, derive_adjoint
from brian2grad.models.errors import NetworkError
from brian2grad.training import FunctionLoss, HybridProblem
from brian2grad.training.exact.check import check_direction, check_gradient

TOLERANCE = 1e-6
DURATIONS = (5e-3, 1e-3, 0.2e-3)  # a model that leaves the numbers is followed for a shorter time
SECONDS = 120  # of processor time, for one group
_FIXED = {"N", "i", "j", "t", "dt", "t_in_timesteps", "not_refractory", "lastspike"}


class TooSlow(Exception):
    """A group took longer than it may."""


@contextlib.contextmanager
def limited(seconds: int):
    def stop(*_):
        raise TooSlow(f"the check takes more than {seconds} s of processor time")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def check_group(group, namespace: dict) -> dict:
    """Outcome for one group as it stands when the script runs it."""
    row = {"group": group.name, "n": len(group), "states": sorted(group.equations.diff_eq_names)}
    if group.equations.is_stochastic:
        row["noise"] = True
    try:
        with limited(SECONDS):
            adjoint = derive_adjoint(group, namespace=namespace)
            row["parameters"] = list(adjoint.neuron.system.parameters)
            return row | compared(group, namespace, adjoint.neuron)
    except ModelError as error:
        return row | {"status": "refused", "reason": str(error)}
    except TooSlow as error:
        return row | {"status": "unchecked", "reason": str(error)}
    except Exception as error:
        return row | {"status": "crashed", "reason": f"{type(error).__name__}: {error}"}


def compared(group, namespace, neuron) -> dict:
    """Derivative along one direction of everything, for as long a run as the model allows; then of every number."""
    reasons, refusals = [], 0
    for duration in DURATIONS:
        try:
            problem = problem_of(group, namespace, neuron, duration)
            error = check_direction(problem)
            tape = problem.simulate()
        except NetworkError as error:  # the run itself has no gradient, such as a flow that leaves the numbers
            reasons.append(str(error))
            refusals += 1
            continue
        spikes = len(tape.spikes) - len(tape.input_spikes)
        result = {"duration_ms": duration * 1e3, "spikes": spikes, "compared": len(problem.keys), "error": error}
        if error <= TOLERANCE:
            return result | {"status": "passed"}
        entries = check_gradient(problem, limit=1).entries
        worst = max((e for e in entries if e.error is not None), key=lambda e: e.error, default=None)
        if worst is not None and worst.error <= TOLERANCE:
            return result | {"status": "passed", "error": worst.error}
        reasons.append(f"largest error {worst} in {duration * 1e3:g} ms")
    return {"status": "refused" if refusals == len(DURATIONS) else "failed", "reason": "; ".join(reasons)}


def problem_of(group, namespace, neuron, duration: float) -> HybridProblem:
    """The group's first neuron, fed by one spike if the group has a threshold, and a loss of all that it does."""
    small = copied(group)
    objects, wrt = [small], []
    if neuron.system.margin is not None:
        kick = kicked(small, neuron, namespace, duration)
        if kick is not None:
            inputs, synapses = kick
            objects += [inputs, synapses]
            wrt += [(synapses, "kick"), (synapses, "delay")]
    names = [*neuron.system.states, *neuron.system.parameters]
    wrt += [(small, name) for name in names if _is_number(small, name)]
    plain = HybridProblem(
        objects, FunctionLoss(lambda run: (0.0, {})), [], duration * second, namespace, engine="oracle"
    )
    tape = plain.simulate()
    largest = np.abs(tape.final(small.name)).max(axis=0)
    scales = np.where(largest > 0, largest, 1.0)
    known = set(plain.network.values)
    wrt = [(item, name) for item, name in wrt if item is not small or (small.name, name) in known]
    loss = FunctionLoss(lambda run: _everything(run, small.name, scales, duration))
    return HybridProblem(objects, loss, wrt, duration * second, namespace, engine="oracle")


def _everything(run, name, scales, duration):
    times, x = run.spikes[name].times, run.final[name] / scales
    weights = 1 + 0.3 * np.arange(x.shape[-1])
    value = np.sin(2 * times / duration).sum() + (weights * x**2).sum()
    return value, {
        "spike_times": {name: 2 / duration * np.cos(2 * times / duration)}, "final": {name: 2 * weights * x / scales},
    }  # fmt: skip


def _is_number(group, name: str) -> bool:
    variable = group.variables.get(name)
    return variable is None or np.issubdtype(variable.dtype, np.floating)


def copied(group) -> NeuronGroup:
    """The first neuron as a group of its own, text unchanged, with the values that it has now."""
    small = NeuronGroup(
        1, group.user_equations, threshold=group.events.get("spike"), reset=group.event_codes.get("spike"),
        refractory=group._refractory, namespace=dict(group.namespace) if group.namespace else None, method="euler",
        events={k: v for k, v in group.events.items() if k != "spike"},
    )  # fmt: skip
    for event, code in group.event_codes.items():
        if event != "spike":
            small.run_on_event(event, code)
    for name, variable in group.variables.items():
        own = (
            isinstance(variable, ArrayVariable) and not isinstance(variable, Subexpression) and name in small.variables
        )
        if own and name not in _FIXED and not variable.read_only:
            values = np.atleast_1d(variable.get_value())
            small.variables[name].set_value(values[: len(np.atleast_1d(small.variables[name].get_value()))])
    return small


def kicked(small, neuron, namespace, duration):
    """An input spike that lifts the variable of the threshold a tenth beyond it; ``None`` if none can."""
    silent = HybridProblem(
        [small], FunctionLoss(lambda run: (0.0, {})), [], duration * second, namespace, engine="oracle"
    )
    network = silent.network
    functions, cell = network.groups[small.name].functions, silent.simulate().cells[small.name][0]
    x = np.asarray(cell.flight.last)
    base = functions.margin(duration, 1, x, cell.held, cell.theta)[0]
    slopes = functions.margin_gradient(duration, 1, x, cell.held, cell.theta)[: len(x)]
    k = int(np.argmax(np.abs(slopes)))
    if slopes[k] == 0 or not np.isfinite(slopes[k]):
        return None
    state = neuron.system.states[k]
    dim = small.variables[state].dim
    inputs = SpikeGeneratorGroup(1, [0], [0.3 * duration] * second)
    unit = "1" if dim.is_dimensionless else repr(get_unit(dim))
    synapses = Synapses(inputs, small, f"kick : {unit}", on_pre=f"{state}_post += kick", delay=0.1 * duration * second)
    synapses.connect()
    synapses.kick = Quantity(1.1 * abs(base) / slopes[k], dim=dim)
    return inputs, synapses
