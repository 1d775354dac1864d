"""Ready neurons with the bounds within which they are fitted, for an injected current or for a drive without a unit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from brian2 import Quantity, ms, mV, nS, pA, pF

from ....equations.ready import (
    adaptive_lif,
    adex,
    filtered_gif,
    leaky_integrate_and_fire,
    quadratic_if,
)
from ...errors import TrainingError
from .models import DELAY, SPREAD, STIMULUS, FittingModel
from .parameters import parameter

PLAIN = Quantity(1.0)
E_L, V_TH = -70 * mV, -50 * mV
BUCKETS, GROWTH = 4, 3.0  # of `gif`: time constants from tau to 27 tau
INPUTS = 2  # of `lif`: buckets of an input that is no current

# Start and bounds. E_L and, while the likelihood is maximised, V_th say what a volt is: only the spikes are known.
_MEMBRANE = {
    "C": (150 * pF, 10 * pF, 2000 * pF),
    "g_L": (7 * nS, 0.5 * nS, 100 * nS),
    "V_r": (-62 * mV, -150 * mV, -50.5 * mV),
    "t_ref": (3 * ms, 0.2 * ms, 15 * ms),
}
# A drive without a unit brings its gain and its offset; a membrane time constant is all that is left of the membrane.
_DRIVE = {"gain": (100 * pA, 2 * pA, 5000 * pA), "I_0": (100 * pA, -1000 * pA, 1000 * pA)}
_SLOW = {"tau_slow": (2000 * ms, 300 * ms, 20000 * ms), "c_slow": (0.01 * mV, -0.1 * mV, 1 * mV)}
_DELAY = (0.3 * ms, 0 * ms, 3 * ms)
_LONG_DELAY = (5 * ms, 0 * ms, 12 * ms)


def _model(name, model, bounds, fixed, current: bool, **more) -> FittingModel:
    """Put a model together for an input that is a current, or has no unit."""
    bounds = dict(bounds)
    if more.get("threshold", "V_th"):
        bounds["V_th"] = V_TH, -69 * mV, -30 * mV
    if current:
        drive = f"{STIMULUS}(t)"
    else:
        bounds.pop("g_L", None)
        bounds |= _DRIVE
        model = model + "gain : amp (constant)\nI_0 : amp (constant)"
        drive = f"I_0 + gain*{STIMULUS}(t)"
    found = [parameter(key, *value) for key, value in bounds.items()]
    found.append(parameter(DELAY, *(_DELAY if current else _LONG_DELAY), log=False))
    constants = {**model.constants, **fixed, **{key: value[0] for key, value in bounds.items()}}
    return FittingModel(name, model, constants, tuple(found), dict(model.initial), drive=drive, **more)


def lif(current: bool = True, n_inputs: int = INPUTS) -> FittingModel:
    """Leaky integrate-and-fire neuron; its input in buckets where it is no current."""
    if current or not n_inputs:
        return _model("lif", leaky_integrate_and_fire("delta"), _MEMBRANE, {"E_L": E_L}, current)
    fixed = {"E_L": E_L, "a": PLAIN, "kappa": 0 * PLAIN}
    model = filtered_gif(0, 0, n_inputs, synapse="delta")
    return _model("lif", model, _MEMBRANE | _chains(0, 0, n_inputs), fixed, current)


def alif(current: bool = True) -> FittingModel:
    """... with one adaptation current."""
    own = {
        "tau_u": (80 * ms, 3 * ms, 5000 * ms),
        "a": (0 * nS, -5 * nS, 20 * nS),
        "b": (30 * pA, -200 * pA, 1000 * pA),
    }
    return _model("alif", adaptive_lif("delta"), _MEMBRANE | own, {"E_L": E_L}, current)


def moving_threshold(current: bool = True) -> FittingModel:
    """... with one spike-triggered current and one threshold that jumps at spikes."""
    own = _chains(1, 1, 0) | ({} if current else _SLOW)
    fixed = {"E_L": E_L, "kappa": 0 * PLAIN}
    return _model(
        "moving-threshold", filtered_gif(1, 1, slow=not current, synapse="delta"), _MEMBRANE | own, fixed, current
    )


def gif(current: bool = True, buckets: int = BUCKETS) -> FittingModel:
    """Spike-triggered current and threshold in buckets, threshold that follows the membrane; input in buckets, too,
    where it is no current.
    """
    n_inputs = 0 if current else buckets
    own = _chains(buckets, buckets, n_inputs) | ({} if current else _SLOW)
    own |= {"kappa": (0.3 * PLAIN, -0.5 * PLAIN, 1.5 * PLAIN), "tau_theta": (8 * ms, 0.5 * ms, 200 * ms)}
    fixed = {"E_L": E_L} | ({"a": PLAIN} if n_inputs else {})
    return _model(
        "gif", filtered_gif(buckets, buckets, n_inputs, GROWTH, not current, "delta"), _MEMBRANE | own, fixed, current
    )


def _chains(n_currents, n_thresholds, n_inputs) -> dict:
    found = {}
    if n_currents:
        found["tau_eta"] = (20 * ms, 1 * ms, 300 * ms)
        found |= {f"b{k}": (20 * pA, -3000 * pA, 3000 * pA) for k in range(n_currents)}
    if n_thresholds:
        found["tau_gamma"] = (15 * ms, 1 * ms, 300 * ms)
        found |= {f"c{k}": (2 * mV, -60 * mV, 60 * mV) for k in range(n_thresholds)}
    if n_inputs:
        found["tau_x"] = (1 * ms, 0.1 * ms, 20 * ms)
        found |= {f"a{k}": (0 * PLAIN, -4 * PLAIN, 4 * PLAIN) for k in range(n_inputs)}
    return found


def adaptive_exponential(current: bool = True) -> FittingModel:
    """Adaptive exponential neuron; it starts from the fitted `alif`."""
    own = {
        "V_T": (-52 * mV, -60 * mV, -42 * mV),
        "Delta_T": (1 * mV, 0.6 * mV, 8 * mV),
        "tau_w": (80 * ms, 3 * ms, 5000 * ms),
        "a": (0 * nS, -5 * nS, 20 * nS),
        "b": (30 * pA, -200 * pA, 1000 * pA),
    }
    fixed = {"E_L": E_L, "V_peak": -40 * mV}
    before = partial(_linear_before, alif, _sharp_exponential, current)
    return _model("adex", adex("delta"), _MEMBRANE | own, fixed, current, threshold=None, level="V_T", before=before)


# Functions of the module, as those within another function cannot be sent to another process.
def _linear_before(linear, translate, current: bool) -> tuple[FittingModel, Callable]:
    return linear(current), translate


def _sharp_exponential(found: dict) -> dict:
    """Values of `alif` for the exponential neuron, which fires a little above V_T, the linear one's threshold."""
    values = {k: found[k] for k in ("C", "g_L", "V_r", "t_ref", "b", DELAY, "gain", "I_0", SPREAD) if k in found}
    return values | {"V_T": found["V_th"] - 1e-3, "Delta_T": 1e-3, "tau_w": found["tau_u"], "a": found["a"]}


def _same_slope_at_rest(found: dict) -> dict:
    """Values of `lif` for the quadratic neuron."""
    values = {k: found[k] for k in ("C", "V_r", DELAY, "gain", "I_0", SPREAD) if k in found}
    return values | {"V_c": found["V_th"], "k": found["g_L"] / (found["V_th"] - float(E_L))}


def quadratic(current: bool = True) -> FittingModel:
    """Quadratic integrate-and-fire neuron; it starts from the fitted `lif`."""
    own = {
        "C": _MEMBRANE["C"],
        "k": (0.5 * nS / mV, 0.01 * nS / mV, 10 * nS / mV),
        "V_c": (-52 * mV, -65 * mV, -35 * mV),
        "V_r": _MEMBRANE["V_r"],
    }
    fixed = {"E_L": E_L, "V_peak": -20 * mV}
    before = partial(_linear_before, partial(lif, n_inputs=0), _same_slope_at_rest, current)
    return _model("qif", quadratic_if("delta"), own, fixed, current, threshold=None, level="V_c", before=before)


FITTED: dict[str, Callable[..., FittingModel]] = {
    "lif": lif,
    "alif": alif,
    "moving-threshold": moving_threshold,
    "gif": gif,
    "adex": adaptive_exponential,
    "qif": quadratic,
}


def ready_model(name: str, current: bool) -> FittingModel:
    """A ready neuron by its name, for an input that is a current or has no unit.

    Raises
    ------
    TrainingError
    """
    if name not in FITTED:
        raise TrainingError(f"'{name}' is no neuron to fit; there are {', '.join(FITTED)}, or give MODEL.py:OBJECT.")
    return FITTED[name](current)
