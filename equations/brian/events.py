"""What happens to a group besides its spikes: events of its own kind, and operations on a clock."""

from __future__ import annotations

import re

from brian2.utils.stringtools import get_identifiers

from ..errors import ModelError

OTHER_EVENT = (
    "which an event of '{name}' other than its spikes changes; only spikes have an adjoint, so make it the threshold."
)


def lines_of(code: str) -> list[str]:
    """Statements of a text, one by one and without comments."""
    return [line.split("#")[0].strip() for line in code.replace(";", "\n").splitlines() if line.split("#")[0].strip()]


def assigned(line: str) -> str:
    """Name of the variable that a statement changes."""
    return re.match(r"\w*", line).group()


def events_left_out(group) -> frozenset:
    """Variables that events other than spikes change, if nothing but those events reads them.

    A gradient of anything else does not see these events.

    Raises
    ------
    ModelError
        If something does: then these events matter, and they have no adjoint.
    """
    others = [event for event in group.events if event != "spike"]
    lines = [line for event in others for line in lines_of(group.event_codes.get(event, ""))]
    changed = {assigned(line) for line in lines} & set(group.variables)
    texts = {str(equation.expr.code) for equation in group.user_equations.values() if equation.expr is not None}
    texts |= {group.events.get("spike", ""), str(group._refractory)}
    texts |= {line for line in lines_of(group.event_codes.get("spike", "")) if assigned(line) not in changed}
    read = changed & set().union(*map(get_identifiers, texts))
    moving = sorted(read | changed & group.equations.diff_eq_names)
    if moving:
        raise ModelError(f"'{group.name}': the equations read '{moving[0]}', {OTHER_EVENT.format(name=group.name)}")
    return frozenset(changed)


def refuse_operations(group) -> None:
    """Refuse `run_regularly`, with its reason."""
    for item in group.contained_objects:
        if "run_regularly" in item.name:
            drawn = sorted({"rand", "randn", "poisson"} & get_identifiers(item.abstract_code))
            raise ModelError(
                f"'{group.name}': run_regularly "
                + (f"draws at random ({drawn[0]}); draw once, into a parameter or a TimedArray." if drawn else
                   "acts on a clock and is not supported; use equations, or a SpikeGeneratorGroup with on_pre.")
            )  # fmt: skip
