"""The recursive gamma memory and the SpikingGamma neuron (Koopman, Otte & Bohté 2026, arXiv 2602.01978)."""

from __future__ import annotations

import numpy as np
from brian2 import Quantity, second

from .errors import ModelError
from .neurons import NeuronModel
from .propagator import ExactMemory, exact_memory
from .text import positive_times, text_of

MEMORIES = ("paper", "continuous")
_OLD_WORDS = {"exact": "continuous"}  # in files and scripts written before
_GAMMA_REFERENCE = "de Vries & Principe 1992 (gamma model); Koopman, Otte & Bohté 2026, buckets"
_SPIKING_REFERENCE = "Koopman, Otte & Bohté 2026, arXiv 2602.01978; threshold adaptation: Zambrano et al. 2019"


def gamma_memory(K, tau, *, ratio=1.0, memory="paper", name="z", drive=None, transposed=False, unit="1") -> GammaMemory:
    r"""Chain of K buckets that spill into each other: smoothed delays of whatever enters bucket 0.

    .. math:: \dot z_0 = -z_0/\tau_0, \qquad \dot z_k = (z_{k-1} - z_k)/\tau_k

    A jump of ``z0`` by one appears in bucket k as the gamma kernel
    :math:`(t/\tau)^k e^{-t/\tau} / k!` (equal time constants), delayed by about ``k*tau``.

    Parameters
    ----------
    K : int
        Number of buckets.
    tau : Quantity, second
        One time constant, or one per bucket, shape (K,); or names of variables as text (one, or K of them).
    ratio : float
        Geometric factor from one bucket to the next: ``tau_k = tau * ratio**k``.
    memory : {'paper', 'continuous'}
        ``'paper'`` integrates with exponential Euler, which is term for term the published recursion
        ``z_k(t+dt) = a z_k + (1-a) z_{k-1}(t)``; ``'continuous'`` is the continuous gamma kernel at any ``dt``.
    name : str
        Variables are called ``name0`` ... ``name{K-1}``.
    drive : str, optional
        Expression (in `unit`) that bucket 0 follows with gain one, for continuous input:
        ``dz0/dt = (drive - z0)/tau_0``.
    transposed : bool
        Reverse the chain: bucket K-1 spills down to bucket 0, which is read out. A jump of bucket k then reaches
        bucket 0 through the same kernel, so every synapse can choose its own mixture of buckets.
    unit : str
        Unit of the buckets.

    Returns
    -------
    GammaMemory
        Equations that go into `NeuronGroup` and add to others with ``+``.

    Raises
    ------
    ModelError
        If K < 1, a time constant is not positive, or an option is unknown.
    """
    memory = known_memory(memory)
    names, taus = _time_constant_names(K, tau, ratio)
    order = range(K)
    source = {k: f"{name}{k + 1 if transposed else k - 1}" for k in order}
    first = K - 1 if transposed else 0
    lines = []
    for k in order:
        inflow = f"{source[k]} - " if k != first else (f"({drive}) - " if drive else "-")
        lines.append(f"d{name}{k}/dt = ({inflow}{name}{k})/{names[k]} : {unit}")
    return GammaMemory(
        "\n".join(lines),
        K=K,
        tau=None if taus is None else taus * second,
        method=_method(memory, [] if taus is not None else [f"{name}{k}" for k in order]),
        name="gamma_memory",
        reference=_GAMMA_REFERENCE,
    )


class GammaMemory(NeuronModel):
    """The equations of a gamma memory.

    Parameters
    ----------
    model : str or Equations
    K : int
        Buckets.
    tau : (K,) Quantity, second, or None
        ``None``: the time constants are names.
    **arguments
        As in `NeuronModel`.
    """

    def __init__(self, model, *, K, tau, **arguments):
        super().__init__(model, **arguments)
        self.K, self.tau = int(K), tau


class SpikingGammaModel(NeuronModel):
    """A SpikingGamma neuron or readout: its equations, and which of its variables plays which part.

    Parameters
    ----------
    model : str or Equations
    K : int
        Buckets.
    tau : (K,) Quantity, second
    theta, adaptation : float
        Threshold at rest, and by what fraction of it a spike raises it.
    memory, buckets : str
        As in `spiking_gamma`.
    signal : str
        Variable that is encoded (hidden) or read out (readout).
    estimate : str, optional
        The receiver's reconstruction, subtracted in the spike test; ``None`` for a readout.
    jump : str, optional
        Variable carried by a spike.
    count : str, optional
        Variable that says how many spikes an event stands for; ``None``: one.
    trained_names : tuple of str
        Trained per-neuron parameters: bucket weights ``v0 ...`` and bias ``b``.
    **arguments
        As in `NeuronModel`.

    Attributes
    ----------
    memory_names : tuple of str
        The buckets.
    weight_names : tuple of str
        Synaptic weights: ``('w',)``, or ``('w0', ...)`` with per-synapse buckets.
    on_pre : str
        What a presynaptic spike does to this neuron.
    """

    def __init__(
        self, model, *, K, tau, theta, memory, buckets, adaptation, signal, trained_names,
        estimate=None, jump=None, count=None, **arguments,
    ):  # fmt: skip
        super().__init__(model, **arguments)
        self.K, self.tau, self.theta = int(K), tau, float(theta)
        self.memory, self.buckets, self.adaptation = memory, buckets, float(adaptation)
        self.signal, self.estimate, self.jump, self.count = signal, estimate, jump, count
        self.trained_names = tuple(trained_names)
        self.memory_names = tuple(f"z{k}" for k in range(self.K))
        self.weight_names, self.on_pre = projection(self.K, np.asarray(tau), buckets)


def spiking_gamma(
    K,
    tau,
    theta=1.0,
    *,
    ratio=1.0,
    memory="paper",
    buckets="neuron",
    bias=True,
    adaptation=0.0,
    tau_theta=None,
    multiple=False,
    signed=False,
    readout=False,
) -> SpikingGammaModel:
    r"""SpikingGamma neuron: gamma memory, rectifier and sigma-delta spike coding.

    .. math::
        x = \sum_k v_k z_k + b, \quad y = \max(x, 0), \quad
        \text{spike when } y - \hat y > \theta:\ \hat y \leftarrow \hat y + 2\theta

    A spike carries ``jump = 2*theta`` to its targets, where it enters bucket 0 multiplied by the weight; bucket 0 of
    every receiver therefore rebuilds :math:`\hat y`, which follows y within theta.

    Parameters
    ----------
    K : int
        Number of buckets.
    tau : Quantity, second
        Scalar or (K,). ``tau_0`` is the time constant of the code: encoder and decoder share it.
    theta : float
        Threshold (dimensionless, in units of the signal), > 0.
    ratio : float
        Geometric factor between the buckets' time constants.
    memory : {'paper', 'continuous'}
        See `gamma_memory`.
    buckets : {'neuron', 'synapse'}
        ``'neuron'``: bucket weights ``v0 ...`` of the neuron, shared by its synapses (one row of weights per spike).
        ``'synapse'``: every synapse has a weight per bucket (``w0 ...``); the chain is transposed so that it still
        sits in the receiving neuron.
    bias : bool
        Add a trained constant ``b``.
    adaptation : float
        Multiplicative threshold adaptation m_f >= 0: a spike raises theta by ``m_f*theta``.
    tau_theta : Quantity, second
        Decay of the raised threshold (default 15 ms).
    multiple : bool
        Let a neuron emit several spikes in one step, ``n = floor((y - yhat - theta)/(2 theta)) + 1``, carried as one
        event of ``n`` jumps: the code then follows signals above ``2 theta/(1 - exp(-dt/tau_0))`` too.
    signed : bool
        No rectifier; spikes of both signs, ``|y - yhat| > theta``.
    readout : bool
        Linear, non-spiking output: no rectifier, no threshold.

    Returns
    -------
    SpikingGammaModel
        ``NeuronGroup(N, neuron, **neuron.arguments)``; set ``v0 ...`` (and ``b``) before running.

    Raises
    ------
    ModelError
        If a parameter is out of range.

    References
    ----------
    Koopman, Otte & Bohté 2026, arXiv 2602.01978 (memory, code); Zambrano et al. 2019, Front. Neurosci. 12:987
    (multiplicative adaptation).
    """
    _check_spiking_options(theta, buckets, adaptation)
    per_synapse = buckets == "synapse"
    chain = gamma_memory(K, tau, ratio=ratio, memory=memory, transposed=per_synapse)
    taus = positive_times(tau, K, ratio)
    weighted = "z0" if per_synapse else " + ".join(f"v{k}*z{k}" for k in range(K))
    signal = f"{weighted} + b" if bias else weighted
    parameters = (() if per_synapse else tuple(f"v{k}" for k in range(K))) + (("b",) if bias else ())
    declared = "".join(f"{p} : 1 (constant)\n" for p in parameters)
    if readout:
        model = NeuronModel(f"x = {signal} : 1\n{declared}")
    else:
        model = _sigma_delta(signal, declared, taus[0], float(theta), float(adaptation), tau_theta, multiple, signed)
    spiking = {} if readout else {"estimate": "yhat", "jump": "jump", "count": "n_spikes" if multiple else None}
    return SpikingGammaModel(
        (chain + model).model,
        K=K,
        tau=Quantity(taus, dim=second.dim),
        theta=theta,
        memory=known_memory(memory),
        buckets=buckets,
        adaptation=adaptation,
        signal="x" if readout else "y",
        trained_names=parameters,
        **spiking,
        threshold=model.threshold,
        reset=model.reset,
        method=chain.method,
        name="gamma_readout" if readout else "spiking_gamma",
        reference=_SPIKING_REFERENCE,
    )


def projection(K, taus, buckets) -> tuple[tuple[str, ...], str]:
    """Weights and ``on_pre`` statements with which a spike enters the receiving neuron's buckets.

    With per-synapse buckets and unequal time constants, ``tau_0/tau_k`` gives a jump of bucket k the area of a jump
    of bucket 0, as in the chain with per-neuron weights.
    """
    if buckets == "neuron":
        return ("w",), "z0_post += w*jump_pre"
    lines = []
    for k in range(K):
        scale = "" if taus[k] == taus[0] else f"*{float(taus[0] / taus[k])!r}"
        lines.append(f"z{k}_post += w{k}*jump_pre{scale}")
    return tuple(f"w{k}" for k in range(K)), "\n".join(lines)


def _sigma_delta(signal, declared, tau_0, theta, adaptation, tau_theta, multiple, signed) -> NeuronModel:
    """Rectifier, estimate, threshold and reset of the sigma-delta code."""
    tau_text = text_of(Quantity(tau_0, dim=second.dim), "tau", "second")
    gap = "abs(y - yhat)" if signed else "y - yhat"
    jump = "2*theta" + ("*n_spikes" if multiple else "") + ("*sign(y - yhat)" if signed else "")
    lines = [
        f"x = {signal} : 1",
        "y = x : 1" if signed else "y = x*int(x > 0) : 1",
        f"dyhat/dt = -yhat/{tau_text} : 1",
        f"jump = {jump} : 1",
    ]
    if multiple:
        lines.append(f"n_spikes = floor(({gap} - theta)/(2*theta)) + 1 : 1")
    reset = "yhat += jump"
    if adaptation:
        tau_theta = Quantity(0.015, dim=second.dim) if tau_theta is None else tau_theta
        positive_times(tau_theta, 1, name="tau_theta")
        lines += [
            f"theta = {theta!r} + theta_dyn : 1",
            f"dtheta_dyn/dt = -theta_dyn/{text_of(tau_theta, 'tau_theta', 'second')} : 1",
        ]
        if multiple:  # the count is taken before the estimate moves; both increments read the theta of the spike
            reset = f"raised = {adaptation!r}*theta*n_spikes\n{reset}\ntheta_dyn += raised"
        else:
            reset += f"\ntheta_dyn += {adaptation!r}*theta"
    else:
        lines.append(f"theta = {theta!r} : 1")
    return NeuronModel("\n".join(lines) + "\n" + declared, threshold=f"{gap} > theta", reset=reset)


def _time_constant_names(K, tau, ratio):
    """Text of each bucket's time constant, and the values (None where they are names)."""
    if isinstance(tau, str) or (isinstance(tau, list | tuple) and all(isinstance(t, str) for t in tau)):
        positive_times(second, K)  # checks K
        names = [tau] * K if isinstance(tau, str) else list(tau)
        if ratio != 1.0 or len(names) != K:
            raise ModelError(f"Named time constants: give one name or {K}, and no `ratio`.")
        return names, None
    taus = positive_times(tau, K, ratio)
    return [text_of(Quantity(t, dim=second.dim), "tau", "second") for t in taus], np.array(taus)


def _method(memory, named_buckets):
    """State updater; buckets whose time constants are names must turn out to have numbers when the run starts."""
    if memory == "paper":
        return "exponential_euler"
    return ExactMemory(named_buckets) if named_buckets else exact_memory


def known_memory(memory: str) -> str:
    """Name of a kind of memory; ``'exact'``, the word of before, means ``'continuous'``.

    Raises
    ------
    ModelError
        If the name is unknown.
    """
    memory = _OLD_WORDS.get(memory, memory)
    if memory not in MEMORIES:
        raise ModelError(f"memory='{memory}' is unknown; use one of {', '.join(MEMORIES)}.")
    return memory


def _check_spiking_options(theta, buckets, adaptation):
    if not (_is_number(theta) and theta > 0):
        raise ModelError(f"theta = {theta} must be a positive number: it is the precision of the spike code.")
    if buckets not in ("neuron", "synapse"):
        raise ModelError(f"buckets='{buckets}' is unknown; use 'neuron' (shared v_k) or 'synapse' (w_k each).")
    if not (_is_number(adaptation) and adaptation >= 0):
        raise ModelError(f"adaptation = {adaptation} must be a number >= 0 (the factor m_f; 0 is a fixed theta).")


def _is_number(value) -> bool:
    return isinstance(value, int | float | np.number) and bool(np.isfinite(value))
