"""Gradient training for spiking networks written in Brian 2.

Everything public can be imported from here; a name's module is loaded when the name is first used.
"""

from importlib import import_module as _import_module
from importlib.metadata import version as _version

__version__ = _version("brian2grad")

_ROOMS = {
    "equations": (
        "exact_memory",
        "gamma_memory",
        "lif",
        "asynchronous_lif",
        "spiking_gamma",
        "derive_adjoint",
        "register_derivative",
        "ModelError",
    ),
    "models": ("AsynchronousNetwork", "AsynchronousSpikingGamma", "SpikingGammaNetwork", "StepEvents"),
    "models.errors": ("EngineError", "NetworkError"),
    "training": (
        "SGD",
        "Adam",
        "DataError",
        "EventArchive",
        "HybridProblem",
        "Run",
        "TrainingOptions",
        "final_loss",
        "integral_loss",
        "load",
        "load_splits",
        "make_task",
        "spike_loss",
        "train",
        "value_and_grad",
    ),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}
__all__ = ["__version__", *sorted(_ROOM_OF)]


def __getattr__(name: str):
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'brian2grad' has no attribute '{name}'")
    value = getattr(_import_module(f".{_ROOM_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return __all__
