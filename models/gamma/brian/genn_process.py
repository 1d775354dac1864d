"""The process that runs a network through Brian2GeNN: ``python -m`` this module, with the folder of the task."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from brian2.devices.device import set_device

from ...devices import exact_arithmetic, genn_gpu
from ..network import SpikingGammaNetwork
from .genn import StagedGamma


def main(folder: Path) -> None:
    """Read network and task from `folder`, run them, and leave the result there."""
    import brian2genn  # noqa: F401 - registers the device

    set_device("genn", directory=str(folder / "project"), use_GPU=genn_gpu())
    network = SpikingGammaNetwork.load(folder / "network.h5")
    events, record = pickle.loads((folder / "task.pickle").read_bytes())
    with exact_arithmetic():
        result = StagedGamma(network, events, record).run()
    (folder / "result.pickle").write_bytes(pickle.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
