"""SpikingGamma networks without a layer barrier: the threshold is tested when a spike arrives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ...equations.display import DisplayedFields
from ..checks import OWN, checked_group, checked_number
from ..errors import NetworkError
from ..events import StepEvents, bin_events
from ..gamma.network import SpikingGammaNetwork
from ..gradients import Detached, Direct, Filter
from ..order.keys import Scheduler
from ..order.loop import COUNTERS, LoopArguments
from ..order.orders import OrderedLearner
from ..order.schedulers import LayerSynchronous, RandomScheduler, TimedScheduler
from ..order.stopping import DRAINED, as_stop
from ..order.tape import SpikeList, Tape
from .engine import AsynchronousGammaEngine, queue_code

IDLE = ("end", "start")


@dataclass(frozen=True, repr=False)
class AsynchronousGammaResult(DisplayedFields):
    """What happened in the hidden layers.

    Attributes
    ----------
    counters : dict of str to (n_samples, T) array
        As of `AsynchronousResult`; deliveries to the readout included.
    tape : Tape
        Its ``multiplicity`` is what a delivered source carried.
    sizes : tuple of int
    dt : float
    """

    counters: dict[str, np.ndarray]
    tape: Tape
    sizes: tuple[int, ...]
    dt: float

    @property
    def order(self) -> SpikeList:
        """Spikes in processing order; neurons count over the hidden layers."""
        return self.tape.order

    @property
    def sparse_counts(self) -> sparse.csr_array:
        """Spikes per hidden neuron, one row per (sample, timestep)."""
        order, (n_samples, n_steps) = self.order, self.tape.steps.shape
        entries = np.ones(len(order), np.int32), (order.sample * n_steps + order.timestep, order.neuron)
        return sparse.csr_array(sparse.coo_array(entries, shape=(n_samples * n_steps, sum(self.sizes[1:-1]))))

    @property
    def neuron_spikes(self) -> np.ndarray:
        """Spikes of every hidden neuron, (n_samples, n_hidden)."""
        order, n_samples, n = self.order, len(self.tape.steps), sum(self.sizes[1:-1])
        return np.bincount(order.sample * n + order.neuron, minlength=n_samples * n).reshape(n_samples, n)

    @property
    def spikes(self) -> np.ndarray:
        """Spikes of every hidden layer, (n_samples, n_hidden_layers)."""
        return np.add.reduceat(self.neuron_spikes, np.cumsum((0, *self.sizes[1:-2])), axis=1)

    @property
    def delivered(self) -> list[StepEvents]:
        """What the targets of every hidden layer received in every timestep, whatever the order within it."""
        tape, (n_samples, n_steps) = self.tape, self.tape.steps.shape
        row = tape.rows[np.repeat(np.arange(len(tape.group_ptr) - 1), np.diff(tape.group_ptr))]
        first, layers = self.sizes[0], []
        for n in self.sizes[1:-1]:
            inside = (tape.group >= first) & (tape.group < first + n)
            entries = tape.multiplicity[inside], (row[inside], tape.group[inside] - first)
            table = sparse.csr_array(sparse.coo_array(entries, shape=(n_samples * n_steps, n)))
            table.sum_duplicates()
            ptr, units = table.indptr.astype(np.int64), table.indices.astype(np.int32)
            layers.append(StepEvents(ptr, units, table.data, n, n_steps, n_samples, self.dt))
            first += n
        return layers


class AsynchronousSpikingGamma(OrderedLearner, SpikingGammaNetwork):
    """A SpikingGamma network whose spikes are delivered a few at a time, in the order of a scheduler.

    At the start of a timestep all buckets hop and all estimates decay, as in the synchronous network. Then, forward
    step by forward step, a group of waiting spikes is delivered; every neuron that took current computes its signal y
    and spikes if ``y - yhat > theta``; its spike joins the queue. Whenever nothing waits, the foremost layer that was
    not tested in this timestep is tested, so that signals which rise through the memory alone are sent too. The
    readout is linear and read at the end of a timestep.

    A neuron tested before all its input arrived may send what later inhibition takes back. The unsigned code can only
    wait for the estimate to decay; with ``signed=True`` the next test sends a negative spike.

    With `LayerSynchronous`, or with all waiting spikes in a group, every layer is tested once, after all of its input:
    then this is the synchronous network, spike for spike.

    Parameters
    ----------
    sizes : sequence of int
        Input units, hidden layers, outputs.
    scheduler : Scheduler
        ``P`` of a spike is by how much its neuron was above threshold.
    forward_group : int or None
        Spikes (of different neurons) delivered per forward step; ``None``: all that wait.
    once_per_timestep : bool
        At most one spike per neuron and timestep. Otherwise a neuron spikes again, in the next forward step, as long
        as it is above threshold.
    idle : {'end', 'start'}
        When neurons that took no current are tested: as described, or all neurons once at the start of a timestep.
    prioritised : bool
        Deliver a timestep's input first and at once; otherwise it queues like any spike.
    order : object with a method ``draw(rng)``, optional
        Draws scheduler and forward group for every training batch, such as `MixedOrder`.
    max_spikes : int, optional
        Spikes of one timestep beyond which excitation counts as runaway; 100 per neuron by default.
    **options
        As in `SpikingGammaNetwork`.

    Notes
    -----
    The decoded gradient takes the code as transparent and reverses the linear memory. The order decides which spikes
    are sent, and nothing else: the gradient is that of the spikes that really happened, under any scheduler.

    A file written by `save` holds a `SpikingGammaNetwork`; the order is an option of `load`.
    """

    gradients_accepted = (Filter, Direct, Detached)  # Online runs layer by layer
    compiled = ("_engines", "_kept", "_loops")

    def __init__(
        self,
        sizes=None,
        *,
        scheduler: Scheduler | None = None,
        forward_group: int | None = 8,
        once_per_timestep: bool = True,
        idle: str = "end",
        prioritised: bool = True,
        order=None,
        max_spikes: int | None = None,
        **options,
    ):
        super().__init__(sizes, **options)
        if not self.plan.chain:
            raise NetworkError("Without a layer barrier only chains of dense layers run; give sizes.")
        if self.multiple:
            raise NetworkError("multiple=True counts spikes per step; asynchronously, once_per_timestep=False does.")
        if idle not in IDLE:
            raise NetworkError(f"idle = '{idle}' is unknown; use one of {', '.join(IDLE)}.")
        self.scheduler = RandomScheduler() if scheduler is None else scheduler
        self.forward_group, self.order = forward_group, order
        self.once_per_timestep, self.idle, self.prioritised = bool(once_per_timestep), idle, bool(prioritised)
        self.max_spikes = (
            100 * max(1, self.n_neurons)
            if max_spikes is None
            else int(checked_number("max_spikes", max_spikes, 1, whole=True))
        )
        self._loops: dict = {}
        self._checked(self.scheduler, self.forward_group)

    @classmethod
    def of(cls, network: SpikingGammaNetwork, **order) -> AsynchronousSpikingGamma:
        """The same network, with the same parameter arrays, run in another order."""
        made = cls.from_config(network.config(), threads=network.threads, **order)
        made.parameters = network.parameters
        return made

    @property
    def n_neurons(self) -> int:
        """Hidden neurons."""
        return sum(self.sizes[1:-1])

    def _checked(self, scheduler, group) -> int:
        if isinstance(scheduler, TimedScheduler) or scheduler.cores != 1:
            raise NetworkError(f"{scheduler.name} does not run SpikingGamma networks; use a scheduler of one queue.")
        return checked_group(group, self.sizes[0] + self.n_neurons)

    # -- running -----------------------------------------------------------------------------------------------

    def _loop(self, scheduler, dtype) -> AsynchronousGammaEngine:
        engine = self.engine(dtype)
        key = (id(engine), repr(sorted(queue_code(scheduler).items())), self.idle)
        if key not in self._loops:
            self._loops[key] = AsynchronousGammaEngine(engine, self.sizes, scheduler, self.idle == "start")
        return self._loops[key]

    def run(
        self, events, *, scheduler=None, forward_group=OWN, stop=DRAINED, seed=None, sample_ids=None, iteration=0,
        n_steps=None, dtype=None,
    ) -> AsynchronousGammaResult:  # fmt: skip
        """Run the hidden layers; `forward` adds the readout.

        Parameters
        ----------
        events : EventArchive or StepEvents
        scheduler, forward_group, seed
            Instead of the network's own.
        stop : Stop
            A budget of spikes or forward steps per timestep. Spikes that still wait then are flushed, and their
            receivers' reconstruction stays wrong, or carried over, and arrive a timestep late.
        sample_ids : (n_samples,) array of int, optional
            What a sample's random numbers depend on besides the seed; by default its place in the batch.
        iteration : int
            Training iteration, for noise schedules.
        n_steps : int, optional
        dtype : {'float32', 'float64'}, optional

        Raises
        ------
        NetworkError
            If the input or the order does not fit, or a timestep has too many spikes.
        """
        scheduler = self.scheduler if scheduler is None else scheduler
        group = self._checked(scheduler, self.forward_group if forward_group is OWN else forward_group)
        steps, stop = bin_events(events, self.dt, n_steps), as_stop(stop)
        if steps.n_units != self.sizes[0]:
            raise NetworkError(f"The events have {steps.n_units} units, the network {self.sizes[0]} inputs.")
        if stop.rule == "after_output" or stop.scope == "sample":
            raise NetworkError(
                f"stop = {stop}: the readout does not spike and is read at the end of a timestep; stop a timestep by "
                "'drained', spike_budget(n) or step_budget(n)."
            )
        arguments = LoopArguments(
            forward_group=group,
            max_spikes=self.max_spikes,
            seed=self.seed if seed is None else seed,
            sample_ids=sample_ids,
            iteration=iteration,
            stop=stop,
            prioritised=self.prioritised,
            once_per_timestep=self.once_per_timestep,
        )
        raw = self._loop(scheduler, dtype).run(self.layer_parameters()[:-1], steps, scheduler, arguments)
        counters = {name: raw["counters"][..., k] for k, name in enumerate(COUNTERS)}
        return AsynchronousGammaResult(counters, Tape.of(raw), self.sizes, float(self.dt))

    def _run(self, events, dtype=None, **options):
        if options.get("analog") or not self.n_neurons:  # without spikes there is no order
            return super()._run(events, dtype, **options)
        happened = self.run(events, dtype=dtype, **(self.batch_order() if options.get("gradient") else {}))
        return self.replay(events, happened, dtype=dtype, **options)

    def replay(self, events: StepEvents, happened: AsynchronousGammaResult, *, dtype=None, **options):
        """Readout, loss and gradient of what happened in `run`, computed by the synchronous network's engine.

        Parameters
        ----------
        events : StepEvents
        happened : AsynchronousGammaResult
            Of the same events.
        **options
            As in `SpikingGammaNetwork.forward`.

        Returns
        -------
        EngineResult
            ``signals`` are those at the end of the timesteps; there are no ``estimates``, which change within one.
        """
        result = super()._run(events, dtype, given=happened.delivered, **options)
        result.spikes, result.estimates = happened.spikes, None
        if result.neuron_spikes is not None:
            result.neuron_spikes = happened.neuron_spikes
        return result

    def brian2(self, events, device="runtime", **options):
        """Run the network in Brian 2, with the spikes of `run`.

        With `LayerSynchronous` order, as `SpikingGammaNetwork.brian2`, on every device; in any other order one tick
        per forward step, with the scheduler in Python at run time and in C++ in C++ standalone: see
        `run_async_gamma_brian2`.
        """
        if isinstance(self.scheduler, LayerSynchronous) and self.once_per_timestep and self.idle == "end":
            return super().brian2(events, device=device, **options)
        if device == "genn":
            raise NetworkError("GeNN has no events but spikes: an asynchronous order runs in 'cpp_standalone'.")
        if options.pop("record", False):
            raise NetworkError(
                "Traces need layers one after the other: use scheduler=LayerSynchronous(), or --scheduler layered on "
                "the command line."
            )
        from .brian import run_async_gamma_brian2

        return run_async_gamma_brian2(self, events, device, **options)
