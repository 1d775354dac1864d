"""The convolutional network that the engine is timed against is the same network."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch isn't installed (pip install 'brian2grad[benchmarks]')")

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))


@pytest.mark.long
def test_pytorch_gives_the_spikes_and_the_gradient_of_the_engine():
    import convolution_torch

    from brian2grad import StepEvents

    rng = np.random.default_rng(0)
    events = StepEvents.from_dense((rng.random((40, 8, 2312)) < 0.03) * 1, 2e-2)
    task = SimpleNamespace(events=events, labels=np.arange(40) % 8)
    found = convolution_torch.check(task, rms=0.7)
    assert found["spikes_differ"] == 0
    assert found["largest_difference"] < 1e-9
