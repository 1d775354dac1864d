"""When an asynchronous network stops before its queue is empty."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import NetworkError

SCOPES = ("timestep", "sample")
LEFTOVERS = ("flush", "carry")


@dataclass(frozen=True)
class Stop:
    """A stop rule.

    Attributes
    ----------
    rule : {'drained', 'after_output', 'spike_budget', 'step_budget'}
        Use the functions of this module.
    value : int
        Further forward steps, spikes or forward steps.
    scope : {'timestep', 'sample'}
        Whether the rule is armed again at every timestep, or ends the whole sample when it is met.
    leftover : {'flush', 'carry'}
        What happens to the queue of a stopped timestep: it is emptied, or competes with the spikes of the
        next timestep (with ``P`` = 0, as that belongs to the earlier timestep).
    """

    rule: str = "drained"
    value: int = 0
    scope: str = "timestep"
    leftover: str = "flush"

    def __post_init__(self):
        if self.scope not in SCOPES or self.leftover not in LEFTOVERS:
            raise NetworkError(
                f"scope '{self.scope}' is one of {', '.join(SCOPES)}, "
                f"leftover '{self.leftover}' one of {', '.join(LEFTOVERS)}."
            )
        least = 0 if self.rule in ("drained", "after_output") else 1
        if isinstance(self.value, bool) or int(self.value) != self.value or self.value < least:
            raise NetworkError(f"The stop rule '{self.rule}' needs a whole number >= {least}, not {self.value}.")


DRAINED = Stop()


def drained() -> Stop:
    """Run until the queue is empty and all current has been received."""
    return Stop()


def first_output(**options) -> Stop:
    """Stop after the forward step in which an output neuron first spikes."""
    return Stop("after_output", 0, **options)


def further_steps(M: int, **options) -> Stop:
    """Stop M forward steps after the one in which an output neuron first spikes."""
    return Stop("after_output", M, **options)


def spike_budget(n: int, **options) -> Stop:
    """Stop after the forward step in which the network has emitted n spikes."""
    return Stop("spike_budget", n, **options)


def step_budget(n: int, **options) -> Stop:
    """Stop after n forward steps; the first one only receives the input."""
    return Stop("step_budget", n, **options)


def parse_stop(text) -> Stop:
    """Read the text of a stop rule; all but the first end the sample.

    The first output spike of a sample is its decision, so nothing after it is run, later timesteps neither. To end only
    the timestep in which it happens, say ``first_output(scope="timestep")``.

    Parameters
    ----------
    text : {'drained', 'first-output'} or int
        A number is that of the forward steps after the first output spike.
    """
    if text == "drained":
        return drained()
    if text == "first-output":
        return first_output(scope="sample")
    if str(text).isascii() and str(text).isdecimal() and len(str(text)) < 10:
        return further_steps(int(text), scope="sample")
    raise NetworkError(
        f"stop = '{text!s:.40}' is unknown; use drained, first-output or a number of further forward steps."
    )


def as_stop(stop: Stop | str | int) -> Stop:
    """Return a stop rule, or the one that a text means."""
    return stop if isinstance(stop, Stop) else parse_stop(stop)
