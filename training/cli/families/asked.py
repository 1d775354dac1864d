"""What a command asks of a run, and what a model's room answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brian2 import ms

from ....models.devices import check_device
from ....models.gamma.network import SpikingGammaNetwork
from ....models.order.stopping import parse_stop
from ....models.storage import described_by, load_network
from ...configuration import evaluation_task, parse_group, parse_time
from ...configuration.schema import Data
from ...errors import TrainingError
from ...runs import Run
from ...tasks import Task, check_labels


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
    client : distributed.Client or None
        Of the cluster that shares the work of the compiled engine.
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
    client: Any = None

    def __post_init__(self):
        if self.data_root is not None and not Path(self.data_root).is_dir():
            raise TrainingError(f"--data-root {self.data_root}: no such folder; give the one that holds the data sets.")
        parse_stop(self.stop), self.step()  # what is wrong with an option is said before any work
        if self.forward_group is not None:
            parse_group(self.forward_group)
        if self.noise is not None and not 0 <= self.noise < math.inf:
            raise TrainingError(f"noise is {self.noise}; it must be finite and not negative.")
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
        config = self.run.config
        dt = self.step().get("dt", config["data"]["dt_ms"] * ms)
        stored, _ = load_network(self.run.weights)
        with described_by(self.run.weights):
            sizes, _ = SpikingGammaNetwork.extent(stored)  # sizes, or layers of which they follow
        task = evaluation_task(config, self.data_name, dt, self.root, self.limit, sizes[0])
        check_labels(task.labels, sizes[-1])
        return task

    def step(self) -> dict[str, Any]:
        """Time step other than the trained one, as an argument of a network."""
        if self.dt is None:
            return {}
        Data.read({"dt_ms": float(parse_time(self.dt, "dt") / ms)}, "--dt")
        return {"dt": parse_time(self.dt, "dt")}

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
