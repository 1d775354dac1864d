"""Layers of a SpikingGamma network as compiled code reads them: parameters, numbers and connections, checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import NetworkError
from ..native.interface import Arrays, check_status
from .lowering import LayerNumbers


@dataclass
class LayerParameters:
    """What a layer computes with.

    Attributes
    ----------
    weights : list of (n_pre, n_post) arrays
        Of every connection one, or one per bucket with per-synapse buckets. Of a kernel the rows are taps times
        channels, (height*width*channels, n_post channels).
    neurons : (n_parameters, n_post) array
        Bucket weights ``v0 ...`` and bias ``b``, in the order of the model's ``trained_names``; of a convolution by
        channel.
    numbers : LayerNumbers
        What its equations hold at the present threshold, time constants and time step.
    """

    weights: list[np.ndarray]
    neurons: np.ndarray
    numbers: LayerNumbers


@dataclass
class LayerGradient:
    """Derivatives of the loss with respect to what a layer computes with.

    Attributes
    ----------
    weights, neurons
        As of `LayerParameters`.
    update : (K, K) array or None
        With respect to the bucket update ``A``, if time constants are trained.
    """

    weights: list[np.ndarray]
    neurons: np.ndarray
    update: np.ndarray | None = None


def sent_down(targets, numbers: LayerNumbers, sender: LayerNumbers, rule: str) -> np.ndarray | None:
    """Error that a layer sends down per unit of error in each of its buckets, at the same step.

    With D_k the derivative of the sender's bucket k by its signal, ``'direct'`` takes every bucket for an
    instantaneous copy: D_k is what it holds of a constant signal of one (1 in the published recursion, less in later
    buckets of the continuous memory), ``'detached'`` only bucket 0 (D_0 = 1, else 0).
    ``'filter'`` sends errors back through the memory in time: ``None``.

    Parameters
    ----------
    targets : sequence of int
        Bucket that each weight's jump enters.
    numbers, sender : LayerNumbers
        Of the layer and of the one below.
    rule : {'filter', 'direct', 'detached'}

    Returns
    -------
    (n_weights, K) array or None
    """
    if rule == "filter":
        return None
    one = np.eye(len(numbers.A))
    if rule == "detached":
        return one[list(targets)]
    # An event is what the signal gained over its decayed value, 1 - decay of it when constant.
    return (1 - sender.estimate_decay) * np.linalg.inv(one - numbers.A).T[list(targets)]


class LayerTables:
    """The C structures of the layers, and every array whose address they hold.

    Parameters
    ----------
    engine : GammaEngine
    parameters : list of LayerParameters
        Arrays of the engine's type are read where they lie: who keeps the tables copies those that may change.
    gradient : bool
        Whether there are arrays for gradients, which a call adds to.
    rule : {'filter', 'direct', 'detached'}
        See `sent_down`.
    train_tau : bool

    Attributes
    ----------
    table : cdata
        ``Layer[]``.
    gradients : list of LayerGradient
    packed : cdata
        See `pack`; null before.
    """

    def __init__(self, engine, parameters, gradient: bool = False, rule: str = "filter", train_tau: bool = False):
        self._arrays = arrays = Arrays(engine.ffi, engine.dtype)
        self._ffi, self.gradients = engine.ffi, []
        if len(parameters) != len(engine.codes):
            raise NetworkError(f"{len(parameters)} layers of parameters; expected {len(engine.codes)}.")
        layers = []
        for index, (plan, code, p) in enumerate(zip(engine.plan.layers, engine.codes, parameters, strict=True)):
            name, channels = f"layer{index + 1}", plan.shape[0]
            expected = len(code.targets) * len(plan.connections)
            if len(p.weights) != expected:
                raise NetworkError(f"{name}.w has {len(p.weights)} matrices; expected {expected}.")
            sender = parameters[max(0, index - 1)].numbers  # the code's time constant is the same in all layers
            filled = self._gradient(p, train_tau) if gradient else None
            layer = {
                "code": engine.code_of[index],
                "n": plan.n,
                "n_places": plan.places,
                "n_connections": len(plan.connections),
                "connections": self._connections(name, plan, len(code.targets), p, filled),
                "parameters": arrays.input(
                    f"{name}.v and b together", p.neurons, shape=(len(code.parameters), channels), finite=True
                ),
                "A": arrays.input(f"{name}.A", p.numbers.A, shape=(len(code.buckets),) * 2),
                "constants": arrays.input(f"{name}.constants", p.numbers.constants, shape=(engine.n_constants[index],)),
                "scales": arrays.input(f"{name}.scales", p.numbers.scales, shape=(len(code.targets),)),
                "sender_decay": sender.estimate_decay,
                "send": arrays.input("send", sent_down(code.targets, p.numbers, sender, rule)),
            }
            if filled is not None:
                layer |= {"grad_parameters": arrays.output(filled.neurons), "grad_update": arrays.output(filled.update)}
            layers.append(layer)
        self.table, self.packed = engine.ffi.new("Layer[]", layers), engine.ffi.NULL

    def pack(self, library) -> LayerTables:
        """Have the layers packed once, by a stream of no samples, for runs without a gradient; return the tables."""
        stream = self._ffi.new("void**")
        arguments = self._ffi.new("GammaArguments*", {"layers": self.table, "n_layers": len(self.table)})
        check_status(library.gamma_open(arguments, 0, 0, stream), "the network is too large")
        self.packed = self._ffi.gc(stream[0], library.gamma_close)
        return self

    def _connections(self, name: str, plan, n_buckets: int, p: LayerParameters, filled: LayerGradient | None):
        """Connections of a layer, with `n_buckets` weight matrices each."""
        arrays, made = self._arrays, []
        for index, connection in enumerate(plan.connections):
            own = slice(index * n_buckets, (index + 1) * n_buckets)
            weights = [
                arrays.input(f"{name}.{connection.name}", w, shape=connection.matrix, finite=True)
                for w in p.weights[own]
            ]
            depth, height, width = connection.view.shape
            made.append(
                {
                    "source": connection.source,
                    "n_rows": connection.matrix[0],
                    "depth": depth,
                    "n_places": height * width,
                    "weights": arrays.table(weights),
                    "cells": arrays.input("cells", connection.view.cells, np.int32),
                }
            )
            if connection.patches is not None:
                for key, table in (("ptr", "ptr"), ("taps", "taps"), ("targets", "places")):
                    made[-1][key] = arrays.input(key, getattr(connection.patches, table), np.int32)
            if filled is not None:
                made[-1]["grad_weights"] = arrays.table(map(arrays.output, filled.weights[own]))
        return arrays.keep(self._ffi.new("Connection[]", made))

    def _gradient(self, p: LayerParameters, train_tau: bool) -> LayerGradient:
        dtype = self._arrays.dtype
        filled = LayerGradient([np.zeros(w.shape, dtype) for w in p.weights], np.zeros(p.neurons.shape, dtype))
        if train_tau:
            filled.update = np.zeros(p.numbers.A.shape, dtype)
        self.gradients.append(filled)
        return filled
