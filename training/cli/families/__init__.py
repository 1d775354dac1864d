"""The room that answers for a model.

A room is a module with ``Configuration`` (the schema), ``DATA`` (what every run says of its data), ``nothing`` (a task
to rehearse a configuration with, or None), ``load_tasks`` (training and validation task), ``complete`` (what the tasks
say about a configuration), ``build`` (a new network), ``check`` (of what is asked of a run), ``task_of`` (its samples),
``evaluate`` and ``simulate``, ``spikes_written`` and ``described`` (of an evaluation).
"""

from __future__ import annotations

from types import ModuleType

from ...errors import RunError
from ...runs import Run
from . import asynchronous, exact, gamma

FAMILIES: dict[str, ModuleType] = {"gamma": gamma, "async": asynchronous, "exact": exact}


def family_of(run: Run) -> ModuleType:
    """Room of a run's model, whose configuration is checked.

    Raises
    ------
    RunError, TrainingError
        Naming file and entry, if the configuration is damaged or of another version.
    """
    path, config = run.folder / "config.toml", run.config
    section = config.get("run", {})
    model = section.get("model", "gamma") if isinstance(section, dict) else None
    if model == "fit":
        raise RunError(f"{run.folder} is a fit of one neuron: there is `evaluate` for it, and `load_fit` in Python.")
    if not isinstance(model, str) or model not in FAMILIES:
        raise RunError(f"{path}: run.model = {model!r:.40} is unknown; known are {', '.join(FAMILIES)}.")
    FAMILIES[model].Configuration.read(config, str(path))
    for name, entry in (*(("data", entry) for entry in FAMILIES[model].DATA), ("run", "seed")):
        if entry not in config.get(name, {}):
            raise RunError(f"{path}: {name}.{entry} is missing; the file is damaged, take it from a copy of the run.")
    return FAMILIES[model]
