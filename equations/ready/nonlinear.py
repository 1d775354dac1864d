"""Neurons with nonlinear flow: their spikes are located inside an adaptive integration."""

from __future__ import annotations

from brian2 import cm, mS, ms, mV, nS, pA, pF, uF

from .base import ReadyModel, ready

_EXPONENTIAL = """
dv/dt = (g_L*(E_L - v) + g_L*Delta_T*exp((v - V_T)/Delta_T){adaptation} + I_ext + {syn})/C : volt (unless refractory)
I_ext : amp
C : farad (constant)
g_L : siemens (constant)
E_L : volt (constant)
Delta_T : volt (constant)
V_T : volt (constant)
V_r : volt (constant)
V_peak : volt (constant)
t_ref : second (constant)
"""
_SYNAPTIC = {"tau_s": 5 * ms, "E_syn": 0 * mV}
_EXPONENTIAL_DEFAULTS = {
    "C": 281 * pF,
    "g_L": 30 * nS,
    "E_L": -70.6 * mV,
    "Delta_T": 2 * mV,
    "V_T": -50.4 * mV,
    "V_r": -70.6 * mV,
    "V_peak": -40 * mV,
    "t_ref": 2 * ms,
    **_SYNAPTIC,
}


def exponential_if(synapse="current", **constants) -> ReadyModel:
    r"""Exponential integrate-and-fire neuron.

    .. math:: C \dot v = g_L (E_L - v) + g_L \Delta_T e^{(v - V_T)/\Delta_T} + I; \qquad v > V_{peak}: v \leftarrow V_r

    Parameters
    ----------
    synapse : {'current', 'conductance', 'delta'}
        As in `leaky_integrate_and_fire`.
    **constants : Quantity
        ``C``, ``g_L``, ``E_L``, ``Delta_T``, ``V_T``, ``V_r``, ``V_peak``, ``t_ref``; those of the synapse.

    Returns
    -------
    ReadyModel

    Raises
    ------
    ModelError
        If a constant or the synapse is unknown, or a unit is wrong.

    References
    ----------
    Fourcaud-Trocmé, Hansel, van Vreeswijk & Brunel 2003, J. Neurosci. 23:11628.
    """
    return ready(
        "eif", _EXPONENTIAL.replace("{adaptation}", ""), _EXPONENTIAL_DEFAULTS, constants, synapse=synapse,
        threshold="v > V_peak", reset="v = V_r", refractory="t_ref", method="exponential_euler",
        reference="Fourcaud-Trocmé et al. 2003, J. Neurosci. 23:11628",
    )  # fmt: skip


def adex(synapse="current", **constants) -> ReadyModel:
    r"""Adaptive exponential integrate-and-fire neuron.

    .. math::
        C \dot v = g_L (E_L - v) + g_L \Delta_T e^{(v - V_T)/\Delta_T} - u + I, \quad
        \tau_w \dot u = a (v - E_L) - u; \qquad v > V_{peak}: v \leftarrow V_r,\; u \leftarrow u + b

    The adaptation current is called ``u``, as ``w`` is the weight of a synapse.

    Parameters
    ----------
    synapse : {'current', 'conductance', 'delta'}
        As in `leaky_integrate_and_fire`.
    **constants : Quantity
        Those of `exponential_if`, ``tau_w`` (second), ``a`` (siemens), ``b`` (ampere).

    Returns
    -------
    ReadyModel

    Raises
    ------
    ModelError
        As `exponential_if`.

    References
    ----------
    Brette & Gerstner 2005, J. Neurophysiol. 94:3637.
    """
    flow = _EXPONENTIAL.replace("{adaptation}", " - u") + (
        "du/dt = (a*(v - E_L) - u)/tau_w : amp\ntau_w : second (constant)\na : siemens (constant)\nb : amp (constant)\n"
    )
    own = {"tau_w": 144 * ms, "a": 4 * nS, "b": 80.5 * pA}
    return ready(
        "adex", flow, _EXPONENTIAL_DEFAULTS | own, constants, synapse=synapse, method="exponential_euler",
        threshold="v > V_peak", reset="v = V_r; u += b", refractory="t_ref",
        reference="Brette & Gerstner 2005, J. Neurophysiol. 94:3637",
    )  # fmt: skip


def quadratic_if(synapse="current", **constants) -> ReadyModel:
    r"""Quadratic integrate-and-fire neuron: spikes appear and vanish only at the end of a trial.

    .. math:: C \dot v = k (v - E_L)(v - V_c) + I; \qquad v > V_{peak}: v \leftarrow V_r

    Parameters
    ----------
    synapse : {'current', 'conductance', 'delta'}
        As in `leaky_integrate_and_fire`.
    **constants : Quantity
        ``C``, ``k`` (siemens/volt), ``E_L``, ``V_c`` (critical voltage), ``V_r``, ``V_peak``; those of the synapse.

    Returns
    -------
    ReadyModel

    Raises
    ------
    ModelError
        If a constant or the synapse is unknown, or a unit is wrong.

    References
    ----------
    Latham, Richmond, Nelson & Nirenberg 2000, J. Neurophysiol. 83:808; spike-time training: arXiv 2606.03935.
    """
    flow = """
    dv/dt = (k*(v - E_L)*(v - V_c) + I_ext + {syn})/C : volt
    I_ext : amp
    C : farad (constant)
    k : siemens/volt (constant)
    E_L : volt (constant)
    V_c : volt (constant)
    V_r : volt (constant)
    V_peak : volt (constant)
    """
    defaults = {"C": 200 * pF, "k": 0.7 * nS / mV, "E_L": -60 * mV, "V_c": -45 * mV, "V_r": -65 * mV, "V_peak": 30 * mV}
    return ready(
        "qif", flow, defaults | _SYNAPTIC, constants, synapse=synapse, method="rk4",
        threshold="v > V_peak", reset="v = V_r",
        reference="Latham et al. 2000, J. Neurophysiol. 83:808",
    )  # fmt: skip


def izhikevich(synapse="current", **constants) -> ReadyModel:
    r"""Izhikevich's neuron in its form with physical units.

    .. math::
        C \dot v = k (v - v_r)(v - v_t) - u + I, \quad \dot u = a (b (v - v_r) - u); \qquad
        v > V_{peak}: v \leftarrow c,\; u \leftarrow u + d

    Parameters
    ----------
    synapse : {'current', 'conductance', 'delta'}
        As in `leaky_integrate_and_fire`.
    **constants : Quantity
        ``C``, ``k`` (siemens/volt), ``E_L`` (the paper's v_r), ``V_c`` (v_t), ``V_peak``, ``a`` (hertz), ``b``
        (siemens), ``c`` (volt), ``d`` (ampere); those of the synapse. Default: a regular spiking cell.

    Returns
    -------
    ReadyModel

    Raises
    ------
    ModelError
        As `quadratic_if`.

    References
    ----------
    Izhikevich 2007, Dynamical Systems in Neuroscience, section 8.2.
    """
    flow = """
    dv/dt = (k*(v - E_L)*(v - V_c) - u + I_ext + {syn})/C : volt
    du/dt = a*(b*(v - E_L) - u) : amp
    I_ext : amp
    C : farad (constant)
    k : siemens/volt (constant)
    E_L : volt (constant)
    V_c : volt (constant)
    V_peak : volt (constant)
    a : hertz (constant)
    b : siemens (constant)
    c : volt (constant)
    d : amp (constant)
    """
    defaults = {
        "C": 100 * pF, "k": 0.7 * nS / mV, "E_L": -60 * mV, "V_c": -40 * mV, "V_peak": 35 * mV, "a": 0.03 / ms,
        "b": -2 * nS, "c": -50 * mV, "d": 100 * pA,
    }  # fmt: skip
    return ready(
        "izhikevich", flow, defaults | _SYNAPTIC, constants, synapse=synapse, method="rk4",
        threshold="v > V_peak", reset="v = c; u += d",
        reference="Izhikevich 2007, Dynamical Systems in Neuroscience, section 8.2",
    )  # fmt: skip


def hodgkin_huxley(synapse="current", **constants) -> ReadyModel:
    r"""Hodgkin and Huxley's neuron per patch of membrane; a spike is an upward crossing, and nothing is reset.

    .. math:: C \dot v = g_L (E_L - v) + g_{Na} m^3 h (E_{Na} - v) + g_K n^4 (E_K - v) + I

    The rates of the gates are those of the squid axon moved to a resting potential of -65 mV, with ``exprel`` for the
    two that would be 0/0 at one voltage.

    Parameters
    ----------
    synapse : {'current', 'conductance', 'delta'}
        As in `leaky_integrate_and_fire`.
    **constants : Quantity
        ``C`` (farad), ``g_L``, ``g_Na``, ``g_K`` (siemens), ``E_L``, ``E_Na``, ``E_K``, ``V_th`` (volt, where a spike
        is counted), ``t_ref``; those of the synapse. Default: 0.02 mm2 of membrane.

    Returns
    -------
    ReadyModel

    Raises
    ------
    ModelError
        If a constant or the synapse is unknown, or a unit is wrong.

    References
    ----------
    Hodgkin & Huxley 1952, J. Physiol. 117:500.
    """
    flow = """
    dv/dt = (g_L*(E_L - v) + g_Na*m**3*h*(E_Na - v) + g_K*n**4*(E_K - v) + I_ext + {syn})/C : volt
    dm/dt = alpha_m*(1 - m) - beta_m*m : 1
    dh/dt = alpha_h*(1 - h) - beta_h*h : 1
    dn/dt = alpha_n*(1 - n) - beta_n*n : 1
    alpha_m = 1/exprel(-(v + 40*mV)/(10*mV))/ms : Hz
    beta_m = 4*exp(-(v + 65*mV)/(18*mV))/ms : Hz
    alpha_h = 0.07*exp(-(v + 65*mV)/(20*mV))/ms : Hz
    beta_h = 1/(1 + exp(-(v + 35*mV)/(10*mV)))/ms : Hz
    alpha_n = 0.1/exprel(-(v + 55*mV)/(10*mV))/ms : Hz
    beta_n = 0.125*exp(-(v + 65*mV)/(80*mV))/ms : Hz
    I_ext : amp
    C : farad (constant)
    g_L : siemens (constant)
    g_Na : siemens (constant)
    g_K : siemens (constant)
    E_L : volt (constant)
    E_Na : volt (constant)
    E_K : volt (constant)
    V_th : volt (constant)
    t_ref : second (constant)
    """
    patch = (0.02 * 1e-2) * cm**2  # 0.02 mm2
    defaults = {
        "C": 1 * uF / cm**2 * patch, "g_L": 0.3 * mS / cm**2 * patch, "g_Na": 120 * mS / cm**2 * patch,
        "g_K": 36 * mS / cm**2 * patch, "E_L": -54.4 * mV, "E_Na": 50 * mV, "E_K": -77 * mV, "V_th": 0 * mV,
        "t_ref": 3 * ms,
    }  # fmt: skip
    rest = ("v = -65*mV", "m = 0.0529", "h = 0.596", "n = 0.317")
    return ready(
        "hodgkin-huxley", flow, defaults | _SYNAPTIC, constants, synapse=synapse, initial=rest,
        threshold="v > V_th", reset="", refractory="t_ref", method="exponential_euler",
        reference="Hodgkin & Huxley 1952, J. Physiol. 117:500",
    )  # fmt: skip
