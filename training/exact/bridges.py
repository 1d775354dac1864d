"""Thin bridges to other tools: objectives for SciPy's optimisers, a layer for PyTorch."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
from brian2 import Synapses, ms, second
from brian2.groups.group import get_local_namespace
from brian2.synapses.synapses import SynapticPathway

from ...models.hybrid.adjoint import Backward
from ...models.hybrid.network import DELAY
from ..errors import TrainingError
from .gradient import HybridProblem
from .losses import FunctionLoss, RunResult

_LEAST = 1e-3  # of its initial value: what a time constant can shrink to


class Objective:
    """Loss and gradient as a function of one flat vector, as ``scipy.optimize.minimize(..., jac=True)`` takes it.

    Every number is measured by the root mean square of its array's initial values (delays by 1 ms), so that all are of
    order one.

    Parameters
    ----------
    network, loss, wrt, duration, namespace, engine
        See `HybridProblem`.

    Attributes
    ----------
    start : (n,) array
        The values that the objects have now.
    bounds : list of (float or None, float or None)
        Delays and refractory periods are not negative, time constants stay positive.

    Examples
    --------
    >>> objective = Objective(network, loss, wrt, 50*ms)  # doctest: +SKIP
    >>> result = minimize(objective, objective.start, jac=True, bounds=objective.bounds)  # doctest: +SKIP
    >>> objective.assign(result.x)  # doctest: +SKIP
    """

    def __init__(self, network, loss, wrt, duration, *, namespace=None, level=0, engine="compiled"):
        namespace = get_local_namespace(level + 1) if namespace is None else namespace
        self.problem = HybridProblem(network, loss, wrt, duration, namespace, engine=engine)
        if not self.problem.keys:
            raise TrainingError("wrt is empty: name at least one thing to train, such as (synapses, 'w').")
        values, self.sizes, self.bounds = [], [], []
        for key in self.problem.keys:
            value = self.problem.network.values[key]
            size = float(ms) if key[1] == DELAY else float(np.sqrt(np.mean(value**2))) or 1.0
            time = self.problem.network.dimensions[key] is second.dim
            lower = None
            if key[1] in (DELAY, "refractory"):
                lower = 0.0
            elif time and (value > 0).all():
                lower = _LEAST
            values.append(value / size)
            self.sizes.append(size)
            self.bounds += [(lower * v if lower else lower, None) for v in value / size]
        self.start = np.concatenate(values)

    def values(self, x) -> dict:
        """The vector as values of the network, in SI units."""
        found, begin = {}, 0
        for key, size in zip(self.problem.keys, self.sizes, strict=True):
            n = self.problem.network.values[key].size
            found[key], begin = np.asarray(x[begin : begin + n], float) * size, begin + n
        return found

    def __call__(self, x) -> tuple[float, np.ndarray]:
        """Loss and gradient, (n,)."""
        value, gradients = self.problem.loss_and_gradients(self.values(x))
        return value, np.concatenate([g * s for g, s in zip(gradients, self.sizes, strict=True)])

    def assign(self, x) -> None:
        """Write the vector's values into the user's own objects; constants of the namespace stay as they are."""
        values = self.values(x)
        for (item, variable), key in zip(self.problem.wrt, self.problem.keys, strict=True):
            assign_values(item, variable, values[key])


def assign_values(item, variable: str, values: np.ndarray) -> None:
    """Write SI values into a variable of a Brian 2 object.

    Raises
    ------
    TrainingError
        If the object has no variable of the name, as the value stands in the namespace.
    """
    if isinstance(item, Synapses) and variable == DELAY:
        item = item._pathways[0]
    owner = item.variables if isinstance(item, SynapticPathway) or variable in item.variables else {}
    if variable not in owner:
        raise TrainingError(f"'{item.name}' keeps no '{variable}'; make it a parameter of its equations to write it.")
    owner[variable].set_value(values if values.size > 1 else values[0])


LayerOutput = namedtuple("LayerOutput", ["spike_times", "final", "neurons"])


def torch_layer(network, wrt, duration, outputs, *, namespace=None, level=0, engine="compiled"):
    """A Brian 2 network as one differentiable function of PyTorch tensors.

    Parameters
    ----------
    network, wrt, duration, namespace, engine
        See `HybridProblem`.
    outputs : NeuronGroup
        Whose spikes and final states come out.

    Returns
    -------
    callable
        Takes a tensor (in SI units, double precision) for every entry of `wrt`; returns a `LayerOutput`: `spike_times`
        (n_spikes,), `final` (n, n_states), both differentiable, and `neurons` (n_spikes,), the neuron of every spike.

    Raises
    ------
    ImportError
        If PyTorch is not installed: ``pip install brian2grad[torch]``.
    """
    try:
        import torch
    except ImportError:
        raise ImportError("torch_layer needs PyTorch; install it with: pip install 'brian2grad[torch]'") from None
    namespace = get_local_namespace(level + 1) if namespace is None else namespace
    read = FunctionLoss(lambda run: (0.0, {}))
    problem, name = HybridProblem(network, read, wrt, duration, namespace, engine=engine), outputs.name

    def run(values):
        """Result of a run, and the function that takes it back."""
        if problem.engine == "compiled":
            outcome = problem.compiled.run(values)
            return RunResult.of_outcome(outcome), lambda times, final: outcome.backward(times, final)
        tape = problem.simulate(values)
        back = lambda times, final: Backward(tape, times, {n: f[0] for n, f in final.items()}).run()  # noqa: E731
        return RunResult.of_tape(tape), back

    class Layer(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *tensors):
            values = {k: t.detach().double().numpy().ravel() for k, t in zip(problem.keys, tensors, strict=True)}
            result, ctx.back = run(values)
            spikes, ctx.like = result.spikes[name], tensors
            neurons = torch.from_numpy(np.array(spikes.neurons, np.int64))
            ctx.mark_non_differentiable(neurons)
            return torch.from_numpy(np.array(spikes.times)), torch.from_numpy(np.array(result.final[name][0])), neurons

        @staticmethod
        def backward(ctx, times, final, _):
            found = ctx.back({name: times.double().numpy()}, {name: final.double().numpy()[None]})
            pairs = zip(problem.keys, ctx.like, strict=True)
            return tuple(torch.from_numpy(found[k]).reshape(t.shape).to(t.dtype) for k, t in pairs)

    return lambda *tensors: LayerOutput(*Layer.apply(*tensors))
