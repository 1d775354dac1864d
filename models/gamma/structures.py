"""Mirrors of the C++ structures of the SpikingGamma engine."""

from __future__ import annotations

import ctypes
import functools


@functools.cache
def layer_structure(max_weights: int):
    """Mirror of ``struct Layer`` in the template."""
    p = ctypes.c_void_p
    fields = [(name, ctypes.c_int32) for name in ("kind", "n_pre", "n", "reserved")]
    fields += [("weights", p * max_weights)]
    fields += [(name, p) for name in ("parameters", "A", "c", "scales", "send")]
    fields += [("grad_weights", p * max_weights), ("grad_parameters", p), ("grad_A", p)]
    fields += [("alpha", ctypes.c_double), ("activity", ctypes.c_double)]
    return type("Layer", (ctypes.Structure,), {"_fields_": fields})


class Batch(ctypes.Structure):
    """Mirror of ``struct Batch`` in the driver."""

    _fields_ = [
        *[
            (name, ctypes.c_int32)
            for name in (
                "n_layers n_samples n_steps n_shards n_threads analog gradient loss unit_bytes value_bytes"
            ).split()
        ],
        *[
            (name, ctypes.c_void_p)
            for name in (
                "ptr units values labels targets weight readout losses spikes neuron_spikes signals estimates "
                "given_ptr given_units given_values"
            ).split()
        ],
    ]
