"""Synapses without a queue: statements go where they may, and all kinds of connections give the engine's spikes."""

import numpy as np
import pytest
from brian2 import ms
from gamma_brian import assert_same_run

from brian2grad.models import SpikingGammaNetwork, StepEvents
from brian2grad.models.service.rows import parted

PRE, POST = "_ptr_pre", "_ptr_post"
ENDS = ["const int32_t _postsynaptic_idx = _ptr_post[_idx];", "const int32_t _presynaptic_idx = _ptr_pre[_idx];"]


def test_what_a_spike_carries_is_computed_once():
    once, each = parted(
        [
            *ENDS,
            "const int32_t unit = _ptr_input_i[_presynaptic_idx];",
            "const double w = _ptr_w[_idx];",
            "double z0_post = _ptr_z0[_postsynaptic_idx];",
            "const double jump_pre = counts(t, unit);",
            "z0_post += w * jump_pre;",
            "_ptr_z0[_postsynaptic_idx] = z0_post;",
        ],
        PRE,
        POST,
    )
    assert once.splitlines() == [
        "const int32_t _presynaptic_idx = _spikes[_spike];",
        "const int32_t unit = _ptr_input_i[_presynaptic_idx];",
        "const double jump_pre = counts(t, unit);",
    ]
    assert each.splitlines()[0] == "const int32_t _postsynaptic_idx = _run.target + _k;"
    assert len(each.splitlines()) == 5


def test_what_the_statements_change_is_read_for_every_synapse():
    lines = [*ENDS, "const double x = _ptr_z0[_presynaptic_idx];", "_ptr_z0[_postsynaptic_idx] = x;"]
    once, each = parted(lines, PRE, POST)
    assert "_ptr_z0" not in once
    assert "const double x" in each


@pytest.mark.long
@pytest.mark.standalone
@pytest.mark.parametrize(
    ("layers", "options"),
    [("4c3-p2-7r-3", {"signed": True, "multiple": True}), ("9-5r-3", {"buckets": "synapse", "adaptation": 0.2})],
    ids=["convolved", "recurrent"],
)
def test_all_connections_give_the_engines_spikes(layers, options):
    rng = np.random.default_rng(0)
    events = StepEvents.from_dense(rng.integers(1, 4, (6, 25, 72)) * (rng.random((6, 25, 72)) < 0.2), 1e-3)
    usual = {"K": 3, "tau": 8 * ms, "dt": 1 * ms, "theta": 0.5, "dtype": "float64", "seed": 1}
    network = SpikingGammaNetwork(input=(2, 6, 6), layers=layers, **usual, **options)
    network.calibrate(events, rms=2.0)
    assert_same_run(network, events, network.brian2(events, device="cpp_standalone", record=True))
