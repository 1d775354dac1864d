"""An asynchronous network as the training loop sees it: named parameters, a gradient per batch, constraints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from brian2 import Quantity, second
from scipy import sparse

from ...models.asynchronous.connectivity import Connectivity, layered
from ...models.asynchronous.lowering import leak_factors as leak_factor
from ...models.asynchronous.network import AsynchronousNetwork
from ...models.asynchronous.unlayered import UnlayeredEngine
from ...models.errors import NetworkError
from ...models.events import bin_events
from ...models.gamma.windows import window_of
from ...models.order.schedulers import LayerSynchronous
from ...models.order.tape import AsynchronousResult
from ..errors import TrainingError
from .losses import AsyncLoss, output_membranes
from .unlayered import ForwardGroups, MixedOrder, Unlayered, clip_by_norm

TRAINED = ("w", "V_th", "tau", "sigma")
RULES = ("unlayered", "filter", "online")  # the loop's default name stands for this network's only gradient


@dataclass
class AsyncBatch:
    """What the training loop reads from a batch.

    Attributes
    ----------
    readout : (n_samples, T, n_out) array
        Output counts.
    spikes : (n_samples,) array
        Network spikes.
    """

    readout: np.ndarray
    spikes: np.ndarray


@dataclass
class AsyncGradient:
    """Loss of a batch, its surrogate gradient and what was seen on the way.

    Attributes
    ----------
    loss : float
    gradients : dict of str to array
        Names and shapes of `TrainableAsynchronous.parameters`, clipped; time constants in 1/second.
    run : AsyncBatch
    result : AsynchronousResult
    norm : float
        Joint norm before clipping.
    """

    loss: float
    gradients: dict
    run: AsyncBatch
    result: AsynchronousResult
    norm: float


class TrainableAsynchronous(AsynchronousNetwork):
    """An `AsynchronousNetwork` whose parameters an optimiser changes in place.

    Parameters
    ----------
    connectivity
        As in `AsynchronousNetwork`.
    unlayered : Unlayered
        The surrogate gradient.
    loss : AsyncLoss
    clip : float, optional
        Largest joint norm of a gradient.
    groups : ForwardGroups, optional
        Forward group size over training; by default the network's own.
    order : MixedOrder, optional
        Draw scheduler and forward group size per batch instead.
    trained : sequence of {'w', 'V_th', 'tau', 'sigma'}
        What is trained besides the weights, which always are.
    weight_scale : float or sequence of float
        Factor of the initial weights, one or one per projection.
    **options
        As in `AsynchronousNetwork`.

    Attributes
    ----------
    parameters : dict of str to array
        ``projection{k}.w`` (n_pre, n_post), or the stored weights where sparse; ``neurons.V_th``, ``neurons.tau`` (in
        seconds), ``neurons.sigma``, (N,) each.
    """

    def __init__(
        self,
        connectivity,
        *,
        unlayered: Unlayered | None = None,
        loss: AsyncLoss | None = None,
        clip: float | None = 1.0,
        groups: ForwardGroups | None = None,
        order: MixedOrder | None = None,
        trained=("w",),
        weight_scale=1.0,
        **options,
    ):
        if not isinstance(connectivity, Connectivity):
            connectivity = layered(connectivity, seed=options.get("seed", 0))
            scale = np.broadcast_to(weight_scale, len(connectivity.projections))
            pairs = zip(connectivity.projections, scale, strict=True)
            connectivity = connectivity.with_weights([p.weights * s for p, s in pairs])
        super().__init__(connectivity, **options)
        if self.compat is not None:
            raise TrainingError("compat='asynctorch' cannot be trained: a sample would depend on its batch.")
        unknown = sorted(set(trained) - set(TRAINED))
        if unknown:
            raise TrainingError(f"trained = '{unknown[0]}' is unknown; known are {', '.join(TRAINED)}.")
        self.unlayered = Unlayered() if unlayered is None else unlayered
        self.loss = AsyncLoss() if loss is None else loss
        self.clip, self.groups, self.order, self.trained = clip, groups, order, tuple(trained)
        if "sigma" in self.trained and not np.any(self.sigma):
            raise TrainingError("trained = 'sigma' needs a synchronisation threshold to start from, such as sigma=1.")
        self._check_variant()
        self._reverse: dict = {}
        self.iteration, self.progress = 0, 0.0
        self.parameters = self._initial()
        self.constrain()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Input units and layers."""
        return self.connectivity.sizes

    @property
    def n_spiking(self) -> int:
        """Neurons over which spikes are averaged: hidden and output."""
        return self.n_neurons

    def _initial(self) -> dict:
        kind = np.dtype(self.dtype).type
        table = {}
        for k, p in enumerate(self.connectivity.projections):
            values = p.weights.data if sparse.issparse(p.weights) else p.weights
            table[f"projection{k}.w"] = np.array(values, kind)
        n = self.n_neurons
        if "V_th" in self.trained:
            table["neurons.V_th"] = np.array(np.broadcast_to(self.model.constants["V_th"], (n,)), float)
        if "tau" in self.trained:
            table["neurons.tau"] = np.array(np.broadcast_to(self.model.constants["tau_m"], (n,)), float)
        if "sigma" in self.trained:
            table["neurons.sigma"] = np.array(self.sigma, float)
        return table

    def _check_variant(self) -> None:
        if self.unlayered.variant == "v2" and np.any(self.sigma):
            raise TrainingError("variant 'v2' has no synchronisation threshold; use variant 'v1' or sigma=0.")

    # -- what the loop calls ----------------------------------------------------------------------------------

    def begin_batch(self, iteration: int, progress: float) -> None:
        """Say where training stands: all that is drawn per batch depends on the iteration only.

        Parameters
        ----------
        iteration : int
        progress : float
            Fraction of the training done.
        """
        self.iteration, self.progress = int(iteration), float(progress)

    def batch_order(self):
        """Scheduler, forward group size and seed of the present batch."""
        rng = np.random.default_rng([self.seed % 2**32, self.iteration])
        seed = int(rng.integers(2**62))
        if self.order is not None:
            scheduler, group = self.order.draw(rng)
            return scheduler, group, seed
        return self.scheduler, self.forward_group if self.groups is None else self.groups.at(self.progress), seed

    def gradient(self, events, labels=None, *, rule="unlayered", activity=0.0, **options) -> AsyncGradient:
        """Loss and surrogate gradient of a batch.

        Parameters
        ----------
        events : EventArchive or StepEvents
        labels : (n_samples,) array of int
        rule : {'unlayered'}
        activity : float
            Penalty on spikes per neuron, besides the loss's own.
        **options
            ``scheduler``, ``forward_group``, ``seed``, ``training`` (dropouts, on by default). For a part of a longer
            sample: ``state`` (n_samples, N), membranes to start from, and ``first_step``, its first timestep.

        Returns
        -------
        AsyncGradient
        """
        if rule not in RULES[:2]:
            raise TrainingError(
                f"rule='{rule}': asynchronous networks learn by 'unlayered', or on the way by gradients(rule='online')."
            )
        labels = getattr(events, "labels", None) if labels is None else labels
        if labels is None:
            raise TrainingError("There are no labels: pass gradient(events, labels).")
        steps = bin_events(events, self.dt)
        scheduler, group, seed = self.batch_order()
        scheduler = options.pop("scheduler", scheduler)
        group, seed = options.pop("forward_group", group), options.pop("seed", seed)
        training, part = options.pop("training", True), {"first_step": options.pop("first_step", 0)}
        state = options.pop("state", None)
        if options:
            raise TrainingError(f"gradient() knows no option {sorted(options)[0]}.")
        result = self.run(
            steps, record="tape", scheduler=scheduler, forward_group=group, training=training, seed=seed,
            counter=self.iteration, state=state, **part,
        )  # fmt: skip
        loss = replace(self.loss, activity=self.loss.activity + activity) if activity else self.loss
        membranes = output_membranes(result, self, state) if loss.needs_membrane else None
        adjoints = loss.evaluate(result, labels, membranes)
        reversal = self.unlayered.reversal(
            scheduler, self.checked_group(group), seed=seed, spike_dropout=self.dropout["spike"] if training else 0.0
        )
        raw = self._reverse_engine().reverse(
            result.tape, self.connectivity, self.model, float(self.dt), reversal,
            by_count=adjoints.by_count, by_membrane=adjoints.by_membrane, by_latency=adjoints.by_latency,
            by_spike=adjoints.by_spike, sigma=self.sigma if np.any(self.sigma) else None,
            train_leak="tau" in self.trained, initial=state, **part,
        )  # fmt: skip
        gradients = self._named(raw)
        tau = self.parameters.get("neurons.tau")
        norm = clip_by_norm(gradients, self.clip, None if tau is None else {"neurons.tau": float(tau.mean())})
        batch = AsyncBatch(result.outputs, result.counters["spikes"].sum(axis=1))
        return AsyncGradient(adjoints.loss, gradients, batch, result, norm)

    def gradients(self, events, labels=None, *, rule="unlayered", window=1, **options) -> Iterator[AsyncGradient]:
        """Gradients of a batch, for an update after each of them.

        Parameters
        ----------
        events, labels, options
            As in `gradient`.
        rule : {'unlayered', 'online'}
            ``'online'``: a gradient every `window` timesteps, through the tape of these timesteps alone; membranes go
            on, so memory does not grow with the length of a sample.
        window : int
            Timesteps.

        Yields
        ------
        AsyncGradient
            Parameters may change before the next one.
        """
        if rule != "online":
            yield self.gradient(events, labels, rule=rule, **options)
            return
        self.require_timestep_loss()
        steps = bin_events(events, self.dt)
        state = np.zeros((steps.n_samples, self.n_neurons), self.dtype)
        labels = getattr(events, "labels", None) if labels is None else labels
        for begin in range(0, steps.n_steps, window):
            piece = window_of(steps, begin, min(begin + window, steps.n_steps))
            found = self.gradient(piece, labels, state=state, first_step=begin, **options)
            state = found.result.state
            yield found

    def require_timestep_loss(self) -> None:
        """Refuse a loss that looks at a whole sample: learning on the way sees only a part of it."""
        loss = self.loss
        if loss.kind == "latency" or loss.total or loss.first or loss.haste:
            raise TrainingError(
                "rule='online' learns from parts of a sample: use loss kind 'counts' (gain > 0) or 'membrane' with "
                "total = first = haste = 0."
            )

    def loss_and_grad(self, events, labels=None, **options) -> tuple[float, dict]:
        """Loss of a batch and its surrogate gradient; options as in `gradient`."""
        found = self.gradient(events, labels, **options)
        return found.loss, found.gradients

    def _reverse_engine(self) -> UnlayeredEngine:
        key = self.unlayered.surrogate, self.dtype
        if key not in self._reverse:
            self._reverse[key] = UnlayeredEngine(self.model, self.unlayered.surrogate, self.dtype, self.threads)
        return self._reverse[key]

    def _named(self, raw: dict) -> dict:
        table = {f"projection{k}.w": w.reshape(self.parameters[f"projection{k}.w"].shape)
                 for k, w in enumerate(raw["weights"])}  # fmt: skip
        if "V_th" in self.trained:
            table["neurons.V_th"] = raw["V_th"].astype(float)
        if "tau" in self.trained:
            slope = leak_factor(self.model, float(self.dt), self.n_neurons, derivative=True)
            table["neurons.tau"] = raw["leak"].astype(float) * slope
        if "sigma" in self.trained:
            table["neurons.sigma"] = raw["sigma"].astype(float)
        return table

    def hits(self, readout: np.ndarray, labels: np.ndarray) -> tuple[int, int]:
        """Correct answers by the counts of all timesteps, and answers asked for."""
        return int((readout.sum(axis=1).argmax(axis=1) == labels).sum()), len(labels)

    def constrain(self) -> None:
        """Keep parameters in range after an optimiser's step, and hand them to the engine."""
        p = self.parameters
        if "neurons.V_th" in p:
            np.maximum(p["neurons.V_th"], 1e-3, out=p["neurons.V_th"])
            self.model.constants["V_th"] = p["neurons.V_th"].copy()
        if "neurons.tau" in p:
            np.clip(p["neurons.tau"], 0.02 * float(self.dt), 1e3 * float(self.dt), out=p["neurons.tau"])
            self.model.constants["tau_m"] = Quantity(p["neurons.tau"].copy(), dim=second.dim)
        if "neurons.sigma" in p:
            np.maximum(p["neurons.sigma"], 0, out=p["neurons.sigma"])
            self.sigma = p["neurons.sigma"].copy()
        weights = []
        for k, projection in enumerate(self.connectivity.projections):
            values = p[f"projection{k}.w"]
            if sparse.issparse(projection.weights):
                w = projection.weights
                values = sparse.csr_array((values.copy(), w.indices, w.indptr), shape=w.shape)
            weights.append(values)
        self.set_weights(weights)

    def set_parameters(self, parameters: dict, source: str = "parameters") -> None:
        """Replace all parameters; names, shapes and finiteness are checked first."""
        for name, own in self.parameters.items():
            if name not in parameters:
                raise NetworkError(f"{source}: '{name}' is missing.")
            if np.shape(parameters[name]) != own.shape:
                raise NetworkError(f"{source}: '{name}' has shape {np.shape(parameters[name])}, expected {own.shape}.")
            if not np.isfinite(parameters[name]).all():
                raise NetworkError(f"{source}: '{name}' holds values that are not finite.")
        self.parameters = {n: np.array(parameters[n], own.dtype) for n, own in self.parameters.items()}
        self.constrain()

    def leak(self) -> np.ndarray:
        """Factor by which each membrane decays over a timestep, (N,)."""
        return leak_factor(self.model, float(self.dt), self.n_neurons)

    def layered_copy(self) -> TrainableAsynchronous:
        """The same network, trained with a layer barrier: ordinary layered backprop."""
        options = {
            "tau_m": self.model.constants["tau_m"], "V_th": self.model.constants["V_th"], "dt": self.dt,
            "scheduler": LayerSynchronous(), "forward_group": None, "refractory": self.model.once_per_timestep,
            "sigma": self.sigma, "prioritised": self.prioritised, "seed": self.seed, "dtype": self.dtype,
            "threads": self.threads, "unlayered": self.unlayered, "loss": self.loss, "clip": self.clip,
            "trained": self.trained,
        }  # fmt: skip
        return TrainableAsynchronous(self.connectivity, **options)
