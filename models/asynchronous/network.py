"""Asynchronous networks: spikes are delivered in the order of a scheduler, without a barrier between layers."""

from __future__ import annotations

from numbers import Real

import numpy as np
from brian2 import Hz, Quantity, kHz, ms, second
from brian2.units.fundamentalunits import have_same_dimensions

from ...equations.asynchronous import asynchronous_lif
from ..checks import OWN, checked_group, checked_number, checked_threads
from ..errors import NetworkError
from ..events import bin_events
from ..order.keys import checked_scheduler
from ..order.schedulers import RandomScheduler, Scheduler, TimedScheduler
from ..order.stopping import DRAINED, Stop, as_stop
from ..order.tape import AsynchronousResult, Tape, TimedResult
from ..storage import StoredNetwork, described_by, load_network, save_network
from ..topology.plan import plan_of
from .connectivity import Connectivity, layered
from .convolution import laid_out
from .engine import COUNTERS, AsynchronousEngine, LoopArguments, check_dtype, queue_code
from .learning import UnlayeredLearner
from .timed.run import run_timed

COMPATIBLE = (None, "asynctorch")


class AsynchronousNetwork(UnlayeredLearner, StoredNetwork):
    """Leaky integrate-and-fire neurons that receive spikes a few at a time, in any order.

    A timestep starts with the leak and the input; then, forward step by forward step, a group of waiting
    spikes is delivered, the neurons that took current are tested, and those above threshold join the queue,
    until it is empty.

    Parameters
    ----------
    connectivity : sequence of int or Connectivity
        Layer sizes of a fully connected chain, ``[2312, 64, 64, 64, 10]``, or any `Connectivity`.
    input, layers
        In place of `connectivity`, as in `SpikingGammaNetwork`; the synapses of a kernel share its weights.
    tau_m : Quantity, second
        Membrane time constant, one or one per neuron.
    V_th : float or (N,) array
    dt : Quantity, second
        Length of a timestep.
    scheduler : Scheduler
    forward_group : int or None
        Neurons taken from the queue per forward step, F; ``None`` takes all.
    refractory : bool
        At most one spike per neuron and timestep.
    refractory_dropout, spike_dropout, input_dropout : float
        Probability that a spike leaves its neuron ready to spike again; that it is lost after the reset; that
        an input is lost. All are 0 outside training.
    sigma : int or (N,) array
        Synchronisation threshold: a neuron only spikes after more than `sigma` received spikes in this
        timestep.
    prioritised : bool
        Deliver a timestep's input first and at once; otherwise it queues like any spike, before the first forward step.
    compat : {None, 'asynctorch'}
        ``'asynctorch'`` repeats the published implementation: a timestep ends when only inhibition is left,
        which is then lost; samples of a batch go on as long as any of them; a forced stop carries the queue
        over and loses what was just taken from it. Not repeated: the order of equal keys, and the fillers of finished
        samples in the gradient of a batch; see docs/asynchronous.md.
    trained : sequence of {'w', 'V_th', 'tau_m', 'sigma'}
        What training changes besides the weights, which it always does.
    order : MixedOrder, optional
        Draws scheduler and forward group size for every training batch.
    groups : ForwardGroups, optional
        Forward group size over training; by default the network's own.
    weight_scale : float or sequence of float
        Factor of the initial weights of a network given by its sizes or layers, one or one per projection.
    seed : int
        Seed of the initial weights and of all random numbers of a run.
    max_spikes : int, optional
        Spikes of one timestep beyond which excitation counts as runaway; 100 per neuron by default.
    max_rate : Quantity, hertz
        The same in continuous time: spikes per neuron and second, averaged over the network and 20 ms. After the last
        input, as many spikes as came before are allowed besides.
    dtype : {'float32', 'float64'}
    threads : int, optional

    Attributes
    ----------
    parameters : dict of str to array
        Trained numbers, see `UnlayeredLearner`. Runs and gradients take them as they are, changed in place or not.
    info : dict of str to ParameterInfo
        Unit, range and scale of each.

    References
    ----------
    Koopman, Yousefzadeh, Shahsavari, Tang & Sifalakis 2024, arXiv 2408.05098
    """

    kind = "async"

    def __init__(
        self,
        connectivity=None,
        *,
        input=None,
        layers=None,
        tau_m=10 * ms,
        V_th=1.0,
        dt=10 * ms,
        scheduler: Scheduler | None = None,
        forward_group: int | None = 8,
        refractory=True,
        refractory_dropout=0.0,
        spike_dropout=0.0,
        input_dropout=0.0,
        sigma=0,
        prioritised=True,
        compat=None,
        trained=("w",),
        order=None,
        groups=None,
        weight_scale=1.0,
        seed=0,
        max_spikes=None,
        max_rate=10 * kHz,
        dtype="float32",
        threads=None,
    ):
        self.plan, self.shared, seed = None, {}, int(checked_number("seed", seed, 0, whole=True))
        if (connectivity is None) == (layers is None):
            raise NetworkError("Give either sizes or a Connectivity, or input and layers.")
        if layers is not None:
            self.plan = plan_of(input=input, layers=layers)
            connectivity, self.shared = laid_out(self.plan, seed=seed, scale=weight_scale)
        elif not isinstance(connectivity, Connectivity):
            connectivity = layered(connectivity, seed=seed)
            scale = np.broadcast_to(weight_scale, len(connectivity.projections))
            pairs = zip(connectivity.projections, scale, strict=True)
            connectivity = connectivity.with_weights([p.weights * s for p, s in pairs])
        self.connectivity = connectivity
        self.model = asynchronous_lif(tau_m, V_th, refractory=refractory)
        n = connectivity.n_neurons
        for name, value in self.model.constants.items():
            if np.shape(value) not in ((), (n,)):
                raise NetworkError(f"{name} has {len(value)} values for {n} neurons.")
        self.sigma = np.broadcast_to(np.asarray(sigma, dtype=float), (n,))
        if not (np.isfinite(self.sigma).all() and (self.sigma >= 0).all()):
            raise NetworkError(f"sigma = {sigma}; a number of received spikes is finite and not negative.")
        self.dt, self.prioritised = dt, bool(prioritised)
        self.seed = seed
        self.scheduler = RandomScheduler() if scheduler is None else checked_scheduler(scheduler)
        self.forward_group, self.order, self.groups = forward_group, order, groups
        self.dropout = {"refractory": refractory_dropout, "spike": spike_dropout, "input": input_dropout}
        for name, p in self.dropout.items():
            if not (isinstance(p, Real) and 0 <= p < 1):
                raise NetworkError(f"{name}_dropout = {p} must lie in [0, 1).")
        if compat not in COMPATIBLE:
            raise NetworkError(f"compat = {compat!r}; it is None or 'asynctorch'.")
        self.compat = compat
        self.max_spikes = int(
            checked_number("max_spikes", 100 * n if max_spikes is None else max_spikes, 1, whole=True)
        )
        if not (have_same_dimensions(max_rate, Hz) and 0 < float(max_rate) < np.inf):
            raise NetworkError(f"max_rate = {max_rate!r} must be a positive rate such as 10*kHz.")
        self.max_rate = max_rate
        self.dtype, self.threads = check_dtype(dtype), checked_threads(threads)
        self._engines: dict = {}
        self._reverse_engines: dict = {}
        self._name_parameters(trained)

    # -- construction ----------------------------------------------------------------------------------

    @property
    def sizes(self) -> tuple[int, ...]:
        """Input units and layers."""
        return self.connectivity.sizes

    @property
    def n_inputs(self) -> int:
        return self.connectivity.n_inputs

    @property
    def n_neurons(self) -> int:
        return self.connectivity.n_neurons

    @property
    def weights(self) -> list:
        """Weights of every projection, (n_pre, n_post) each, read-only; `set_weights` replaces them."""
        self._take_parameters()
        return [p.weights for p in self.connectivity.projections]

    def engine(self, scheduler=None, dtype=None) -> AsynchronousEngine:
        """Compiled engine for a scheduler (compiled on first use, then cached); numbers are passed to its runs."""
        scheduler = self.scheduler if scheduler is None else scheduler
        synchronised = bool(np.asarray(self.sigma).any())
        key = (*queue_code(scheduler).items(), scheduler.cores, dtype or self.dtype, synchronised)
        cores = scheduler.core_of(self.connectivity)
        key += (None if cores is None else cores.tobytes(),)
        if key not in self._engines:
            self._engines[key] = AsynchronousEngine(
                self.connectivity, self.model, scheduler, synchronised, dtype or self.dtype, self.threads
            )
        return self._engines[key]

    def shown_equations(self) -> str:
        """Equations of a neuron."""
        return str(self.model)

    # -- running ---------------------------------------------------------------------------------------

    def run(
        self,
        events,
        *,
        record: bool | str = False,
        stop: Stop | str | int = DRAINED,
        scheduler: Scheduler | None = None,
        forward_group: int | None = OWN,
        training: bool = False,
        n_steps: int | None = None,
        seed: int | None = None,
        sample_ids=None,
        iteration: int = 0,
        dtype: str | None = None,
        state=None,
        first_step: int = 0,
    ) -> AsynchronousResult | TimedResult:
        """Run samples in the compiled engine.

        Parameters
        ----------
        events : EventArchive or StepEvents
            Binned to timesteps of `dt`.
        record : bool or 'tape'
            Keep the ordered spike list; ``'tape'`` also every delivery and every test.
        stop : Stop
            See `brian2grad.models.order.stopping`; its texts, such as ``'first-output'``, mean what they mean on the
            command line.
        scheduler, forward_group, dtype
            Instead of the network's own.
        training : bool
            Apply the dropouts.
        n_steps : int, optional
            Timesteps of every sample.
        seed : int, optional
        sample_ids : (n_samples,) array of int, optional
            What a sample's random numbers depend on besides the seed; by default its place in the batch. A
            part of a batch run with its own places gives the same result.
        iteration : int
            Training iteration, for noise schedules.
        state : (n_samples, N) array, optional
            Membranes to go on from, as an earlier run left them in its result's ``state``; zeros are rest.
        first_step : int
            Number of the first timestep of such a part: a sample run in parts gives what it gives in one.

        Returns
        -------
        AsynchronousResult
            With a `TimedScheduler`, a `TimedResult`.

        Raises
        ------
        NetworkError
            If the input does not fit, the scheduler answers wrongly or the excitation runs away.
        """
        self._take_parameters()
        scheduler = self.scheduler if scheduler is None else checked_scheduler(scheduler)
        if isinstance(scheduler, TimedScheduler):
            if n_steps is not None or state is not None:
                raise NetworkError("n_steps and state belong to timesteps; a TimedScheduler runs in continuous time.")
            return run_timed(self, events, scheduler, stop, dtype)
        steps = bin_events(events, self.dt, n_steps)
        self._check_events(steps)
        stop = as_stop(stop)
        if self.compat and stop.rule == "spike_budget":
            raise NetworkError("compat='asynctorch' knows no spike budget; use a step budget or compat=None.")
        group = self.forward_group if forward_group is OWN else forward_group
        p = self.dropout if training else dict.fromkeys(self.dropout, 0.0)
        arguments = LoopArguments(
            forward_group=self.checked_group(group),
            max_spikes=self.max_spikes,
            seed=self.seed if seed is None else seed,
            sample_ids=sample_ids,
            iteration=iteration,
            stop=stop,
            prioritised=self.prioritised,
            once_per_timestep=self.model.once_per_timestep,
            lockstep=self.compat is not None,
            **{f"{name}_dropout": value for name, value in p.items()},
            state=None if state is None else self._checked_state(state, steps.n_samples, stop),
            first_timestep=0 if state is None else checked_number("first_step", first_step, 0, 2**63, whole=True),
        )
        keep = "tape" if record == "tape" else "spikes" if record else "nothing"
        numbers = {"connectivity": self.connectivity, "model": self.model, "sigma": self.sigma}
        raw = self.engine(scheduler, dtype).run(steps, float(self.dt), scheduler, arguments, keep, **numbers)
        return AsynchronousResult(
            outputs=raw["outputs"],
            counters={name: raw["counters"][..., k] for k, name in enumerate(COUNTERS)},
            dt=float(self.dt),
            n_neurons=self.n_neurons,
            first=raw["first"],
            tape=Tape.of(raw) if record else None,
            state=raw.get("final"),
        )

    def brian2(self, events, mode: str = "clock", device: str = "runtime", **options):
        """Run samples in Brian 2: forward steps as clock ticks, or continuous time with ``mode='event'``.

        Same spikes as `run`; for the options and what they must not contain see `run_async_brian2`.
        """
        from .brian.run import run_async_brian2

        self._take_parameters()
        return run_async_brian2(self, events, mode, device, **options)

    def forward(self, events, **options) -> np.ndarray:
        """Output spike counts (n_samples, T, n_out); options as in `run`."""
        return self.run(events, **options).outputs

    def predict(self, events, **options) -> np.ndarray:
        """Class of every sample: the output with the most spikes."""
        return self.run(events, **options).predictions

    def score(self, events, labels=None, **options) -> float:
        """Fraction of samples whose class is predicted; labels default to those of the archive."""
        labels = getattr(events, "labels", None) if labels is None else labels
        if labels is None:
            raise NetworkError("There are no labels: pass score(events, labels).")
        return float(np.mean(self.predict(events, **options) == np.asarray(labels)))

    def checked_group(self, group) -> int:
        """Forward group size as a number; ``None`` and ``'all'`` are all sources."""
        return checked_group(group, self.n_inputs + self.n_neurons)

    def _checked_state(self, state, n_samples: int, stop: Stop) -> np.ndarray:
        state = np.asarray(state)
        if state.shape != (n_samples, self.n_neurons) or not np.isfinite(state).all():
            raise NetworkError(
                f"state has shape {state.shape}; it holds {n_samples} samples x {self.n_neurons} finite membranes."
            )
        if self.compat or stop.leftover == "carry":
            raise NetworkError("Membranes are all that goes on in `state`; a queue carried over would be lost.")
        return state

    def _check_events(self, steps) -> None:
        if steps.n_units != self.n_inputs:
            raise NetworkError(f"The events have {steps.n_units} units, the network {self.n_inputs} input units.")

    # -- files -----------------------------------------------------------------------------------------

    def config(self) -> dict:
        """Constructor arguments as plain numbers (times in seconds), without what the file holds as arrays."""
        structure = self.connectivity.described()
        if self.plan is not None:
            structure = {"input": list(self.plan.input), "layers": [str(value) for value in self.plan.values]}
        return {
            **structure,
            "dt": float(self.dt),
            "forward_group": self.forward_group,
            "refractory": self.model.once_per_timestep,
            **{f"{name}_dropout": p for name, p in self.dropout.items()},
            "prioritised": self.prioritised,
            "compat": self.compat,
            "seed": self.seed,
            "max_spikes": self.max_spikes,
            "max_rate": float(self.max_rate),
            "dtype": self.dtype,
        }

    def save(self, path) -> None:
        """Write network and weights to one HDF5 file (the scheduler is not part of it), atomically."""
        self._take_parameters()
        parameters = self.connectivity.arrays() if self.plan is None else self.parameters
        numbers = {name: np.asarray(value) for name, value in self.model.constants.items()}
        save_network(path, self.kind, self.config(), parameters | numbers | {"sigma": np.array(self.sigma)})

    @classmethod
    def load(cls, path, **options) -> AsynchronousNetwork:
        """Read a network written by `save`; `options` (such as ``scheduler=``) go over what was saved."""
        config, parameters = load_network(path, cls.kind)
        with described_by(path):
            return cls.of_file(config, parameters, options)

    @classmethod
    def of_file(cls, config: dict, parameters: dict, options: dict) -> AsynchronousNetwork:
        """Network of what `save` wrote: `config`, and arrays of the connectivity or parameters of the layers.

        `options` go over it.
        """
        connectivity = None if "layers" in config else Connectivity.of_file(config, parameters)
        config |= {
            "dt": config["dt"] * second,
            "max_rate": config.get("max_rate", 1e4) * Hz,
            "tau_m": Quantity(parameters["tau_m"], dim=second.dim),
            "V_th": parameters["V_th"],
            "sigma": parameters["sigma"],
        }
        made = cls(connectivity, **(config | options))
        if connectivity is None:
            made.set_parameters({name: parameters.get(name, value) for name, value in made.parameters.items()})
        return made
