"""SpikingGamma networks: gamma-memory neurons with sigma-delta spikes, trained by decoded gradients."""

from __future__ import annotations

import numpy as np
from brian2 import Quantity, ms, second

from ...equations import spiking_gamma
from ...equations.gamma import known_memory
from ...equations.memory import memory_update
from ...equations.text import positive_times
from ..checks import check_delay, check_memory, checked_number, checked_theta, checked_threads
from ..errors import NetworkError
from ..events import bin_events
from ..native.remembered import Remembered
from ..readout import decisions, scores
from ..storage import StoredNetwork
from ..topology.layers import Dense
from ..topology.plan import plan_of
from .call import EngineResult
from .engine import GammaEngine
from .layers import lowered, numbers_of
from .learning import DecodedLearner
from .lowering import LayerNumbers
from .tables import LayerParameters, LayerTables


class SpikingGammaNetwork(DecodedLearner, StoredNetwork):
    """SpikingGamma network of any depth and structure with a linear, non-spiking readout.

    Parameters
    ----------
    sizes : sequence of int, optional
        Input units, hidden layers, outputs: dense layers.
    input : int or (channels, height, width), optional
        Units of the input, numbered channel by channel; with `layers`, in place of `sizes`.
    layers : list of layers or str, optional
        See `brian2grad.models.topology.layers`; the last is the readout. As text ``16c5-p2-32c3-p2-128-8``.
    K : int
        Buckets per neuron.
    tau : Quantity, second
        Time constant of the buckets: scalar or (K,). ``tau_0`` is the code's own and is never trained.
    theta : float or sequence of float
        Threshold, one or one per hidden layer.
    dt : Quantity, second
        Time step. Nothing else depends on it, so a trained network can be run at another one.
    ratio : float
        Geometric factor between the buckets' time constants.
    memory : {'paper', 'continuous'}
        Published recursion or continuous gamma kernel, see `gamma_memory`.
    buckets : {'neuron', 'synapse'}
        Bucket weights per neuron or per synapse, see `spiking_gamma`.
    bias : bool
    adaptation, tau_theta, multiple, signed
        Threshold adaptation, several spikes a step, spikes of both signs: see `spiking_gamma`.
    train_tau : bool
        Make ``tau_1 ...`` of every layer parameters.
    read_from : Quantity, second
        Steps before this time enter neither loss nor prediction.
    seed : int
        Of the initial weights.
    dtype : {'float32', 'float64'}
        Of the compiled engine.
    threads : int, optional

    Attributes
    ----------
    parameters : dict of str to array
        ``layer{l}.w`` (n_pre, n_post), or (K, n_pre, n_post) with per-synapse buckets; ``layer{l}.v`` (K, n_post);
        ``layer{l}.b`` (n_post,); ``layer{l}.tau`` (K,) in seconds if trained. Layers count from 1, the readout last.

    References
    ----------
    Koopman, Otte & Bohté 2026, arXiv 2602.01978.
    """

    kind = "gamma"
    compiled = ("_engines", "_kept")
    times = ("tau", "dt", "tau_theta", "read_from")

    def __init__(
        self,
        sizes=None,
        *,
        input=None,
        layers=None,
        K=5,
        tau=30 * ms,
        theta=1.0,
        dt=10 * ms,
        ratio=1.0,
        memory="paper",
        buckets="neuron",
        bias=True,
        adaptation=0.0,
        tau_theta=15 * ms,
        multiple=False,
        signed=False,
        train_tau=False,
        read_from=0 * ms,
        seed=0,
        dtype="float32",
        threads=None,
    ):
        self.plan = plan_of(sizes, input=input, layers=layers)
        self.sizes = self.plan.sizes
        check_memory(K, dt)
        self.K, self.theta = K, checked_theta(theta, len(self.sizes) - 2)
        self.tau = Quantity(positive_times(tau, K, ratio), dim=second.dim)
        check_memory(K, dt, tau=self.tau, **({"tau_theta": tau_theta} if adaptation else {}))
        self.memory, self.buckets, self.bias = known_memory(memory), buckets, bool(bias)
        self.adaptation, self.tau_theta = float(checked_number("adaptation", adaptation)), tau_theta
        self.multiple, self.signed = bool(multiple), bool(signed)
        self.train_tau, self.threads = bool(train_tau), checked_threads(threads)
        self.seed = int(checked_number("seed", seed, 0, whole=True))
        self.dt, self.read_from = dt, check_delay("read_from", read_from)
        self.dtype = np.dtype(dtype).name
        if self.dtype not in ("float32", "float64"):
            raise NetworkError(f"dtype = {dtype}: the engine computes in float32 or float64.")
        self._engines: dict = {}
        self._kept: dict = {}
        self.models()  # refuses bad options before anything is allocated
        self.parameters = self._initial_parameters()

    # -- construction ------------------------------------------------------------------------------------------

    def _initial_parameters(self) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(self.seed)
        parameters = {}
        for index, layer in enumerate(self.plan.layers, start=1):
            name, n_post = f"layer{index}", layer.shape[0]
            fan_in = sum(connection.fan_in for connection in layer.connections)
            for connection in layer.connections:
                scale = 1 / np.sqrt(fan_in)
                if self.buckets == "synapse":
                    w = rng.normal(scale=scale / np.sqrt(self.K), size=(self.K, *connection.shape))
                else:
                    w = rng.normal(scale=scale, size=connection.shape)
                parameters[f"{name}.{connection.name}"] = w.astype(self.dtype)
            if self.buckets == "neuron":
                # With random signs the buckets would cancel; positive v leaves the sign to w.
                v = rng.uniform(0.5, 1.5, size=(self.K, n_post)) / self.K
                parameters[f"{name}.v"] = v.astype(self.dtype)
            if self.bias:
                parameters[f"{name}.b"] = np.zeros(n_post, self.dtype)
            if self.train_tau:
                parameters[f"{name}.tau"] = np.array(self.tau)
        return parameters

    def calibrate(self, events, rms: float = 4.0) -> None:
        """Scale each layer's weights so that its pre-activation has the given root mean square on `events`.

        Parameters
        ----------
        events : EventArchive or StepEvents
            A few dozen samples.
        rms : float
            In units of the layer's theta (readout: absolute, divided by 4); in a map, where it is active.
        """
        events = bin_events(events, self.dt)
        for index in range(1, len(self.sizes)):
            last = index == len(self.sizes) - 1
            result = self._run(events, traces=True, analog=True)
            y = result.readout if last else result.signals[index - 1]
            # Of a rectified symmetric signal half the power is missing; of a map, all that lies on the background.
            power = float(np.mean(np.square(y, dtype=float))) * (1 if last or self.signed else 2)
            if self.plan.layers[index - 1].places > 1:
                power = float(np.sum(np.square(y, dtype=float)) / max(1, np.count_nonzero(y)))
            if power == 0:
                raise NetworkError(f"Layer {index} is silent on the given events; it cannot be calibrated.")
            target = rms / 4 if last else rms * self.theta[index - 1]
            for connection in self.plan.layers[index - 1].connections:
                self.parameters[f"layer{index}.{connection.name}"] *= target / np.sqrt(power)

    def taus(self, index: int) -> Quantity:
        """Time constants (K,) of layer `index` (counted from 1)."""
        trained = self.parameters.get(f"layer{index}.tau") if hasattr(self, "parameters") else None
        return self.tau if trained is None else Quantity(trained, dim=second.dim)

    def _layer(self, index: int, tau) -> dict:
        """Arguments of `spiking_gamma` for layer `index` (counted from 1)."""
        readout = index == len(self.sizes) - 1
        names = ("K", "memory", "buckets", "bias", "tau_theta", "multiple", "signed")
        return {name: getattr(self, name) for name in names} | {
            "tau": tau,
            "theta": 1.0 if readout else self.theta[index - 1],
            "adaptation": 0.0 if readout else self.adaptation,
            "readout": readout,
        }

    def models(self) -> list:
        """Brian 2 equations of every layer, the readout last."""
        return [spiking_gamma(**self._layer(index, self.taus(index))) for index in range(1, len(self.sizes))]

    def shown_equations(self) -> str:
        return str(self.models()[0])

    # -- running -----------------------------------------------------------------------------------------------

    def engine(self, dtype=None) -> GammaEngine:
        """Compiled engine of the equations' present form (compiled on first use, then cached); it holds no numbers."""
        layers = [lowered(float(self.dt), self._layer(index, self.tau)) for index in range(1, len(self.sizes))]
        codes = [code for code, _ in layers]
        key = (dtype or self.dtype, *codes)
        if key not in self._engines:
            n_constants = [len(numbers.constants) for _, numbers in layers]
            self._engines[key] = GammaEngine(codes, n_constants, self.plan, key[0], self.threads)
        return self._engines[key]

    def numbers(self) -> list[LayerNumbers]:
        """What the equations of every layer hold at the present ``theta``, time constants and ``dt``."""
        layers = range(1, len(self.sizes))
        taus = [np.asarray(self.taus(i)) if self.train_tau else None for i in layers]
        return [numbers_of(float(self.dt), self._layer(i, self.tau), t) for i, t in zip(layers, taus, strict=True)]

    def layer_parameters(self, parameters: dict | None = None) -> list[LayerParameters]:
        """Parameters, the present ones by default, in the engine's form."""
        layers, parameters = [], self.parameters if parameters is None else parameters
        for index, (plan, numbers) in enumerate(zip(self.plan.layers, self.numbers(), strict=True), start=1):
            get = lambda kind, name=f"layer{index}": parameters.get(f"{name}.{kind}")  # noqa: E731
            rows = [] if self.buckets == "synapse" else list(get("v"))
            rows += [get("b")] if self.bias else []
            neurons = np.array(rows).reshape(len(rows), plan.shape[0])
            weights = [w for c in plan.connections for w in self._matrices(c, get(c.name))]
            layers.append(LayerParameters(weights, neurons, numbers))
        return layers

    def _matrices(self, connection, w) -> list[np.ndarray]:
        """Weights of a connection as rows, one array per bucket; a wrong shape is left for the engine to refuse."""
        expected = (self.K, *connection.shape) if self.buckets == "synapse" else connection.shape
        return list(w.reshape(-1, *connection.matrix)) if w.shape == expected else [*w] if w.ndim > 2 else [w]

    def _tables(self, dtype=None) -> tuple[GammaEngine, LayerTables]:
        """Engine and layers for runs without a gradient, kept until a number changes, in place or not."""
        dtype, p = dtype or self.dtype, self.parameters
        settings = [float(self.dt), np.asarray(self.tau).tobytes(), *self.theta, self.K, self.memory, self.buckets]
        settings += [self.bias, float(self.tau_theta), self.multiple, self.signed, self.adaptation, self.train_tau]
        kept = self._kept.get(dtype)
        if kept is None or kept[0] != settings or not kept[1].same(p):
            engine, seen = self.engine(dtype), Remembered(p)
            tables = LayerTables(engine, self.layer_parameters(seen.arrays)).pack(engine.library)
            kept = settings, seen, engine, tables
            self._kept[dtype] = kept
        return kept[2:]

    def _run(self, events, dtype=None, **options) -> EngineResult:
        if options.get("gradient"):
            return self.engine(dtype).run(self.layer_parameters(), events, **options)
        engine, layers = self._tables(dtype)
        return engine.run(layers, events, **options)

    def forward(self, events, *, n_steps=None, dtype=None, **options) -> EngineResult:
        """Run samples in the compiled engine.

        Parameters
        ----------
        events : EventArchive or StepEvents
        n_steps : int, optional
            Length of every sample in steps of `dt`.
        dtype : {'float32', 'float64'}, optional
        **options
            ``record``, ``traces``, ``count_neurons``, ``analog``: see `GammaEngine.run`.

        Returns
        -------
        EngineResult
            ``readout`` (n_samples, n_steps, n_out), ``spikes`` (n_samples, n_hidden_layers), ...
        """
        return self._run(bin_events(events, self.dt, n_steps), dtype, **options)

    def scores(self, readout: np.ndarray) -> np.ndarray:
        """Class scores (n_samples, n_out): softmax of the readout, summed over the read steps."""
        return scores(readout, self.first_step())

    def decisions(self, readout: np.ndarray) -> np.ndarray:
        """Class after every step, (n_samples, n_steps); -1 before anything is read."""
        return decisions(readout, self.first_step())

    def hits(self, readout: np.ndarray, labels: np.ndarray) -> tuple[int, int]:
        """Correct answers and answers asked for: one per sample, or one per labelled step."""
        if labels.ndim == 1:
            return int((self.scores(readout).argmax(axis=1) == labels).sum()), len(labels)
        asked = labels >= 0
        asked[:, : self.first_step()] = False
        return int((readout.argmax(axis=2) == labels)[asked].sum()), int(asked.sum())

    def rows_per_event(self) -> int:
        """Rows of weights that one event adds."""
        return self.K if self.buckets == "synapse" else 1

    def first_step(self) -> int:
        """The first time step that is read: the first that begins at `read_from` or later."""
        return int(np.ceil(float(self.read_from) / float(self.dt) - 1e-9))

    # -- learning ----------------------------------------------------------------------------------------------

    def named_gradients(self, run: EngineResult) -> dict[str, np.ndarray]:
        """Gradients of an engine call under the names of `parameters`."""
        gradients = {}
        for index, layer in enumerate(run.gradients, start=1):
            name = f"layer{index}"
            for parameter, own in self._by_connection(index, layer.weights):
                array = own[0] if len(own) == 1 else np.array(own)  # large: copied only where it has to be
                gradients[parameter] = array.reshape(self.parameters[parameter].shape)
            if self.buckets == "neuron":
                gradients[f"{name}.v"] = layer.neurons[: self.K]
            if self.bias:
                gradients[f"{name}.b"] = layer.neurons[-1]
            if self.train_tau:
                gradients[f"{name}.tau"] = self._tau_gradient(index, run)
        return gradients

    def _by_connection(self, index: int, weights: list):
        """Names of the weights of layer `index`, each with its matrices of the engine's."""
        each = self.rows_per_event()
        for place, connection in enumerate(self.plan.layers[index - 1].connections):
            yield f"layer{index}.{connection.name}", weights[place * each : (place + 1) * each]

    def _tau_gradient(self, index: int, run: EngineResult) -> np.ndarray:
        update = memory_update(self.K, self.memory, self.buckets == "synapse")
        tau = np.asarray(self.taus(index), float)
        gradient = np.einsum("kab,ab->k", update.derivatives(tau, float(self.dt)), run.gradients[index - 1].update)
        if self.buckets == "synapse":  # a jump of bucket k is scaled by tau_0 / tau_k
            for name, dw in self._by_connection(index, run.gradients[index - 1].weights):
                w = self.parameters[name]
                gradient -= np.array([np.vdot(w[k], dw[k]) for k in range(self.K)]) / tau
        gradient[0] = 0  # tau_0 belongs to the code that encoder and decoder share
        return gradient

    # -- classifier --------------------------------------------------------------------------------------------

    def predict(self, events, *, dtype=None, batch=256, n_steps=None) -> np.ndarray:
        """Classes (n_samples,) of the events."""
        events = bin_events(events, self.dt, n_steps)
        parts = []
        for first in range(0, len(events), batch):
            chunk = events if len(events) <= batch else events.take(slice(first, first + batch))
            parts.append(self.scores(self._run(chunk, dtype).readout).argmax(axis=1))
        return np.concatenate(parts) if parts else np.zeros(0, int)

    def score(self, events, labels=None, **options) -> float:
        """Fraction of correct predictions; labels default to the archive's own."""
        labels = events.labels if labels is None else labels
        return float(np.mean(self.predict(events, **options) == np.asarray(labels)))

    def brian2(self, events, device="runtime", **options):
        """Run the same network in Brian 2; see `brian2grad.models.gamma.brian.run.run_brian2`."""
        from .brian.run import run_brian2

        return run_brian2(self, events, device=device, **options)

    # -- storage -----------------------------------------------------------------------------------------------

    def config(self) -> dict:
        """Constructor arguments as plain numbers (times in seconds)."""
        plain = ("memory", "buckets", "bias", "adaptation", "multiple", "signed", "train_tau", "dtype")
        return {
            **self._structure(),
            "K": int(self.K),
            "tau": [float(t) for t in np.asarray(self.tau)],
            "theta": list(self.theta),
            "seed": int(self.seed),
            **{name: float(getattr(self, name)) for name in ("dt", "tau_theta", "read_from")},
            **{name: getattr(self, name) for name in plain},
        }

    @classmethod
    def extent(cls, config: dict) -> tuple[list[int], int]:
        """Inputs, hidden neurons and outputs that a configuration describes, and the number of their weights."""
        if "layers" not in config:
            return super().extent(config)
        plan = plan_of(input=config["input"], layers=config["layers"])
        weights = sum(int(np.prod(c.shape)) for layer in plan.layers for c in layer.connections)
        return list(plan.sizes), weights

    def _structure(self) -> dict:
        """The layers as plain values: sizes, or input and texts."""
        if self.plan.chain and all(type(v) is Dense and not v.name for v in self.plan.values):
            return {"sizes": list(self.sizes)}
        layers = [str(value) for value in self.plan.values]
        return {"sizes": list(self.sizes), "input": list(self.plan.input), "layers": layers}
