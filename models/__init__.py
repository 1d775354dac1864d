"""How a network runs: Brian 2 networks, the compiled engine, and their agreement."""

from .asynchronous.network import AsynchronousNetwork
from .asynchronous_gamma.network import AsynchronousSpikingGamma
from .errors import EngineError, NetworkError
from .events import StepEvents, bin_events
from .gamma.network import SpikingGammaNetwork

__all__ = [
    "AsynchronousNetwork",
    "AsynchronousSpikingGamma",
    "EngineError",
    "NetworkError",
    "SpikingGammaNetwork",
    "StepEvents",
    "bin_events",
]
