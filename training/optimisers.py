"""Optimisers over named parameter arrays: plain state, nothing hidden, so that a run resumes bit for bit."""

from __future__ import annotations

import functools
import math

import numpy as np

from ..models.native.interface import library
from .errors import TrainingError


class SGD:
    """Stochastic gradient descent with momentum.

    Parameters
    ----------
    learning_rate : float
    momentum : float
        0 is plain gradient descent.
    """

    name = "sgd"
    moments = ("velocity",)

    def __init__(self, learning_rate: float = 0.1, momentum: float = 0.9):
        self.learning_rate, self.momentum = _positive(learning_rate, "learning_rate"), float(momentum)
        self.steps = 0
        self.state: dict[str, np.ndarray] = {}

    def step(self, parameters: dict, gradients: dict, factor: float = 1.0, info=None) -> None:
        """Update `parameters` in place.

        Parameters
        ----------
        parameters, gradients : dict of str to array
        factor : float
            Of the learning rate (schedules).
        info : dict of str to ParameterInfo, optional
            That of the network: a parameter of a size moves as its number of sizes would. Those of relative scale move
            by their gradient as it is.
        """
        self.steps += 1
        for name, gradient in gradients.items():
            velocity = _moment(self.state, f"velocity.{name}", parameters[name])
            velocity *= self.momentum
            velocity += gradient
            scale = 1.0 if info is None else info[name].size ** 2
            parameters[name] -= velocity * velocity.dtype.type(self.learning_rate * factor * scale)


class Adam:
    """Adam (Kingma & Ba 2015) with bias correction.

    Parameters
    ----------
    learning_rate : float
    beta1, beta2 : float
        Decay of the first and second moment.
    epsilon : float
        Added to the root of the second moment: the published algorithm's own constant.
    """

    name = "adam"
    moments = ("first", "second")

    def __init__(self, learning_rate: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8):
        self.learning_rate = _positive(learning_rate, "learning_rate")
        self.beta1, self.beta2, self.epsilon = float(beta1), float(beta2), float(epsilon)
        self.steps = 0
        self.state: dict[str, np.ndarray] = {}

    def step(self, parameters: dict, gradients: dict, factor: float = 1.0, info=None) -> None:
        """Update `parameters` in place.

        Parameters
        ----------
        parameters, gradients : dict of str to array
        factor : float
            Of the learning rate (schedules).
        info : dict of str to ParameterInfo, optional
            That of the network: a parameter moves in units of its size.
        """
        self.steps += 1
        bias1, bias2 = 1 - self.beta1**self.steps, 1 - self.beta2**self.steps
        rate = self.learning_rate * factor * math.sqrt(bias2) / bias1
        for name, gradient in gradients.items():
            value, scale = parameters[name], 1.0 if info is None else info[name].measure(parameters[name])
            moments = [_moment(self.state, f"{which}.{name}", value) for which in self.moments]
            epsilon = self.epsilon * math.sqrt(bias2)
            _update(name, [value, *moments, gradient], rate * scale, self.beta1, self.beta2, epsilon)


def _moment(state: dict, name: str, value: np.ndarray) -> np.ndarray:
    """A moment of a parameter, zeros at first."""
    if name not in state:
        state[name] = np.zeros(value.shape, value.dtype)
    return state[name]


def _update(name: str, arrays: list[np.ndarray], *numbers: float) -> None:
    """One compiled update of a parameter and its moments: `arrays` are these, then the gradient."""
    value = arrays[0]
    for what, array in zip(("parameter", *Adam.moments, "gradient"), arrays, strict=True):
        if array.shape != value.shape or array.dtype.kind != "f":
            raise TrainingError(
                f"{name}: the {what} is {array.dtype} of shape {array.shape}; expected floats of shape {value.shape}."
            )
    dtype = np.dtype(np.float32 if value.dtype == np.float32 else np.float64)
    rows = [np.ascontiguousarray(array, dtype) for array in arrays]
    ffi, lib = _compiled(dtype)
    pointers = [ffi.from_buffer("R[]", row, require_writable=row is not rows[-1]) for row in rows]
    lib.adam(value.size, *pointers, *numbers)
    for array, row in zip(arrays[:-1], rows[:-1], strict=True):
        if row is not array:
            array[...] = row.reshape(array.shape)


@functools.cache
def _compiled(dtype: np.dtype):
    return library('#include "native/adam.hpp"', "native/adam.h", dtype.name)


class Averaged:
    """An optimiser that also keeps a running average of the parameters, in which the noise of single batches is gone.

    The average after n updates weighs the parameters after update k by ``decay**(n - k)``; nothing of the initial ones
    remains in it.

    Parameters
    ----------
    optimiser : Adam or SGD
        Moves the parameters; the average is kept beside its moments.
    decay : float
        In (0, 1); the average reaches back over about ``1/(1 - decay)`` updates.
    """

    def __init__(self, optimiser, decay: float):
        if not 0 < decay < 1:
            raise TrainingError(f"decay = {decay} of an average must lie between 0 and 1.")
        self.optimiser, self.decay = optimiser, float(decay)
        self.name, self.moments = optimiser.name, (*optimiser.moments, "average")

    @property
    def steps(self) -> int:
        """Updates so far."""
        return self.optimiser.steps

    @steps.setter
    def steps(self, value: int):
        self.optimiser.steps = value

    @property
    def state(self) -> dict[str, np.ndarray]:
        """Moments and averages by name."""
        return self.optimiser.state

    @state.setter
    def state(self, value: dict[str, np.ndarray]):
        self.optimiser.state = value

    def step(self, parameters: dict, gradients: dict, factor: float = 1.0, info=None) -> None:
        """Update `parameters` in place, and their average."""
        self.optimiser.step(parameters, gradients, factor, info)
        for name in gradients:
            value = parameters[name]
            average = _moment(self.state, f"average.{name}", value)
            average += (value - average) * value.dtype.type((1 - self.decay) / (1 - self.decay**self.steps))

    def exchange(self, parameters: dict) -> None:
        """Exchange the parameters that learn and their average, in place; a second call undoes it."""
        for name, value in parameters.items():
            average = self.state.get(f"average.{name}")
            if average is not None:  # what has no gradient does not move
                learning = value.copy()
                value[...] = average
                average[...] = learning


OPTIMISERS = {"adam": Adam, "sgd": SGD}


def make_optimiser(name: str, learning_rate: float, average: float = 0.0):
    """Return a new optimiser by name, with a running average of what it moves where `average` is its decay."""
    if name not in OPTIMISERS:
        raise TrainingError(f"optimiser '{name}' is unknown; use one of {', '.join(OPTIMISERS)}.")
    optimiser = OPTIMISERS[name](learning_rate)
    return Averaged(optimiser, average) if average else optimiser


def schedule_factor(name: str, step: int, total: int, warmup: int = 0) -> float:
    """Factor of the learning rate at `step` of `total`.

    Parameters
    ----------
    name : {'constant', 'cosine'}
    warmup : int
        Steps of linear rise before.
    """
    if step < warmup:
        return (step + 1) / warmup
    if name == "constant":
        return 1.0
    if name == "cosine":
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))
    raise TrainingError(f"schedule '{name}' is unknown; use 'constant' or 'cosine'.")


def ramp(name: str, start: float, progress: float) -> float:
    """Factor that rises or falls from `start` to one while `progress` goes from 0 to 1.

    Parameters
    ----------
    name : {'linear', 'cosine'}
    """
    p = min(1.0, max(0.0, progress))
    if name == "cosine":
        p = 0.5 * (1 - math.cos(math.pi * p))
    elif name != "linear":
        raise TrainingError(f"theta_schedule '{name}' is unknown; use 'linear' or 'cosine'.")
    return start + (1 - start) * p


def _positive(value, name) -> float:
    if not (np.isfinite(value) and value > 0):
        raise TrainingError(f"{name} = {value} must be positive.")
    return float(value)
