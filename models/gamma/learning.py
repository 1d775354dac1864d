"""How a SpikingGamma network learns: what is known of its parameters, and decoded gradients."""

from __future__ import annotations

from collections.abc import Iterator

from brian2 import second

from ..errors import NetworkError
from ..events import StepEvents, bin_events
from ..gradients import Detached, Direct, Filter, Gradient, Online, accepted, as_gradient, clip_by_norm
from ..parameters import ParameterInfo
from ..protocols import Learner
from ..readout import loss_window
from .losses import CrossEntropy, SquaredError
from .windows import default_window, online_gradient


class DecodedLearner(Learner):
    """The learning half of `SpikingGammaNetwork`."""

    gradients_accepted = (Filter, Online, Direct, Detached)
    goals_accepted = (CrossEntropy, SquaredError)

    @property
    def info(self) -> dict[str, ParameterInfo]:
        """Unit, range and scale of every parameter; time constants stay above a tenth of the time step."""
        kinds = {
            "w": ParameterInfo(decays=True),
            "v": ParameterInfo(),
            "b": ParameterInfo(),
            "tau": ParameterInfo(unit=second, lower=0.1 * float(self.dt), scale="relative"),
        }
        return {name: kinds[name.split(".")[1].split("_")[0]] for name in self.parameters}

    @property
    def n_spiking(self) -> int:
        """Neurons over which spikes are averaged: the hidden ones."""
        return sum(self.sizes[1:-1])

    def initialise(self, draw) -> None:
        """Begin a training: scale the weights on a few dozen samples."""
        self.calibrate(draw(64))

    def gradient(
        self,
        events: StepEvents,
        labels=None,
        *,
        targets=None,
        weight=None,
        loss="cross_entropy",
        rule="filter",
        activity=0.0,
        analog=False,
        window=None,
    ) -> Gradient:
        """Loss and decoded gradient of a batch; see `loss_and_grad` for the arguments."""
        rule = accepted(as_gradient(rule, window=window), self.gradients_accepted, self)
        events = bin_events(events, self.dt)
        steps = (events.n_samples, events.n_steps)
        labels, weight = loss_window(steps, labels, weight, self.first_step(), self.sizes[-1])
        options = {"loss": loss, "labels": labels, "targets": targets, "weight": weight}
        options["activity"] = activity / max(1, steps[0] * steps[1] * self.n_spiking)
        options["train_tau"] = self.train_tau
        if isinstance(rule, Online):
            window = default_window(self) if rule.window is None else rule.window
            run = online_gradient(self.engine(), self.layer_parameters(), events, window=window, **options)
        else:
            run = self._run(events, gradient=True, analog=analog, rule=rule.name, **options)
        gradients = self.named_gradients(run)
        norm = clip_by_norm(gradients, rule.clip, self.info, self.parameters) if rule.clip else None
        return Gradient(float(run.losses.sum()), gradients, run, run.readout, int(run.spikes.sum()), norm)

    def gradients(self, events, labels=None, *, goal=None, rule=None) -> Iterator[Gradient]:
        """Gradients of a batch, as training asks for them: one.

        Parameters
        ----------
        events : EventArchive or StepEvents
        labels : (n_samples,) or (n_samples, n_steps) array of int
            By default those of the archive; -1 leaves a step out.
        goal : CrossEntropy or SquaredError, optional
        rule : Filter, Online, Direct or Detached, optional
        """
        goal = accepted(goal, self.goals_accepted, self, "goal")
        labels = getattr(events, "labels", None) if labels is None else labels
        if labels is None:
            raise NetworkError("There are no labels: pass gradients(events, labels).")
        events = bin_events(events, self.dt)
        arguments = goal.arguments(labels, events.n_steps, self.sizes[-1])
        yield self.gradient(events, rule=rule, activity=goal.activity, **arguments)

    def loss_and_grad(self, events, labels=None, *, rule="filter", **options) -> tuple[float, dict]:
        """Loss of a batch and its decoded gradient.

        Parameters
        ----------
        events : EventArchive or StepEvents
        labels : (n_samples,) or (n_samples, n_steps) array of int
            For cross entropy; -1 leaves a step out.
        rule : Filter, Online, Direct or Detached
            How errors pass a hidden layer's buckets, see `brian2grad.models.gradients`; or its name, ``'filter'``,
            ``'online'`` (then also ``window``, in steps), ``'direct'``, ``'detached'``.
        **options
            ``loss`` ('cross_entropy' per step or 'squared_error' against ``targets`` (n_samples, n_steps, n_out)),
            ``weight`` (n_samples, n_steps) of each step (normalised to mean one over the read steps), ``activity``
            (weight of the mean signal of the hidden neurons, which is added to the loss), ``analog`` (the spike-free
            network, whose exact gradient this is).

        Returns
        -------
        loss : float
            Mean over samples and read steps.
        gradients : dict of str to array
        """
        result = self.gradient(events, labels, rule=rule, **options)
        return result.loss, result.gradients
