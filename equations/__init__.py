"""What the dynamics are: Brian 2 equations, their units, and what is derived from them."""

from .asynchronous import AsynchronousModel, asynchronous_lif
from .errors import ModelError
from .gamma import SpikingGammaModel, gamma_memory, spiking_gamma
from .neurons import NeuronModel, lif
from .propagator import exact_memory

__all__ = [
    "AsynchronousModel",
    "ModelError",
    "NeuronModel",
    "SpikingGammaModel",
    "asynchronous_lif",
    "exact_memory",
    "gamma_memory",
    "lif",
    "spiking_gamma",
]
