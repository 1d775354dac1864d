"""How a network runs: Brian 2 networks, the compiled engine, and their agreement."""

from .asynchronous import AsynchronousNetwork
from .asynchronous_gamma import AsynchronousSpikingGamma
from .errors import EngineError, NetworkError
from .events import StepEvents, bin_events
from .spiking_gamma import SpikingGammaNetwork

__all__ = [
    "AsynchronousNetwork",
    "AsynchronousSpikingGamma",
    "EngineError",
    "NetworkError",
    "SpikingGammaNetwork",
    "StepEvents",
    "bin_events",
]
