"""Layers as values: their text, their geometry against plain loops, and what does not fit is refused."""

import numpy as np
import pytest

from brian2grad.models import NetworkError
from brian2grad.models.topology.geometry import patches, pooled
from brian2grad.models.topology.layers import Conv2d, Dense, Flatten, Pool2d, Recurrent, parse_layer, parse_layers
from brian2grad.models.topology.plan import plan_of

VALUES = [
    (Dense(12), "12"),
    (Conv2d(16, 5), "16c5"),
    (Conv2d(16, 5, stride=2, padding=1), "16c5s2p1"),
    (Conv2d(4, (9, 1), stride=3), "4c9x1s3"),
    (Pool2d(2), "p2"),
    (Recurrent(7), "7r"),
    (Flatten(name="f"), "f:flatten"),
    (Dense(3, name="deep", inputs=("input", "a")), "deep:3<input,a"),
]


@pytest.mark.parametrize(("value", "text"), VALUES, ids=[text for _, text in VALUES])
def test_text_and_value_say_the_same(value, text):
    assert str(value) == text
    assert parse_layer(text) == value


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), (3, 2)])
def test_patches_are_those_of_plain_loops(stride, padding):
    height, width, (kh, kw) = 6, 7, (3, 2)
    made = patches(height, width, (kh, kw), stride, padding)
    rows, columns = made.shape
    wanted = {
        (y * width + x, dy * kw + dx, row * columns + column)
        for row in range(rows)
        for column in range(columns)
        for dy in range(kh)
        for dx in range(kw)
        if 0 <= (y := row * stride + dy - padding) < height and 0 <= (x := column * stride + dx - padding) < width
    }
    assert set(zip(made.sources.tolist(), made.taps.tolist(), made.places.tolist(), strict=True)) == wanted
    assert len(made.taps) == len(wanted)
    assert (rows, columns) == ((6 + 2 * padding - 3) // stride + 1, (7 + 2 * padding - 2) // stride + 1)


def test_a_kernel_of_one_column_is_a_convolution_along_rows():
    plan = plan_of(input=(1, 12, 1), layers="2c5x1s3-3")
    assert plan.layers[0].shape == (2, 3, 1)
    pre, post, at = plan.layers[0].connections[0].synapses(12)
    assert {(a - 3 * (b // 2), c // 2) for a, b, c in zip(pre, post, at, strict=True)} == {(k, k) for k in range(5)}
    assert Conv2d(2, (3, 3)) == Conv2d(2, 3)
    assert parse_layer("2c3x3") == Conv2d(2, 3)


def test_pooling_leaves_out_what_fills_no_window():
    window, shape = pooled(5, 4, 2)
    assert shape == (2, 2)
    assert window.reshape(5, 4).tolist() == [[0, 0, 1, 1]] * 2 + [[2, 2, 3, 3]] * 2 + [[-1] * 4]


def test_a_plan_convolves_as_scipy_does():
    from scipy.signal import correlate

    rng = np.random.default_rng(0)
    plan = plan_of(input=(2, 6, 7), layers="3c3p1-p2-4")
    assert plan.sizes == (84, 126, 4)
    (convolution,), (reading,) = (layer.connections for layer in plan.layers)
    kernel, image = rng.normal(size=convolution.shape), rng.normal(size=(2, 6, 7))
    pre, post, at = convolution.synapses(84)
    found = np.bincount(post, image.ravel()[pre] * kernel.ravel()[at], minlength=126).reshape(6, 7, 3)
    for channel in range(3):
        padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
        wanted = correlate(padded, kernel[:, :, :, channel].transpose(2, 0, 1), mode="valid")[0]
        np.testing.assert_allclose(found[:, :, channel], wanted, rtol=1e-12)
    pre, post, at = reading.synapses(126)
    w = rng.normal(size=reading.shape)  # (3*3*3, 4): of every window and channel
    sums = found[:, :6].reshape(3, 2, 3, 2, 3).sum(axis=(1, 3))
    np.testing.assert_allclose(np.bincount(post, found.ravel()[pre] * w.ravel()[at]), sums.ravel() @ w, rtol=1e-12)
    assert [fan.sum() for fan in plan.fan_out()[:2]] == [len(convolution.synapses(84)[0]), len(pre)]


def test_sizes_are_short_for_dense_layers():
    plan = plan_of([6, 5, 3])
    assert plan.chain
    assert plan.sizes == (6, 5, 3)
    assert not plan_of(input=(1, 4, 4), layers="2c3-3").chain
    assert not plan_of(input=4, layers=["a:5", "3<a,input"]).chain


@pytest.mark.parametrize(
    ("input", "layers", "text"),
    [
        (12, "5c3-4", r"layer 1 \(5c3\) needs rows and columns"),
        ((1, 4, 4), "5c7-4", "7x7 kernel with stride 1 and padding 0 leaves nothing of 4x4"),
        ((1, 4, 4), "p5-4", "Windows of 5x5 leave nothing of 4x4"),
        ((1, 4, 4), "4c1-3c2", "readout; it must be Dense"),
        ((1, 4, 4), "4-3x2", "layer '3x2' is unknown"),
        ((1, 4, 4), ["4", "3<deep"], "there is no layer 'deep' before it; there are input"),
        ((1, 4, 4), ["a:4", "a:3"], "'a' is taken"),
        ((1, 4, 4), ["a:2c1", "2c2<a,b", "3"], "there is no layer 'b'"),
        ((1, 4, 4), ["a:2c2", "2c2<a,input", "3"], "they must be equal"),
        ((1, 4, 4), "", "layer '' is unknown"),
        ((1, 4), "3", "input = "),
        ((1, 4, 0), "3", "input = 0"),
        (4, ["own:4", "3"], "'own' is taken"),
    ],
)
def test_what_does_not_fit_is_refused(input, layers, text):
    with pytest.raises(NetworkError, match=text):
        plan_of(input=input, layers=layers)


def test_sizes_of_layers_are_checked():
    for wrong in (0, 2.5, "3", True, (3, 0), (3, 3, 3)):
        with pytest.raises(NetworkError, match=r"Conv2d.kernel = "):
            Conv2d(3, wrong)
    with pytest.raises(NetworkError, match="either sizes, or input and layers"):
        plan_of([3, 2], input=3, layers="2")
    assert parse_layers([Dense(3), 4, "5"]) == [Dense(3), Dense(4), Dense(5)]
