"""A run of the compiled SpikingGamma engine and one of Brian 2 are the same."""

import numpy as np


def in_order(steps, units):
    """Spikes sorted by step, then unit."""
    order = np.lexsort((units, steps))
    return np.asarray(steps)[order], np.asarray(units)[order]


def assert_same_spikes(native, brian):
    """Every spike of every sample and hidden layer."""
    total = 0
    for sample, (ours, theirs) in enumerate(zip(native.recorded, brian.spikes, strict=True)):
        for layer, ((steps, units, _), spikes) in enumerate(zip(ours, theirs, strict=True)):
            for found, wanted in zip(in_order(steps, units), in_order(*spikes), strict=True):
                np.testing.assert_array_equal(found, wanted, err_msg=f"sample {sample}, layer {layer + 1}")
            total += len(steps)
    return total


def assert_same_run(network, events, brian, fewest=50):
    native = network.forward(events, record=True, traces=True)
    total = assert_same_spikes(native, brian)
    assert total >= fewest
    np.testing.assert_allclose(brian.readout, native.readout, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(brian.spike_counts, native.spikes)
    if brian.signals is not None:
        for layer in range(len(network.sizes) - 2):
            np.testing.assert_allclose(brian.estimates[layer], native.estimates[layer], rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(brian.signals[layer], native.signals[layer], rtol=1e-12, atol=1e-12)
    return native
