"""Gradients as values: which derivative a network is asked for. Networks run them; training only passes them on.

A network lists the kinds it can compute in `gradients_accepted`, its default first; `accepted` refuses every other
one. Texts are read at the edges by `parse_gradient`: from the command line, in recipes, and by `loss_and_grad`.

`Filter`, `Online`, `Direct` and `Detached` are decoded gradients of SpikingGamma networks: the sigma-delta code is
taken as transparent, and they differ in how errors pass a hidden layer's buckets. `Unlayered` is the surrogate gradient
of asynchronous networks. `Exact` is that of a spiking system in continuous time.

References
----------
Koopman, Otte & Bohté 2026, arXiv 2602.01978
Koopman, Yousefzadeh, Shahsavari, Tang & Sifalakis 2024, arXiv 2408.05098
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Integral
from typing import ClassVar

import numpy as np

from .errors import NetworkError

STEEPNESS = {"arctan": 2.0, "fast_sigmoid": 25.0, "sigmoid": 1.0}  # by surrogate
CHOICES = {
    "variant": ("v1", "v2"),
    "state": ("full", "cut"),
    "reset": ("attached", "detached"),
    "surrogate": tuple(STEEPNESS),
    "filler": ("first", "random", "all", "none"),
}


@dataclass
class Gradient:
    """Loss of a batch, its gradient and what the network did.

    Attributes
    ----------
    loss : float
        Mean over samples.
    gradients : dict of str to array
        Names and shapes of the network's ``parameters``, clipped; in the inverse of their units.
    outcome : object
        Of the run: what `forward` or `run` of the network returns.
    outputs : (n_samples, T, n_out) array
        Readout, or output counts.
    n_spikes : int
        Spikes of the batch in the neurons over which the network averages them.
    norm : float or None
        Joint norm before clipping; ``None`` where nothing was to be clipped.
    """

    loss: float
    gradients: dict[str, np.ndarray]
    outcome: object
    outputs: np.ndarray
    n_spikes: int
    norm: float | None = None


@dataclass(frozen=True)
class Filter:
    """Back through the gamma memory in time, exactly.

    Attributes
    ----------
    clip : float, optional
        Largest joint norm of a gradient; by default it is not limited.
    """

    name: ClassVar[str] = "filter"
    clip: float | None = None


@dataclass(frozen=True)
class Direct:
    """Every bucket counts as what it would hold of a constant signal, at once.

    Attributes
    ----------
    clip : float, optional
        As in `Filter`.
    """

    name: ClassVar[str] = "direct"
    clip: float | None = None


@dataclass(frozen=True)
class Detached:
    """Only bucket 0 counts as an instantaneous copy, the others as constants.

    Attributes
    ----------
    clip : float, optional
        As in `Filter`.
    """

    name: ClassVar[str] = "detached"
    clip: float | None = None


@dataclass(frozen=True)
class Unlayered:
    r"""Surrogate gradient through the forward steps that an asynchronous run really took; every choice has a name.

    Attributes
    ----------
    variant : {'v1', 'v2'}
        ``'v1'``: a neuron has a surrogate term only in steps in which it took current, and the arctan has slope 1 at
        threshold (for steepness 2); the published one also has a gradient through the synchronisation test at threshold
        0, ours from ``sigma=1`` on. ``'v2'``: every neuron has one in every step, and the arctan has slope 1/pi. It
        costs a pass over all neurons per forward step; v1 costs what the tape holds.
    state : {'full', 'cut'}
        Whether gradients flow from one forward step to the next through the membrane.
    reset : {'attached', 'detached'}
        Whether they flow through the reset.
    surrogate : {'arctan', 'fast_sigmoid', 'sigmoid'}
    steepness : float, optional
        2, 25, 1 by default.
    scale : float
        Factor of the surrogate derivative.
    filler : {'first', 'random', 'all', 'none'}
        Silent neurons in the free slots of a forward group: the first ones by number, what a stable sort gives; a run
        of neighbours that starts anywhere; all of them at every step, as if zeros needed no slot (the forward pass is
        the same, and every silent neuron learns, at the cost of all rows per step); none.
    truncate : int
        Cut all chains at every so many forward steps of a sample; 0 never.
    cut_timesteps : bool
        Cut them between timesteps, as if every timestep was learnt on its own.
    clip : float or None
        Largest joint norm of a gradient.

    Notes
    -----
    A drained run leaves a tape: for every forward step the group that was delivered, the neurons that took current with
    their membrane before the test, and those that spiked. In reverse, with :math:`x = v - V_{th}`, the spike
    :math:`s = H(x)`, its surrogate derivative :math:`\sigma'(x)`, and :math:`a` the derivative of the loss,

    .. math::
        a_v \leftarrow a_v (1 - s) + \sigma'(x)\,(a_q - v\,a_v) \qquad
        a_{q_i} \leftarrow \sum_j w_{ij} a_{v_j} \text{ when } i \text{ is delivered} \qquad
        \partial L/\partial w_{ij} \mathrel{+}= m_i a_{v_j}

    :math:`a_q` holds for all that entered the queue since the delivery before, the zeros of silent tests included.
    Those reach a target only when the neuron is drawn into the free slot of a group ("filler"). What is sorted, who
    rests and who took current are constants. Norms grow steeply as the forward group shrinks: see docs/rules.md.
    """

    name: ClassVar[str] = "unlayered"
    variant: str = "v1"
    state: str = "full"
    reset: str = "attached"
    surrogate: str = "arctan"
    steepness: float | None = None
    scale: float = 1.0
    filler: str = "first"
    truncate: int = 0
    cut_timesteps: bool = False
    clip: float | None = 1.0

    def __post_init__(self):
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise NetworkError(f"{name} = '{getattr(self, name)}' is unknown; use one of {', '.join(known)}.")
        if self.steepness is not None and not self.steepness > 0:
            raise NetworkError(f"steepness = {self.steepness} must be positive.")
        if self.truncate < 0 or int(self.truncate) != self.truncate:
            raise NetworkError(f"truncate = {self.truncate}: give a number of forward steps, or 0 for none.")

    def numbers(self) -> tuple[float, float]:
        """``k`` and ``gain`` of the surrogate's primitive."""
        steepness = STEEPNESS[self.surrogate] if self.steepness is None else self.steepness
        if self.surrogate != "arctan":
            return steepness, self.scale
        k = math.pi * steepness / 2
        # The primitive's slope at threshold is gain * k: steepness/2 as in snnTorch, or 1/pi.
        return k, self.scale * (1 / math.pi if self.variant == "v1" else 1 / (math.pi * k))


@dataclass(frozen=True)
class Online:
    """Learn while the input arrives, in memory that does not grow with the length of a sample.

    A SpikingGamma network runs the `Filter` gradient in windows: one pass, one gradient per batch, errors cut off after
    between one and two windows. An asynchronous network takes a gradient every window, through the tape of these
    timesteps alone, while its membranes go on.

    Attributes
    ----------
    window : int, optional
        Timesteps; by default as long as the network's memory (SpikingGamma), or 1 (asynchronous).
    within : Unlayered, optional
        Gradient within a window of an asynchronous network.
    clip : float, optional
        As in `Filter`; an asynchronous network takes that of `within`.
    """

    name: ClassVar[str] = "online"
    window: int | None = None
    within: Unlayered | None = None
    clip: float | None = None

    def __post_init__(self):
        window = self.window
        if window is not None and not (isinstance(window, Integral) and not isinstance(window, bool) and window >= 1):
            raise NetworkError(f"window = {self.window}: give a number of timesteps >= 1, or None.")


@dataclass(frozen=True)
class Exact:
    """The adjoint of the spiking system itself, for the user's own Brian 2 objects.

    Attributes
    ----------
    clip : float, optional
        As in `Filter`.
    """

    name: ClassVar[str] = "exact"
    clip: float | None = None


GRADIENTS = {kind.name: kind for kind in (Filter, Direct, Detached, Online, Unlayered, Exact)}


def parse_gradient(text: str, **options):
    """Read a gradient by its name.

    Parameters
    ----------
    text : {'filter', 'online', 'direct', 'detached', 'unlayered'}
    **options
        Its attributes; those that are ``None`` keep their default.

    Raises
    ------
    NetworkError
        If the name or an option is unknown.
    """
    if text not in GRADIENTS:
        raise NetworkError(f"rule='{text}' is unknown; available: {', '.join(GRADIENTS)}.")
    known = [field.name for field in fields(GRADIENTS[text])]
    given = {name: value for name, value in options.items() if value is not None}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise NetworkError(f"rule='{text}' has no option {unknown[0]}; its options are {', '.join(known)}.")
    return GRADIENTS[text](**given)


def as_gradient(rule, **options):
    """Return a gradient, or the one that a text and `options` mean."""
    return parse_gradient(rule, **options) if isinstance(rule, str) else rule


def accepted(value, kinds: tuple, network, what: str = "gradient"):
    """Return `value`, or the default of the first kind for ``None``; refuse what is of none of the kinds.

    Parameters
    ----------
    value : object or None
    kinds : tuple of type
        What the network accepts, with ``name``.
    network : object
        For the text of the error.
    what : str
        What `value` is.
    """
    if value is None:
        return kinds[0]()
    if type(value) not in kinds:
        legal = ", ".join(kind.__name__ for kind in kinds)
        raise NetworkError(f"{type(network).__name__} has no {what} {value!r}; it takes {legal}.")
    return value


def clip_by_norm(gradients: dict, limit: float | None, info: dict | None = None, parameters: dict | None = None):
    """Scale all gradients in place so that their joint norm is at most `limit`.

    Parameters
    ----------
    gradients : dict of str to array
    limit : float, optional
        ``None`` or 0 only measures.
    info : dict of str to ParameterInfo, optional
        A parameter is measured in units of its size: seconds would make time constants outweigh everything.
    parameters : dict of str to array, optional
        The parameters themselves, with `info`.

    Returns
    -------
    float
        The norm before.
    """
    units = {name: info[name].measure(parameters[name]) for name in gradients} if info else {}
    norm = math.sqrt(sum(float(np.vdot(g, g)) * units.get(name, 1.0) ** 2 for name, g in gradients.items()))
    if limit and norm > limit:
        for g in gradients.values():
            g *= g.dtype.type(limit / norm)
    return norm
