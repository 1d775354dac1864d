"""The C structures of the event loops as ctypes sees them."""

from __future__ import annotations

import ctypes

import numpy as np

_int, _pointer, _real = ctypes.c_int64, ctypes.c_void_p, ctypes.c_double


def _fields(text: str, kind) -> list:
    return [(name, kind) for name in text.split()]


class Block(ctypes.Structure):
    """Weights from one population of sources, dense or sparse."""

    _fields_ = _fields("first width", _int) + _fields("dense ptr targets weights", _pointer)


class Population(ctypes.Structure):
    """Contiguous sources with the same blocks."""

    _fields_ = _fields("first size block_begin block_end", _int)


class NetworkStruct(ctypes.Structure):
    """``Network``."""

    _fields_ = (
        _fields("n_inputs n_neurons n_outputs n_populations n_cores", _int)
        + _fields("population layer core fanout populations blocks leak sigma parameters steps", _pointer)
        + [("leak_step", _int)]
    )


class GammaLayer(ctypes.Structure):
    """``Layer`` of ``gamma_async.hpp``."""

    _fields_ = _fields("kind n_pre n first fanout", _int) + _fields("weights parameters A c scales", _pointer)


class GammaNetwork(ctypes.Structure):
    """``Network`` of ``gamma_async.hpp``."""

    _fields_ = _fields("n_inputs n_neurons n_layers idle_at_start", _int) + _fields("layer layers", _pointer)


class RunStruct(ctypes.Structure):
    """``Run``."""

    _fields_ = [
        *_fields("n_samples n_steps", _int),
        *_fields("ptr units values sample_ids initial", _pointer),
        ("first_step", _int),
        ("seed", ctypes.c_uint64),
        *_fields("forward_group stop_rule stop_value stop_per_sample carry max_spikes", _int),
        *_fields("prioritised once_per_timestep lockstep drop_inhibition detail threads", _int),
        *_fields("refractory_dropout spike_dropout input_dropout", _real),
        *_fields("key_parameters select counters outputs first final failure", _pointer),
    ]


def address(array: np.ndarray) -> int:
    """Where the data of an array lie; the caller keeps the array alive."""
    return array.ctypes.data
