"""Integrate-and-fire neuron whose currents, threshold and input pass through chains of buckets (gamma memories)."""

from __future__ import annotations

from brian2 import ms, mV, pA

from ..errors import ModelError
from .base import ReadyModel, ready
from .linear import _DEFAULTS, _MEMBRANE


def filtered_gif(
    n_currents=3, n_thresholds=3, n_inputs=0, growth=1.0, slow=False, synapse="current", **constants
) -> ReadyModel:
    r"""Generalised integrate-and-fire neuron with spike-triggered current, moving threshold and input in buckets.

    .. math::
        C \dot v &= g_L (E_L - v) - \sum_k b_k \eta_k + a I_{ext} + \sum_k a_k x_k + I_{syn} \\
        \tau_\eta \dot\eta_0 &= -\eta_0, \quad \tau_\eta \dot\eta_k = \eta_{k-1} - \eta_k \\
        \tau_x \dot x_0 &= I_{ext} - x_0, \quad \tau_x \dot x_k = x_{k-1} - x_k \\
        v &> V_{th} + \theta + \sum_k c_k \gamma_k: \quad v \leftarrow V_r,\; \eta_0 \leftarrow \eta_0 + 1,\;
        \gamma_0 \leftarrow \gamma_0 + 1

    with :math:`\gamma_k` as :math:`\eta_k`, and a threshold that follows the membrane,
    :math:`\tau_\theta \dot\theta = \kappa (v - E_L) - \theta`.

    Parameters
    ----------
    n_currents, n_thresholds, n_inputs : int
        Buckets of each chain, at least 0; without input buckets there is no ``a``.
    growth : float
        Bucket ``k`` of the spike-triggered chains has the time constant ``tau*growth**k``: 1 is the gamma memory, more
        spreads the buckets over time scales.
    slow : bool
        Whether every spike also moves the threshold by ``c_slow`` for a long time, ``tau_slow``.
    synapse : {'current', 'conductance', 'delta'}
        As in `leaky_integrate_and_fire`.
    **constants : Quantity
        Those of `leaky_integrate_and_fire`, ``tau_theta``, ``kappa``; ``tau_eta``, ``b{k}`` (ampere); ``tau_gamma``,
        ``c{k}`` (volt); ``tau_x``, ``a``, ``a{k}`` (1).

    Returns
    -------
    ReadyModel

    Raises
    ------
    ModelError
        As `leaky_integrate_and_fire`; if a number of buckets is negative.

    References
    ----------
    de Vries & Principe 1992, Neural Networks 5:565 (gamma memory); Mensi et al. 2012, J. Neurophysiol. 107:1756;
    Mensi, Hagens, Gerstner & Pozzorini 2016, PLoS Comput. Biol. 12:e1004761 (threshold coupled to the voltage).
    """
    if min(n_currents, n_thresholds, n_inputs) < 0:
        raise ModelError(f"filtered gif: numbers of buckets {n_currents, n_thresholds, n_inputs} must not be negative.")
    flow = _MEMBRANE.replace("{adaptation}", "".join(f" - b{k}*eta{k}" for k in range(n_currents)))
    flow += (
        "dtheta/dt = (kappa*(v - E_L) - theta)/tau_theta : volt\ntau_theta : second (constant)\nkappa : 1 (constant)\n"
    )
    defaults = _DEFAULTS | {"tau_theta": 10 * ms, "kappa": 0.0 * mV / mV}
    if n_inputs:
        weighted = "".join(f" + a{k}*x{k}" for k in range(n_inputs))
        flow = flow.replace("+ I_ext +", f"+ a*I_ext{weighted} +") + "a : 1 (constant)\n"
        defaults["a"] = 1.0 * mV / mV
    flow += _chain("eta", n_currents, "0", "1", growth) + _chain("gamma", n_thresholds, "0", "1", growth)
    flow += _chain("x", n_inputs, "I_ext", "amp", 1.0)
    flow += "".join(f"b{k} : amp (constant)\n" for k in range(n_currents))
    flow += "".join(f"c{k} : volt (constant)\n" for k in range(n_thresholds))
    flow += "".join(f"a{k} : 1 (constant)\n" for k in range(n_inputs))
    defaults |= {"tau_eta": 15 * ms, **{f"b{k}": 30 / (1 + k) * pA for k in range(n_currents)}}
    defaults |= {"tau_gamma": 15 * ms, **{f"c{k}": 3 / (1 + k) * mV for k in range(n_thresholds)}}
    defaults |= {"tau_x": 1 * ms, **{f"a{k}": 0.0 * mV / mV for k in range(n_inputs)}}
    if slow:
        flow += "dslow/dt = -slow/tau_slow : 1\ntau_slow : second (constant)\nc_slow : volt (constant)\n"
        defaults |= {"tau_slow": 2000 * ms, "c_slow": 0.02 * mV}
    above = ["V_th", "theta", *(["c_slow*slow"] if slow else []), *(f"c{k}*gamma{k}" for k in range(n_thresholds))]
    jumps = [
        "v = V_r",
        *(["slow += 1"] if slow else []),
        *(["eta0 += 1"] if n_currents else []),
        *(["gamma0 += 1"] if n_thresholds else []),
    ]
    return ready(
        "filtered-gif", flow, defaults, constants, synapse=synapse, method="exponential_euler", refractory="t_ref",
        threshold="v > " + " + ".join(above),
        reset="; ".join(jumps),
        reference="de Vries & Principe 1992; Mensi et al. 2012; Mensi et al. 2016",
    )  # fmt: skip


def _chain(name: str, n: int, drive: str, unit: str, growth: float) -> str:
    """Buckets in a row, each filled by the one before."""
    text = f"tau_{name} : second (constant)\n" if n else ""
    for k in range(n):
        flow = f"({drive if k == 0 else f'{name}{k - 1}'} - {name}{k})/tau_{name}"
        text += f"d{name}{k}/dt = {flow}{f'/{growth**k!r}' if growth != 1 else ''} : {unit}\n"
    return text
