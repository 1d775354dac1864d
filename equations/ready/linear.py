"""Integrate-and-fire neurons with linear flow: between spikes their state is known in closed form.

In Brian 2 those with coupled states run by exponential Euler: the symbolic solution that `exact` asks for takes
minutes.
"""

from __future__ import annotations

from brian2 import Quantity, ms, mV, nS, pA, pF

from ..errors import ModelError
from .base import ReadyModel, ready

_MEMBRANE = """
dv/dt = (g_L*(E_L - v){adaptation} + I_ext + {syn})/C : volt (unless refractory)
I_ext : amp
C : farad (constant)
g_L : siemens (constant)
E_L : volt (constant)
V_r : volt (constant)
V_th : volt (constant)
t_ref : second (constant)
"""
_DEFAULTS = {
    "C": 200 * pF,
    "g_L": 10 * nS,
    "E_L": -70 * mV,
    "V_r": -65 * mV,
    "V_th": -50 * mV,
    "t_ref": 2 * ms,
    "tau_s": 5 * ms,
    "E_syn": 0 * mV,
}


def leaky_integrate_and_fire(synapse="current", **constants) -> ReadyModel:
    r"""Leaky integrate-and-fire neuron with an external current and one synapse type.

    .. math:: C \dot v = g_L (E_L - v) + I_{ext} + I_{syn}; \qquad v > V_{th}: v \leftarrow V_r

    Parameters
    ----------
    synapse : {'current', 'conductance', 'delta'}
        Exponential current (weight in ampere), exponential conductance towards ``E_syn`` (siemens), or a jump of
        ``v`` (volt).
    **constants : Quantity
        ``C``, ``g_L``, ``E_L``, ``V_r``, ``V_th``, ``t_ref``; ``tau_s`` and ``E_syn`` where the synapse has them.

    Returns
    -------
    ReadyModel

    Raises
    ------
    ModelError
        If a constant or the synapse is unknown, or a unit is wrong.

    References
    ----------
    Lapicque 1907; Gerstner, Kistler, Naud & Paninski 2014, Neuronal Dynamics, chapter 1.
    """
    return ready(
        "lif", _MEMBRANE.replace("{adaptation}", ""), _DEFAULTS, constants, synapse=synapse,
        threshold="v > V_th", reset="v = V_r", refractory="t_ref",
        reference="Lapicque 1907; Gerstner et al. 2014, Neuronal Dynamics, chapter 1",
    )  # fmt: skip


def adaptive_lif(synapse="current", **constants) -> ReadyModel:
    r"""Leaky integrate-and-fire neuron with subthreshold and spike-triggered adaptation.

    .. math::
        C \dot v = g_L (E_L - v) - u + I, \quad \tau_u \dot u = a (v - E_L) - u; \qquad
        v > V_{th}: v \leftarrow V_r,\; u \leftarrow u + b

    Parameters
    ----------
    synapse : {'current', 'conductance', 'delta'}
        As in `leaky_integrate_and_fire`.
    **constants : Quantity
        Those of `leaky_integrate_and_fire`, ``tau_u`` (second), ``a`` (siemens), ``b`` (ampere).

    Returns
    -------
    ReadyModel

    Raises
    ------
    ModelError
        As `leaky_integrate_and_fire`.

    References
    ----------
    Gerstner et al. 2014, Neuronal Dynamics, section 6.1 (with a linear membrane).
    """
    flow = _MEMBRANE.replace("{adaptation}", " - u") + (
        "du/dt = (a*(v - E_L) - u)/tau_u : amp\ntau_u : second (constant)\na : siemens (constant)\nb : amp (constant)\n"
    )
    own = {"tau_u": 120 * ms, "a": 2 * nS, "b": 40 * pA}
    return ready(
        "alif", flow, _DEFAULTS | own, constants, synapse=synapse, method="exponential_euler",
        threshold="v > V_th", reset="v = V_r; u += b", refractory="t_ref",
        reference="Gerstner et al. 2014, Neuronal Dynamics, section 6.1",
    )  # fmt: skip


def moving_threshold(synapse="current", **constants) -> ReadyModel:
    r"""Leaky integrate-and-fire neuron whose threshold jumps at a spike and follows the membrane.

    .. math::
        \tau_\theta \dot\theta = \kappa (v - E_L) - \theta; \qquad
        v > V_{th} + \theta: v \leftarrow V_r,\; \theta \leftarrow \theta + \Delta_\theta

    Parameters
    ----------
    synapse : {'current', 'conductance', 'delta'}
        As in `leaky_integrate_and_fire`.
    **constants : Quantity
        Those of `leaky_integrate_and_fire`, ``tau_theta`` (second), ``kappa`` (1), ``delta_theta`` (volt).

    Returns
    -------
    ReadyModel

    Raises
    ------
    ModelError
        As `leaky_integrate_and_fire`.

    References
    ----------
    Kobayashi, Tsubo & Shinomoto 2009, Front. Comput. Neurosci. 3:9; Platkiewicz & Brette 2010 (threshold that follows
    the membrane).
    """
    flow = _MEMBRANE.replace("{adaptation}", "") + (
        "dtheta/dt = (kappa*(v - E_L) - theta)/tau_theta : volt\n"
        "tau_theta : second (constant)\nkappa : 1 (constant)\ndelta_theta : volt (constant)\n"
    )
    own = {"tau_theta": 50 * ms, "kappa": Quantity(0.2), "delta_theta": 6 * mV}
    return ready(
        "moving-threshold", flow, _DEFAULTS | own, constants, synapse=synapse, method="exponential_euler",
        threshold="v > V_th + theta", reset="v = V_r; theta += delta_theta", refractory="t_ref",
        reference="Kobayashi, Tsubo & Shinomoto 2009; Platkiewicz & Brette 2010",
    )  # fmt: skip


def gif(n_currents=2, n_thresholds=2, synapse="current", **constants) -> ReadyModel:
    r"""Generalised integrate-and-fire neuron with any number of spike-triggered currents and threshold kernels.

    .. math::
        C \dot v = g_L (E_L - v) - \sum_j \eta_j + I, \quad \tau_{\eta j} \dot\eta_j = -\eta_j, \quad
        \tau_{\gamma k} \dot\gamma_k = -\gamma_k; \qquad
        v > V_{th} + \sum_k \gamma_k: v \leftarrow V_r,\; \eta_j \leftarrow \eta_j + b_j,\;
        \gamma_k \leftarrow \gamma_k + c_k

    Deterministic threshold; filters of another shape are gamma chains added with ``+ gamma_memory(...)``.

    Parameters
    ----------
    n_currents, n_thresholds : int
        Numbers of kernels, at least 0.
    synapse : {'current', 'conductance', 'delta'}
        As in `leaky_integrate_and_fire`.
    **constants : Quantity
        Those of `leaky_integrate_and_fire`, ``tau_eta{j}``, ``b{j}`` (ampere), ``tau_gamma{k}``, ``c{k}`` (volt).

    Returns
    -------
    ReadyModel

    Raises
    ------
    ModelError
        As `leaky_integrate_and_fire`; if a number of kernels is negative.

    References
    ----------
    Mensi, Naud, Pozzorini, Avermann, Petersen & Gerstner 2012, J. Neurophysiol. 107:1756; Pozzorini et al. 2015.
    """
    if n_currents < 0 or n_thresholds < 0:
        raise ModelError(f"gif: n_currents = {n_currents}, n_thresholds = {n_thresholds} must not be negative.")
    currents, thresholds = range(n_currents), range(n_thresholds)
    flow = _MEMBRANE.replace("{adaptation}", "".join(f" - eta{j}" for j in currents))
    defaults = dict(_DEFAULTS)
    for j in currents:
        flow += f"deta{j}/dt = -eta{j}/tau_eta{j} : amp\ntau_eta{j} : second (constant)\nb{j} : amp (constant)\n"
        defaults |= {f"tau_eta{j}": 10 * 6**j * ms, f"b{j}": 60 / 2**j * pA}
    for k in thresholds:
        flow += (
            f"dgamma{k}/dt = -gamma{k}/tau_gamma{k} : volt\ntau_gamma{k} : second (constant)\nc{k} : volt (constant)\n"
        )
        defaults |= {f"tau_gamma{k}": 8 * 8**k * ms, f"c{k}": 5 / 2**k * mV}
    kernels = [f"eta{j} += b{j}" for j in currents] + [f"gamma{k} += c{k}" for k in thresholds]
    return ready(
        "gif", flow, defaults, constants, synapse=synapse, method="exponential_euler", refractory="t_ref",
        threshold="v > " + " + ".join(["V_th", *(f"gamma{k}" for k in thresholds)]),
        reset="; ".join(["v = V_r", *kernels]),
        reference="Mensi et al. 2012, J. Neurophysiol. 107:1756; Pozzorini et al. 2015",
    )  # fmt: skip
