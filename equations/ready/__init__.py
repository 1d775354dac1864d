"""Ready neurons of the literature: every number is a named constant with a unit, so that a gradient can change it."""

from .base import ReadyModel
from .filtered import filtered_gif
from .gamma import exact_spiking_gamma
from .linear import adaptive_lif, gif, leaky_integrate_and_fire, moving_threshold
from .nonlinear import adex, exponential_if, hodgkin_huxley, izhikevich, quadratic_if

READY = {
    "lif": leaky_integrate_and_fire,
    "alif": adaptive_lif,
    "moving-threshold": moving_threshold,
    "gif": gif,
    "eif": exponential_if,
    "adex": adex,
    "qif": quadratic_if,
    "izhikevich": izhikevich,
    "hodgkin-huxley": hodgkin_huxley,
}

__all__ = [
    "READY",
    "ReadyModel",
    "adaptive_lif",
    "adex",
    "exact_spiking_gamma",
    "exponential_if",
    "filtered_gif",
    "gif",
    "hodgkin_huxley",
    "izhikevich",
    "leaky_integrate_and_fire",
    "moving_threshold",
    "quadratic_if",
]
