"""The compiled engine: event-located runs of a hybrid network and their adjoint, batches of samples over threads."""

from __future__ import annotations

import weakref

import numpy as np
from scipy.integrate import DOP853
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from ..checks import check_known, checked_number, checked_threads, processors
from ..errors import NetworkError
from ..native.build import render
from ..native.flags import NO_MORE_VECTORS
from ..native.interface import Arrays, library
from .losses import MAX
from .lowering import lower
from .network import DELAY, TIMES, HybridNetwork, breaks, held_values
from .samples import SampleSpikes

TOLERANCE = 1e-10
MAX_RATE = 1e5  # spikes per second of a neuron; beyond it a run has no end
_METHOD = {
    "A": [[float(a) for a in row] for row in DOP853.A],
    **{name: [float(b) for b in getattr(DOP853, name)[: len(DOP853.C)]] for name in ("B", "C", "E3", "E5")},
}


class HybridEngine:
    """A hybrid network as compiled C++.

    Linear flows are followed by Taylor's series to rounding, others by an embedded Runge-Kutta method of order eight;
    spikes are located by a safeguarded Newton iteration within a step. The adjoint is the exact reverse of these steps
    and of the events between them.

    Parameters
    ----------
    network : HybridNetwork
    duration : float
        Seconds.
    tolerance : float
        Relative error of a step of nonlinear flows.

    Raises
    ------
    EngineError
        If the model calls a function that C++ does not have.
    """

    def __init__(self, network: HybridNetwork, duration: float, tolerance: float = TOLERANCE):
        self.network = network
        self.duration = float(checked_number("duration", float(duration), 0, 1e9))
        self.tolerance = float(checked_number("tolerance", tolerance, 1e-15, 1))
        self.codes = lower(network)
        source = render("hybrid/hybrid.cpp.jinja", groups=self.codes, method=_METHOD)
        core = '#include "hybrid/driver.hpp"\n'
        self.ffi, self.lib = library(source, "hybrid/arguments.h", "float64", core, NO_MORE_VECTORS)
        self.names, self.generators = list(network.groups), list(network.generators)
        self.pathways = [_Synapses(network, p) for p in network.pathways]
        arrived = dict.fromkeys(self.names, 0)
        for synapses in self.pathways:  # as `lower` counts them
            synapses.number = arrived[synapses.pathway.target]
            arrived[synapses.pathway.target] += 1
        self.blocks = list(network.state_blocks().values())
        self.n_synaptic = {n: max([b.end for b in self.blocks if b.target == n], default=0) for n in self.names}
        self._order()
        self._free: list[_Workspace] = []
        self._held: dict[str, tuple] = {}

    def _order(self):
        """Groups in the order of their connections; those in a loop together."""
        n = len(self.names)
        edges = [(self.names.index(p.source), self.names.index(p.target)) for p in self.network.pathways
                 if p.source in self.network.groups]  # fmt: skip
        matrix = np.zeros((n, n))
        for a, b in edges:
            matrix[a, b] = 1
        count, of = connected_components(csr_array(matrix), directed=True, connection="strong")
        before = {c: {of[a] for a, b in edges if of[b] == c and of[a] != c} for c in range(count)}
        done: list[int] = []
        while len(done) < count:
            done += [c for c in range(count) if c not in done and before[c] <= set(done)]
        members = [[k for k in range(n) if of[k] == c] for c in done]
        self.order = np.array([k for m in members for k in m], np.int32)
        self.components = np.concatenate([[0], np.cumsum([len(m) for m in members])]).astype(np.int32)
        loops = {of[a] for a, b in edges if of[a] == of[b]}
        self.cyclic = np.array([c in loops for c in done], np.uint8)

    def held(self, group) -> tuple[np.ndarray, np.ndarray, bool]:
        """Times at which the inputs of a group change, their values between those, and whether neurons differ."""
        if group.name not in self._held:
            times = np.array(breaks(group.inputs, self.duration), float)
            ends = np.concatenate([[0.0], times, [self.duration]])
            by_neuron = any(flag for _, (_, flag) in group.inputs)
            held = held_values(group.inputs, 0.5 * (ends[:-1] + ends[1:]), group.n if by_neuron else None)
            self._held[group.name] = times, held, by_neuron
        return self._held[group.name]

    def run(self, values: dict | None = None, inputs: dict | None = None, threads: int | None = None) -> Outcome:
        """Run samples from t = 0 to the end.

        Parameters
        ----------
        values : dict, optional
            Replacements of some of the network's values.
        inputs : dict of str to SampleSpikes, optional
            Spikes of every generator; by default its own, in a single sample.
        threads : int, optional
            Default: all processors. Results do not depend on it.

        Raises
        ------
        NetworkError
            If a sample has no gradient: a neuron touches its threshold, spikes twice at once, or is not finite.
        """
        values, threads = self.network.replaced(values), checked_threads(threads)
        if inputs is None:
            inputs = {
                name: SampleSpikes(neurons, values[name, TIMES], np.array([0, len(neurons)]))
                for name, neurons in self.network.generators.items()
            }
        missing = [name for name in self.generators if name not in inputs]
        if missing:
            raise NetworkError(f"inputs has no spikes for '{missing[0]}'.")
        check_known("inputs", inputs, self.generators)
        for name in self.generators:
            SampleSpikes.check(inputs[name], f"inputs['{name}']", self.network.n_inputs[name])
        counts = {inputs[name].n_samples for name in self.generators} or {1}
        if len(counts) > 1:
            raise NetworkError(f"inputs have different numbers of samples: {sorted(counts)}.")
        workspace = self._free.pop() if self._free else _Workspace(self)
        outcome = Outcome(self, workspace, values, inputs, counts.pop(), threads or processors())
        weakref.finalize(outcome, self._free.append, workspace)
        outcome.start()
        return outcome


class _Synapses:
    """Synapses of a pathway in the order of their sources."""

    def __init__(self, network, pathway):
        self.pathway = pathway
        item = pathway.i
        n_target = network.groups[pathway.target].n
        source = network.groups.get(pathway.source)
        n_source = source.n if source else network.n_inputs[pathway.source]
        self.order = np.lexsort((np.arange(len(item)), item)).astype(np.int64)
        self.j = pathway.j[self.order].astype(np.int32)
        self.ptr = np.searchsorted(item[self.order], np.arange(n_source + 1)).astype(np.int64)
        sizes = np.diff(self.ptr)
        whole = bool(((sizes == 0) | (sizes == n_target)).all())
        self.whole = whole and bool(
            (self.j == np.tile(np.arange(n_target), int((sizes > 0).sum()))).all()
            and (np.diff(self.order.reshape(-1, n_target), axis=1) == 1).all()
        )
        self.names = [*pathway.text.parameters.values(), *pathway.text.constants]


class _Workspace:
    """C++ memory and argument structures that runs take over from each other."""

    def __init__(self, engine: HybridEngine):
        ffi = engine.ffi
        self.run = ffi.gc(engine.lib.hybrid_new(), engine.lib.hybrid_free)
        self.groups = ffi.new("HybridGroup[]", max(len(engine.names), 1))
        self.pathways = ffi.new("HybridPathway[]", max(len(engine.pathways), 1))
        self.inputs = ffi.new("HybridInput[]", max(len(engine.generators), 1))
        self.failure = ffi.new("HybridFailure*")


class Outcome:
    """What a run gave.

    Attributes
    ----------
    losses : (n_samples,) array
        Of the losses written as text, in SI units.
    spikes : dict of str to SampleSpikes
        Of every group, in the order of time.
    final : dict of str to (n_samples, n, n_states) array
    maxima : dict of str to (n_samples, n) array
        Largest value of the expression of a group's `max_loss`.
    least_slope, nearest_grazing : float
        Smallest slope of a threshold function at a crossing; largest maximum that stayed below zero.
    """

    def __init__(self, engine, workspace, values, inputs, n_samples, threads):
        self.engine, self.values, self.inputs, self.n_samples = engine, values, inputs, n_samples
        self._workspace, self._threads, self._spent = workspace, threads, False
        self._arrays = Arrays(engine.ffi, "float64")

    def __getstate__(self):
        """What was found, without the engine and its tape: a copy has no adjoint."""
        kept = ("losses", "spikes", "final", "maxima", "least_slope", "nearest_grazing", "n_samples")
        return {name: getattr(self, name) for name in kept} | {"_spent": True}

    def start(self):
        engine, space, arrays = self.engine, self._workspace, self._arrays
        for name, code, c in zip(engine.names, engine.codes, space.groups, strict=False):
            self._set(c, self._group(engine.network.groups[name], code))
        for synapses, c in zip(engine.pathways, space.pathways, strict=False):
            self._set(c, self._pathway(synapses))
        for name, c in zip(engine.generators, space.inputs, strict=False):
            self._set(c, self._input(name))
        n, groups = self.n_samples, [engine.network.groups[name] for name in engine.names]
        self.losses, self._least, self._nearest = np.zeros(n), np.zeros(n), np.zeros(n)
        self._counts = np.zeros(n, np.int64)
        self.final = {g.name: np.zeros((n, g.n, len(g.states))) for g in groups}
        self.maxima = {g.name: np.zeros((n, g.n)) for g in groups if any(t.kind == MAX for t in g.terms)}
        arguments = engine.ffi.new("HybridArguments*", {
            "n_samples": n, "n_groups": len(groups), "n_pathways": len(engine.pathways),
            "n_generators": len(engine.generators), "n_components": len(engine.cyclic), "threads": self._threads,
            "max_spikes": int(1000 + sum(len(i.times) for i in self.inputs.values()) + engine.duration * MAX_RATE),
            "duration": engine.duration, "tolerance": engine.tolerance,
            "groups": space.groups, "pathways": space.pathways, "inputs": space.inputs,
            "order": arrays.input("order", engine.order, np.int32),
            "components": arrays.input("components", engine.components, np.int32),
            "cyclic": arrays.input("cyclic", engine.cyclic, np.uint8),
            "losses": arrays.output(self.losses),
            "final_state": arrays.table([arrays.output(self.final[g.name]) for g in groups], "double"),
            "maxima": arrays.table([arrays.output(self.maxima.get(g.name)) for g in groups], "double"),
            "n_spikes": arrays.output(self._counts),
            "least_slope": arrays.output(self._least), "nearest": arrays.output(self._nearest),
        })  # fmt: skip
        if engine.lib.hybrid_forward(space.run, arguments, space.failure):
            self._fail()
        self.least_slope, self.nearest_grazing = self._least.min(initial=np.inf), self._nearest.max(initial=-np.inf)
        bad = np.flatnonzero(~np.isfinite(self.losses))
        if len(bad):
            raise NetworkError(
                f"Sample {bad[0]}: the loss is {self.losses[bad[0]]}; an expression of it is not finite."
            )
        self._read_spikes()

    @staticmethod
    def _set(structure, fields):
        for name, value in fields.items():
            setattr(structure, name, value)

    def _table(self, named, n):
        """Pointers to arrays of one value or of n, and which of them have n."""
        arrays = [np.ascontiguousarray(v, float) for _, v in named]
        pointers = [self._arrays.input(str(name), a) for (name, _), a in zip(named, arrays, strict=True)]
        each = np.array([a.size > 1 for a in arrays] or [0], np.uint8)
        return self._arrays.table(pointers, "double"), self._arrays.input("each", each, np.uint8)

    def _group(self, group, code) -> dict:
        arrays, n = self._arrays, group.n
        theta, each = self._table([((group.name, p), self.values[group.name, p]) for p in group.theta], n)
        states = [np.broadcast_to(self.values[group.name, s], (n,)) for s in group.states]
        times, held, by_neuron = self.engine.held(group)
        synaptic = np.zeros(self.engine.n_synaptic[group.name])
        for b in [b for b in self.engine.blocks if b.target == group.name]:
            b.part(synaptic)[:] = np.array([self.values[b.synapses, v] for v in b.names]).reshape(-1, b.n).T
        return {
            "n": n, "n_states": len(states), "n_q": len(group.wrt), "theta": theta, "theta_each": each,
            "initial": arrays.table([arrays.input(s, x) for s, x in zip(group.states, states, strict=True)], "double"),
            "n_breaks": len(times), "breaks": arrays.input("breaks", times),
            "held": arrays.input("held", held), "held_each": int(by_neuron),
            "n_synaptic": len(synaptic), "synaptic": arrays.input("synaptic", synaptic),
        }  # fmt: skip

    def _pathway(self, synapses) -> dict:
        engine, arrays, path = self.engine, self._arrays, synapses.pathway
        n, delays = len(path.i), np.asarray(self.values[path.name, DELAY], float)
        w, each = self._table([((path.synapses, v), self.values[path.synapses, v]) for v in synapses.names], n)
        source = path.source
        return {
            "source": engine.names.index(source) if source in engine.names else -1 - engine.generators.index(source),
            "target": engine.names.index(path.target), "number": synapses.number,
            "n_synapses": n, "rows": int(synapses.whole and bool((delays == delays[0]).all())),
            "ptr": arrays.input("ptr", synapses.ptr, np.int64),
            "order": arrays.input("order", synapses.order, np.int64),
            "j": arrays.input("j", synapses.j, np.int32), "n_w": len(synapses.names), "w": w, "w_each": each,
            "delay": arrays.input("delay", delays), "delay_each": int(delays.size > 1),
            "n_s": len(path.text.states), "state": next(b.first for b in engine.blocks if b.synapses == path.synapses),
        }  # fmt: skip

    def _input(self, name) -> dict:
        spikes, arrays = self.inputs[name], self._arrays
        return {
            "neurons": arrays.input("neurons", spikes.neurons, np.int32),
            "times": arrays.input("times", spikes.times),
            "ptr": arrays.offsets("offsets", spikes.offsets, self.n_samples, len(spikes.times)),
        }

    def _fail(self):
        f = self._workspace.failure
        lib, number = self.engine.lib, f.fault
        name = self.engine.names[f.group] if number != lib.NO_MEMORY else ""
        where = f"'{name}', neuron {f.neuron}"
        sample = f"Sample {f.sample}: " if self.n_samples > 1 else ""
        texts = {
            lib.NOT_FINITE: f"{where}: the integration fails at t = {f.t:.9g} s, something is not finite. The "
            "equations grow without bound there; lower the threshold or mend them.",
            lib.TWICE: f"{where} spikes twice at t = {f.t:.9g} s; give the loop that excites it a delay, or the neuron "
            "a refractory period.",
            lib.GRAZING: f"{where} touches its threshold at t = {f.t:.9g} s with slope {f.value}: the time of this "
            "spike has no derivative.",
            lib.STILL_ABOVE: f"{where} is still above its threshold after its reset at t = {f.t:.9g} s; give it a "
            "reset below the threshold, or a refractory period.",
            lib.BAD_PERIOD: f"{where}: the refractory period is {f.value} s.",
            lib.RUNAWAY: f"{where}: more than {MAX_RATE:g} spikes per second by t = {f.t:.9g} s; lower the "
            "weights that excite it or give it a refractory period.",
            lib.ADJOINT: f"The adjoint of {where}, is not finite before t = {f.t:.9g} s.",
            lib.NO_MEMORY: "out of memory; run fewer samples at once.",
        }
        raise NetworkError(sample + texts[number])

    def _read_spikes(self):
        total, space, arrays = int(self._counts.sum()), self._workspace, self._arrays
        group, neuron, time = np.zeros(total, np.int32), np.zeros(total, np.int32), np.zeros(total)
        found = (arrays.output(a) for a in (group, neuron, time))
        if self.engine.lib.hybrid_spikes(space.run, *found, space.failure):
            self._fail()
        sample = np.repeat(np.arange(self.n_samples), self._counts)
        self._group_of_spike, self.spikes = group, {}
        for k, name in enumerate(self.engine.names):
            own = group == k
            offsets = np.concatenate([[0], np.cumsum(np.bincount(sample[own], minlength=self.n_samples))])
            self.spikes[name] = SampleSpikes(neuron[own], time[own], offsets.astype(np.int64))

    def backward(self, spike_times=None, final=None, maxima=None, weights=None, wanted=None) -> dict:
        """The adjoint of this run; once only, since it uses up the run's tape.

        Parameters
        ----------
        spike_times : dict of str to array, optional
            dL/dt of every spike in `spikes`.
        final, maxima : dict of str to array, optional
            dL/d of the arrays of the same name.
        weights : (n_samples,) array, optional
            Factors of the text losses; 1 by default.
        wanted : collection of (str, str), optional
            Which gradients are needed; default: all.

        Returns
        -------
        dict
            By (object name, variable), in the shapes of the values, summed over the samples; one entry per input spike
            for ``'spike_time'``.
        """
        if self._spent:
            raise NetworkError("The tape of this run has been used, or was left behind by a copy; run again.")
        self._spent = True
        engine, arrays = self.engine, Arrays(self.engine.ffi, "float64")
        groups = [engine.network.groups[name] for name in engine.names]
        for what, table in (("spike_times", spike_times), ("final", final), ("maxima", maxima)):
            check_known(what, table or {}, self.maxima if what == "maxima" else engine.names)
        check_known("wanted", wanted or (), self.values)
        seeds = np.zeros(len(self._group_of_spike))
        for name, seed in (spike_times or {}).items():
            own = self._group_of_spike == engine.names.index(name)
            arrays.input(f"spike_times['{name}']", seed, shape=(int(own.sum()),), finite=True)
            seeds[own] = seed
        result: dict = {}

        def out(key, shape):
            if wanted is not None and key not in wanted:
                return engine.ffi.NULL
            return arrays.output(result.setdefault(key, np.zeros(shape)))

        q = {g.name: np.zeros((len(g.wrt), g.n)) for g in groups}
        initial = {g.name: np.zeros((len(g.states), g.n)) for g in groups}
        synaptic = {name: np.zeros(n) for name, n in engine.n_synaptic.items()}
        max_w = max([len(s.names) for s in engine.pathways], default=0)
        w = []
        for s in engine.pathways:
            keys = [(s.pathway.synapses, v) for v in s.names]
            w += [out(key, self.values[key].size) for key in keys] + [engine.ffi.NULL] * (max_w - len(keys))
        one = np.ones(self.n_samples) if weights is None else weights
        table = lambda pointers: arrays.table(pointers, "double")  # noqa: E731
        shape = lambda of, name: of[name].shape if name in of else (0,)  # noqa: E731
        given = lambda d, like: table(  # noqa: E731
            [arrays.input(g.name, (d or {}).get(g.name), shape=shape(like, g.name), finite=True) for g in groups]
        )
        arguments = engine.ffi.new("HybridGradients*", {
            "weights": arrays.input("weights", one, shape=(self.n_samples,), finite=True),
            "spikes": arrays.input("spike_times", seeds),
            "final_state": given(final, self.final), "maxima": given(maxima, self.maxima),
            "q": table([arrays.output(q[g.name]) for g in groups]),
            "initial": table([arrays.output(initial[g.name]) for g in groups]),
            "synaptic": table([arrays.output(synaptic[g.name]) for g in groups]),
            "w": table(w), "max_w": max_w,
            "delay": table([out((s.pathway.name, DELAY), self.values[s.pathway.name, DELAY].size)
                            for s in engine.pathways]),
            "times": table([out((name, TIMES), len(self.inputs[name].times)) for name in engine.generators]),
        })  # fmt: skip
        if engine.lib.hybrid_backward(self._workspace.run, arguments, self._workspace.failure):
            self._fail()
        for g in groups:
            for k, state in enumerate(g.states):
                result[g.name, state] = initial[g.name][k]
            for k, name in enumerate(g.wrt):
                shared = self.values[g.name, name].size == 1
                result[g.name, name] = q[g.name][k].sum(keepdims=True) if shared else q[g.name][k]
        for b in engine.blocks:
            result |= {(b.synapses, v): b.part(synaptic[b.target])[:, k] for k, v in enumerate(b.names)}
        return result
