"""How an asynchronous network learns: named parameters, unlayered backprop through a run's tape, whole or in parts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from brian2 import Quantity, second
from scipy import sparse

from ..checks import checked_labels
from ..errors import NetworkError
from ..events import bin_events
from ..gradients import Gradient, Online, Unlayered, accepted, as_gradient, clip_by_norm
from ..native.remembered import Remembered
from ..order.orders import OrderedLearner
from ..parameters import ParameterInfo
from .losses import AsyncLoss, output_membranes
from .lowering import leak_factors
from .unlayered import UnlayeredEngine

TRAINED = ("w", "V_th", "tau_m", "sigma")


class UnlayeredLearner(OrderedLearner):
    """The learning half of `AsynchronousNetwork`.

    Attributes
    ----------
    parameters : dict of str to array
        ``projection{k}.w`` (n_pre, n_post), the stored weights where sparse, the kernel where shared; of those that are
        trained
        ``neurons.V_th``, ``neurons.tau_m`` (in seconds), ``neurons.sigma``, (N,) each.
    info : dict of str to ParameterInfo
    trained : tuple of str
    """

    gradients_accepted = (Unlayered, Online)
    goals_accepted = (AsyncLoss,)
    compiled = ("_engines", "_reverse_engines")
    renamed = {"neurons.tau": "neurons.tau_m"}  # noqa: RUF012

    # -- parameters --------------------------------------------------------------------------------------------

    def _name_parameters(self, trained) -> None:
        """Set `trained`, `parameters` and `info` from the connectivity, the model and sigma."""
        trained = tuple("tau_m" if name == "tau" else name for name in trained)
        unknown = sorted(set(trained) - set(TRAINED))
        if unknown:
            raise NetworkError(f"trained = '{unknown[0]}' is unknown; known are {', '.join(TRAINED)}.")
        if "sigma" in trained and not np.any(self.sigma):
            raise NetworkError("trained = 'sigma' needs a synchronisation threshold to start from, such as sigma=1.")
        self.trained, self.parameters, self.info = trained, {}, {}
        dt, n = float(self.dt), self.n_neurons
        for k, p in enumerate(self.connectivity.projections):
            values = self.shared[k].kernel if k in self.shared else _values(p.weights)
            self.parameters[f"projection{k}.w"] = np.array(values, self.dtype)
            self.info[f"projection{k}.w"] = ParameterInfo(decays=True)
        for name, value, info in (
            ("V_th", self.model.constants["V_th"], ParameterInfo(lower=1e-3)),
            ("tau_m", self.model.constants["tau_m"],
             ParameterInfo(unit=second, lower=0.02 * dt, upper=1e3 * dt, scale="relative")),
            ("sigma", self.sigma, ParameterInfo(lower=0.0)),
        ):  # fmt: skip
            if name in trained:
                self.parameters[f"neurons.{name}"] = np.array(np.broadcast_to(value, (n,)), float)
                self.info[f"neurons.{name}"] = info
        self._seen = Remembered()
        self.constrain()
        self._take_parameters()

    def _take_parameters(self) -> None:
        """Hand parameters that changed, in place or not, to everything that is derived from them."""
        p = self.parameters
        if self._seen.same(p):
            return
        weights = []
        for k, projection in enumerate(self.connectivity.projections):
            values, w = p[f"projection{k}.w"], projection.weights
            if k in self.shared:
                values = self.shared[k].rows(values, w.shape)
            elif sparse.issparse(w):
                values = sparse.csr_array((values.copy(), w.indices, w.indptr), shape=w.shape)
            weights.append(values)
        self.connectivity = self.connectivity.with_weights(weights)
        if "neurons.V_th" in p:
            self.model.constants["V_th"] = p["neurons.V_th"].copy()
        if "neurons.tau_m" in p:
            self.model.constants["tau_m"] = Quantity(p["neurons.tau_m"].copy(), dim=second.dim)
        if "neurons.sigma" in p:
            self.sigma = p["neurons.sigma"].copy()
        held = {f"projection{k}.w": each.weights for k, each in enumerate(self.connectivity.projections)}
        self._seen = Remembered(p, {name: w for name, w in held.items() if not sparse.issparse(w)})

    def set_weights(self, weights) -> None:
        """Replace the weights, one entry per projection; kernels that are shared are changed in `parameters`."""
        if self.shared:
            raise NetworkError(f"Projection {min(self.shared)} shares its weights: change parameters instead.")
        self.connectivity = self.connectivity.with_weights(weights)
        for k, p in enumerate(self.connectivity.projections):
            self.parameters[f"projection{k}.w"] = np.array(_values(p.weights), self.dtype)
        self._take_parameters()

    def leak(self) -> np.ndarray:
        """Factor by which each membrane decays over a timestep, (N,)."""
        return leak_factors(self.model, float(self.dt), self.n_neurons)

    # -- gradients ---------------------------------------------------------------------------------------------

    @property
    def n_spiking(self) -> int:
        """Neurons over which spikes are averaged: hidden and output."""
        return self.n_neurons

    def gradient(
        self, events, labels=None, *, goal=None, rule=None, training=True, state=None, first_step=0, **order
    ) -> Gradient:
        """Loss and surrogate gradient of a batch.

        Parameters
        ----------
        events : EventArchive or StepEvents
        labels : (n_samples,) array of int
            By default those of the archive.
        goal : AsyncLoss, optional
        rule : Unlayered, optional
        training : bool
            Apply the dropouts.
        state : (n_samples, N) array, optional
            Membranes to start from, of a part of a longer sample.
        first_step : int
            Number of the part's first timestep.
        **order
            ``scheduler``, ``forward_group``, ``seed`` in place of those of `batch_order`.

        Returns
        -------
        Gradient
            Its outcome is the `AsynchronousResult` of the run, with the tape.
        """
        if isinstance(rule, Online):
            raise NetworkError("Online gives a gradient per window: iterate over gradients(events, rule=Online(...)).")
        rule = accepted(rule, self.gradients_accepted, self)
        goal = accepted(goal, self.goals_accepted, self, "goal")
        self._check_trainable(rule)
        labels = getattr(events, "labels", None) if labels is None else labels
        if labels is None:
            raise NetworkError("There are no labels: pass gradient(events, labels).")
        labels = checked_labels(labels)
        part = {"state": state, "first_step": first_step}
        order = self.batch_order() | order
        steps = bin_events(events, self.dt)
        if not steps.n_samples * steps.n_steps:
            raise NetworkError(
                f"{steps.n_samples} samples of {steps.n_steps} timesteps: there is nothing to learn from."
            )
        outcome = self.run(steps, record="tape", training=training, **order, **part)
        membranes = output_membranes(outcome, self, state) if goal.needs_membrane else None
        slope = goal.evaluate(outcome, labels, membranes)
        scheduler = order["scheduler"]
        raw = self._reverse_engine(rule).reverse(
            outcome.tape, self.connectivity, self.model, float(self.dt), rule,
            slots=self.checked_group(order["forward_group"]) * scheduler.cores, seed=order["seed"],
            ties=scheduler.ties, spike_dropout=self.dropout["spike"] if training else 0.0,
            by_count=slope.by_count, by_membrane=slope.by_membrane, by_latency=slope.by_latency,
            by_spike=slope.by_spike, sigma=self.sigma if np.any(self.sigma) else None,
            train_leak="tau_m" in self.trained, initial=state, first_step=first_step, look_through=False,
        )  # fmt: skip
        gradients = self._named(raw)
        norm = clip_by_norm(gradients, rule.clip, self.info, self.parameters)
        n_spikes = int(outcome.counters["spikes"].sum())
        return Gradient(slope.loss, gradients, outcome, outcome.outputs, n_spikes, norm)

    def gradients(self, events, labels=None, *, goal=None, rule=None, **options) -> Iterator[Gradient]:
        """Gradients of a batch, for an update after each of them.

        Parameters
        ----------
        events, labels, goal, options
            As in `gradient`.
        rule : Unlayered or Online, optional
            `Unlayered`: one gradient. `Online`: one every window, through the tape of its timesteps alone; membranes
            go on, so memory does not grow with the length of a sample.

        Yields
        ------
        Gradient
            Parameters may change before the next one.
        """
        rule = accepted(rule, self.gradients_accepted, self)
        if not isinstance(rule, Online):
            yield self.gradient(events, labels, goal=goal, rule=rule, **options)
            return
        accepted(goal, self.goals_accepted, self, "goal").require_timesteps()
        steps, window = bin_events(events, self.dt), rule.window or 1
        state = np.zeros((steps.n_samples, self.n_neurons), self.dtype)
        labels = getattr(events, "labels", None) if labels is None else labels
        for begin in range(0, steps.n_steps, window):
            piece, part = steps.steps(begin, begin + window), {"state": state, "first_step": begin}
            found = self.gradient(piece, labels, goal=goal, rule=rule.within, **part, **options)
            state = found.outcome.state
            yield found

    def loss_and_grad(self, events, labels=None, *, rule=None, **options) -> tuple[float, dict]:
        """Loss of a batch and its surrogate gradient.

        Parameters
        ----------
        events, labels, options
            As in `gradient`.
        rule : Unlayered or 'unlayered', optional
        """
        found = self.gradient(events, labels, rule=as_gradient(rule), **options)
        return found.loss, found.gradients

    def _check_trainable(self, rule: Unlayered) -> None:
        if self.compat is not None:
            raise NetworkError("compat='asynctorch' cannot be trained: a sample would depend on its batch.")
        if rule.variant == "v2" and np.any(self.sigma):
            raise NetworkError("variant 'v2' has no synchronisation threshold; use variant 'v1' or sigma=0.")

    def _reverse_engine(self, rule: Unlayered) -> UnlayeredEngine:
        if rule.surrogate not in self._reverse_engines:
            engine = UnlayeredEngine(self.model, rule.surrogate, self.dtype, self.threads)
            self._reverse_engines[rule.surrogate] = engine
        return self._reverse_engines[rule.surrogate]

    def _named(self, raw: dict) -> dict:
        table = {}
        for k, w in enumerate(raw["weights"]):
            w = self.shared[k].gathered(w) if k in self.shared else w
            table[f"projection{k}.w"] = w.reshape(self.parameters[f"projection{k}.w"].shape)
        if "V_th" in self.trained:
            table["neurons.V_th"] = raw["V_th"].astype(float)
        if "tau_m" in self.trained:
            slope = leak_factors(self.model, float(self.dt), self.n_neurons, derivative=True)
            table["neurons.tau_m"] = raw["leak"].astype(float) * slope
        if "sigma" in self.trained:
            table["neurons.sigma"] = raw["sigma"].astype(float)
        return table

    def hits(self, outputs: np.ndarray, labels: np.ndarray) -> tuple[int, int]:
        """Correct answers by the counts of all timesteps, and answers asked for."""
        return int((outputs.sum(axis=1).argmax(axis=1) == labels).sum()), len(labels)


def _values(weights) -> np.ndarray:
    return weights.data if sparse.issparse(weights) else weights
