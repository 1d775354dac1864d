"""What the default selection of tests finds out at a low level of optimisation holds at the one that users run."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import hashlib
import numpy as np
from brian2 import Network, NeuronGroup, SpikeGeneratorGroup, Synapses, ms
from brian2grad import AsynchronousNetwork, SpikingGammaNetwork, StepEvents, spike_loss, value_and_grad
from brian2grad.models import AsynchronousSpikingGamma


def show(name, loss, gradients):
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(g).tobytes() for g in gradients))
    assert any(np.any(np.asarray(g)) for g in gradients), name
    print(name, float(loss).hex(), digest.hexdigest())


rng = np.random.default_rng(0)
events = StepEvents.from_dense(rng.poisson(0.3, (6, 30, 20)), 1e-3)
labels, common = rng.integers(0, 4, 6), {"dt": 1 * ms, "dtype": "float64", "seed": 1}
for kind in (SpikingGammaNetwork, AsynchronousSpikingGamma):
    found = kind([20, 33, 17, 4], K=3, theta=0.3, tau=10 * ms, **common).gradient(events, labels)
    show(kind.__name__, found.loss, found.gradients.values())
found = AsynchronousNetwork([20, 33, 17, 4], V_th=0.3, forward_group=4, **common).gradient(events, labels)
show("AsynchronousNetwork", found.loss, found.gradients.values())

inputs = SpikeGeneratorGroup(10, np.arange(40) % 10, np.sort(rng.uniform(0, 40, 40)) * ms)
flow = "dv/dt = (I - v)/tau_m : 1\\ndI/dt = -I/(5*ms) : 1\\ntau_m : second (constant)"
group = NeuronGroup(30, flow, threshold="v > 1", reset="v = 0", method="exact")
group.tau_m = 20 * ms
feed = Synapses(inputs, group, "w : 1", on_pre="I_post += w")
back = Synapses(group, group, "w : 1", on_pre="I_post += w", delay=1 * ms)
feed.connect()
back.connect(condition="(i + 2*j) % 5 == 0")
feed.w, back.w = rng.uniform(0, 2, len(feed)), rng.normal(0, 0.3, len(back))
wrt = [(feed, "w"), (back, "w"), (back, "delay"), (group, "tau_m")]
show("exact", *value_and_grad(Network(inputs, group, feed, back), spike_loss("sin(t/(5*ms))", group), wrt, 50 * ms))
"""


@pytest.mark.long
def test_the_level_of_optimisation_changes_no_bit_in_double_precision(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    found = []
    for level in ("g", "1", "3"):
        environment = os.environ | {"BRIAN2GRAD_OPTIMISE": level}
        done = subprocess.run(
            [sys.executable, str(tmp_path / "script.py")], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        found.append(done.stdout.splitlines())
    assert len(found[0]) == 4
    assert found[0] == found[1] == found[2]
