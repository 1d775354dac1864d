"""The neuron of asynchronous networks: leak between timesteps, jumps within them (Koopman et al. 2024)."""

from __future__ import annotations

import numpy as np
from brian2 import Quantity, second
from brian2.units.fundamentalunits import DIMENSIONLESS, get_dimensions, have_same_dimensions

from .errors import ModelError
from .neurons import NeuronModel

_REFERENCE = "Koopman, Yousefzadeh, Shahsavari, Tang & Sifalakis 2024, arXiv 2408.05098"
_EQUATIONS = """
dv/dt = -v/tau_m : 1
tau_m : second (constant)
V_th : 1 (constant)
P : 1
resting : boolean
received : integer
queued : integer
"""


class AsynchronousModel(NeuronModel):
    """A `NeuronModel` whose dynamics are split into timestep boundaries and forward steps.

    The differential equation acts once per timestep, over its whole length; within a timestep only `on_pre`,
    the threshold and the reset do. That is how the engines and the Brian 2 networks read one text.

    Parameters
    ----------
    model : str or Equations
        One linear differential equation without a constant part, and per-neuron parameters.
    on_pre : str
        The jump that one delivered spike causes, such as ``v_post += w``.
    boundary : str
        Statements executed for every neuron at the start of a timestep, after the leak.
    constants : dict
        Values of the parameters, scalars or one per neuron.
    once_per_timestep : bool
        Whether a neuron that has spiked loses all current until the next timestep.
    **arguments
        As in `NeuronModel`.
    """

    def __init__(self, model, *, on_pre, boundary, constants, once_per_timestep, **arguments):
        super().__init__(model, **arguments)
        self.on_pre = on_pre
        self.boundary = boundary
        self.constants = dict(constants)
        self.once_per_timestep = bool(once_per_timestep)


def asynchronous_lif(tau_m, V_th=1.0, *, refractory=True) -> AsynchronousModel:
    r"""Leaky integrate-and-fire neuron of an asynchronous network.

    .. math::
        \text{timestep of length } \Delta t:\quad v \leftarrow v\, e^{-\Delta t/\tau_m} \qquad
        \text{forward step}:\quad v \leftarrow v + \sum w, \qquad
        v > V_{th}:\; P \leftarrow v,\; v \leftarrow 0

    Parameters
    ----------
    tau_m : Quantity, second
        Membrane time constant, one value or one per neuron, shape (N,).
    V_th : float or (N,) array
        Threshold; a neuron spikes when ``v`` is strictly above it.
    refractory : bool
        Whether a neuron spikes at most once per timestep: once ``resting``, it loses current and stays at the
        reset value until the next timestep.

    Returns
    -------
    AsynchronousModel
        Variables ``v``; ``P``, the value of ``v`` at the latest spike of this timestep (else 0); ``resting``;
        ``received``, presynaptic spikes received in this timestep; ``queued``, own spikes not yet delivered.

    Raises
    ------
    ModelError
        If a time constant is not a positive time, a threshold is not finite, or the shapes do not agree.

    References
    ----------
    Koopman, Yousefzadeh, Shahsavari, Tang & Sifalakis 2024, arXiv 2408.05098
    """
    if not have_same_dimensions(tau_m, second):
        raise ModelError(f"tau_m = {tau_m!r} must be a time; write for example tau_m=10*ms.")
    tau = np.atleast_1d(np.asarray(tau_m, dtype=float))
    if not (np.isfinite(tau).all() and (tau > 0).all()):
        first = int(np.flatnonzero(~(np.isfinite(tau) & (tau > 0)))[0])
        raise ModelError(f"tau_m[{first}] = {tau.flat[first]:g} s: a time constant must be positive, finite.")
    if get_dimensions(V_th) is not DIMENSIONLESS:
        raise ModelError(f"V_th = {V_th!r} has a unit, but the membrane 'v' of asynchronous_lif has none.")
    threshold = np.atleast_1d(np.asarray(V_th, dtype=float))
    if not np.isfinite(threshold).all():
        first = int(np.flatnonzero(~np.isfinite(threshold))[0])
        raise ModelError(f"V_th[{first}] = {threshold.flat[first]}: a threshold must be a finite number.")
    for name, values in (("tau_m", tau), ("V_th", threshold)):
        if values.ndim != 1:
            raise ModelError(f"{name} has shape {values.shape}; give one value or one per neuron.")
    if len(tau) > 1 and len(threshold) > 1 and len(tau) != len(threshold):
        raise ModelError(f"tau_m has {len(tau)} values, V_th {len(threshold)}; both must be one per neuron.")
    return AsynchronousModel(
        _EQUATIONS,
        threshold="v > V_th",
        reset="v = 0",
        method="exact",
        on_pre="v_post += w",
        boundary="P = 0; resting = False; received = 0",
        constants={"tau_m": Quantity(np.squeeze(tau), dim=second.dim), "V_th": np.squeeze(threshold)},
        once_per_timestep=refractory,
        name="asynchronous_lif",
        reference=_REFERENCE,
    )
