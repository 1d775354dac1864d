"""Fitting of one neuron's parameters to recorded spikes."""

from .coincidence import coincidence_factor, reliability
from .fitting import Fit, fit
from .neurons.models import FittingModel, fitting_model
from .neurons.parameters import Parameter, parameter
from .neurons.ready import FITTED
from .options import FitOptions
from .result import FitResult

__all__ = [
    "FITTED",
    "Fit",
    "FitOptions",
    "FitResult",
    "FittingModel",
    "Parameter",
    "coincidence_factor",
    "fit",
    "fitting_model",
    "parameter",
    "reliability",
]
