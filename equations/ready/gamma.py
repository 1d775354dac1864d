"""The SpikingGamma neuron as a hybrid system whose numbers are constants: for the exact gradient of its spikes.

The *decoded* gradient of `models.gamma` takes the spike code as transparent and differentiates the memory. Here the
spikes themselves are differentiated. Both are kept apart by name: nothing exact is ever taken from a decoded one.
"""

from __future__ import annotations

from brian2 import Quantity, ms

from ..errors import ModelError
from .base import ReadyModel


def exact_spiking_gamma(K=4, **constants) -> ReadyModel:
    r"""SpikingGamma neuron with its spikes as events in continuous time.

    .. math::
        \tau_0 \dot z_0 = I - z_0,\; \tau_k \dot z_k = z_{k-1} - z_k,\; y = \max(\textstyle\sum_k v_k z_k + b, 0),\;
        \tau_0 \dot{\hat y} = -\hat y; \qquad y - \hat y > \theta: \hat y \leftarrow \hat y + 2\theta

    Parameters
    ----------
    K : int
        Buckets.
    **constants : Quantity
        ``tau{k}`` (second), ``v{k}``, ``b``, ``theta`` (1).

    Returns
    -------
    ReadyModel
        A spike adds the weight to bucket 0, so that ``w`` holds the sender's jump of twice its threshold.

    Raises
    ------
    ModelError
        If `K` is not positive or a constant is unknown.

    References
    ----------
    Koopman, Otte & Bohté 2026, arXiv 2602.01978 (the neuron; its gradient there is the decoded one).
    """
    if K < 1:
        raise ModelError(f"exact_spiking_gamma: K = {K} must be positive.")
    lines = ["dz0/dt = (I_ext - z0)/tau0 : 1", "I_ext : 1"]
    lines += [f"dz{k}/dt = (z{k - 1} - z{k})/tau{k} : 1" for k in range(1, K)]
    lines += [f"tau{k} : second (constant)\nv{k} : 1 (constant)" for k in range(K)]
    lines += [
        "x = " + " + ".join(f"v{k}*z{k}" for k in range(K)) + " + b : 1",
        "y = x*int(x > 0) : 1",
        "dyhat/dt = -yhat/tau0 : 1",
        "b : 1 (constant)",
        "theta : 1 (constant)",
    ]
    defaults = {f"tau{k}": 10 * 1.5**k * ms for k in range(K)} | {f"v{k}": Quantity(1 / K) for k in range(K)}
    defaults |= {"b": Quantity(0.0), "theta": Quantity(0.1)}
    unknown = sorted(constants.keys() - defaults.keys())
    if unknown:
        raise ModelError(f"'exact_spiking_gamma' has no constant '{unknown[0]}'; it has {', '.join(defaults)}.")
    return ReadyModel(
        "\n".join(lines), constants=defaults | constants, on_pre="z0_post += w", weight_unit="1",
        threshold="y - yhat > theta", reset="yhat += 2*theta", method="exponential_euler", name="exact_spiking_gamma",
        reference="Koopman, Otte & Bohté 2026, arXiv 2602.01978",
    )  # fmt: skip
