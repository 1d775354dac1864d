"""What a command asks of a run, and what a model's room answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...models.devices import check_device
from ..configuration import evaluation_task, parse_time
from ..errors import TrainingError
from ..runs import Run
from ..tasks import Task


@dataclass(frozen=True)
class Asked:
    """A run, the data it is asked about, and the options that were given; ``None`` means as trained.

    Attributes
    ----------
    run : Run
    data, data_root : str or None
    dt : str or None
    scheduler, forward_group : str or None
    noise : float or None
    stop : str
    seed : int or None
        Of the random order.
    engine : {'native', 'brian2'}
    device : str or None
        Of Brian 2.
    threads, limit : int or None
    """

    run: Run
    data: str | None = None
    data_root: Path | str | None = None
    dt: str | None = None
    scheduler: str | None = None
    forward_group: str | None = None
    noise: float | None = None
    stop: str = "drained"
    seed: int | None = None
    engine: str = "native"
    device: str | None = None
    threads: int | None = None
    limit: int | None = None

    def __post_init__(self):
        for name, engine in (("device", "brian2"), ("threads", "native")):
            if getattr(self, name) is not None and self.engine != engine:
                raise TrainingError(f"--{name} belongs to --engine {engine}; leave it out for {self.engine}.")
        if self.engine == "brian2":
            check_device(self.on_device)

    @property
    def on_device(self) -> str:
        """Device of Brian 2."""
        return self.device or "runtime"

    @property
    def data_name(self) -> str:
        """Data set asked about."""
        return self.data or self.run.config["data"]["name"]

    @property
    def root(self):
        """Folder of the data sets."""
        return self.data_root or self.run.config["run"].get("data_root")

    def task(self) -> Task:
        """Samples on the time grid."""
        dt = self.step().get("dt", parse_time(f"{self.run.config['data']['dt_ms']!r}ms", "dt"))
        return evaluation_task(self.run.config, self.data_name, dt, self.root, self.limit)

    def step(self) -> dict[str, Any]:
        """Time step other than the trained one, as an argument of a network."""
        return {} if self.dt is None else {"dt": parse_time(self.dt, "dt")}

    def order(self) -> dict[str, Any]:
        """Order other than the trained one."""
        return {"scheduler": self.scheduler, "forward_group": self.forward_group, "noise": self.noise}


@dataclass(frozen=True)
class Answer:
    """An evaluation, the network it was made with, and what the report says besides.

    Attributes
    ----------
    result : Evaluation or AsyncEvaluation
    network : SpikingGammaNetwork or AsynchronousNetwork
    settings : dict
        Order of execution.
    compilations : int or None
        Of C++ standalone.
    """

    result: Any
    network: Any
    settings: dict = field(default_factory=dict)
    compilations: int | None = None
