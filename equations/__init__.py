"""What the dynamics are: Brian 2 equations, their units, and what is derived from them."""

from .asynchronous import AsynchronousModel, asynchronous_lif
from .brian.adjoint import Adjoint, derive_adjoint
from .brian.derivatives import register_derivative
from .errors import ModelError
from .gamma import SpikingGammaModel, gamma_memory, spiking_gamma
from .neurons import NeuronModel, lif
from .propagator import exact_memory

__all__ = [
    "Adjoint",
    "AsynchronousModel",
    "ModelError",
    "NeuronModel",
    "SpikingGammaModel",
    "asynchronous_lif",
    "derive_adjoint",
    "exact_memory",
    "gamma_memory",
    "lif",
    "register_derivative",
    "spiking_gamma",
]
