"""The room that answers for a model.

A room is a module with ``Configuration`` (the schema), ``build`` (a new network), ``evaluate`` and ``simulate`` (of a
run), ``spikes_written`` and ``described`` (of an evaluation).
"""

from __future__ import annotations

from types import ModuleType

from ..runs import Run
from . import asynchronous, gamma

FAMILIES: dict[str, ModuleType] = {"gamma": gamma, "async": asynchronous}


def family_of(run: Run) -> ModuleType:
    """Room of a run's model."""
    return FAMILIES[run.config["run"].get("model", "gamma")]
