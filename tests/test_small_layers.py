"""Layers of small networks: by hand, and against PyTorch's."""

import numpy as np
import pytest

from minifer import layers
from minifer.cost import count
from minifer.errors import ConfigError, ShapeError
from minifer.kernels.twin import use_backend


def test_max_pool_by_hand():
    x = np.array([[1, 5, 2], [7, 7, 0], [3, 4, 9]], np.float32)[None, :, :, None]
    layer = layers.MaxPool2D(2, stride=1)
    np.testing.assert_array_equal(layer.forward(x, training=True)[0, :, :, 0], [[7, 7], [7, 9]])
    dx = layer.backward(np.array([[1, 2], [3, 4]], np.float32)[None, :, :, None])
    np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 0, 0], [4, 2, 0], [0, 0, 4]])  # the first of two largest


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_max_pool_lets_a_nan_pass(place, backend):
    x = np.ones((1, 2, 2, 1), np.float32)
    x.reshape(-1)[place] = np.nan
    with use_backend(backend):
        assert np.isnan(layers.MaxPool2D(2).forward(x)).all()


def test_average_pool_leaves_the_padding_out():
    x = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)
    layer = layers.AveragePool2D(3, stride=2, padding=1)
    assert layer.forward(x, training=True).item() == 1.5
    np.testing.assert_array_equal(layer.backward(np.ones((1, 1, 1, 1), np.float32)), np.full((1, 2, 2, 1), 0.25))


def test_activations_by_hand():
    x = np.array([-4, -1, 0, 1, 4])
    for layer, expected in (
        (layers.SiLU(), [-0.0719448, -0.2689414, 0, 0.7310586, 3.9280552]),
        (layers.GELU(), [-0.0001267, -0.1586553, 0, 0.8413447, 3.9998733]),
        (layers.HardSwish(), [0, -1 / 3, 0, 2 / 3, 4]),
    ):
        np.testing.assert_allclose(layer.forward(x.astype(np.float64)), expected, atol=1e-7)
        np.testing.assert_allclose(layer.forward(x.astype(np.float32)), expected, atol=1e-6)


def test_group_norm_of_groups_of_one_channel_and_of_all(rng):
    x = rng.standard_normal((2, 4, 3, 6))
    for groups in (1, 2, 6):
        y = layers.GroupNorm(6, groups).astype(np.float64).forward(x).reshape(2, 12, groups, -1)
        np.testing.assert_allclose(y.mean(axis=(1, 3)), 0, atol=1e-12)
        np.testing.assert_allclose(y.std(axis=(1, 3)), 1, atol=1e-4)


def test_flatten_keeps_the_order_and_squeezing_closes_channels(rng):
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    assert layers.Flatten().forward(x).shape == (2, 60) and (layers.Flatten().forward(x)[1, :5] == x[1, 0, 0]).all()
    layer = layers.SqueezeExcitation(5, 2, "hard", rng=rng)
    layer.expand.bias.value[:] = [-99, 99, -99, 99, 99]
    y = layer.forward(x)
    assert not y[..., 0].any() and (y[..., 1] == x[..., 1]).all()


def test_costs(rng):
    assert count(layers.SqueezeExcitation(16, 4, rng=rng), (7, 6, 16)).multiply_adds == 2 * 16 * 4
    net = layers.Sequential(layers.MaxPool2D(3, 2, 1), layers.GELU(), layers.Flatten(), layers.Linear(36, 5, rng=rng))
    assert count(net, (6, 7, 3)).multiply_adds == 36 * 5


def test_refusals(rng):
    for make, message in (
        (lambda: layers.GroupNorm(6, 4), "4 groups do not divide 6"),
        (lambda: layers.SqueezeExcitation(4, 2, "soft", rng=rng), "unknown gate 'soft'"),
        (lambda: layers.MaxPool2D(2, padding=2).forward(np.ones((1, 4, 4, 1), np.float32)), "windows empty"),
    ):
        with pytest.raises(ConfigError, match=message):
            make()
    with pytest.raises(ShapeError, match="does not fit into"):
        layers.AveragePool2D(5).forward(np.ones((1, 4, 4, 1), np.float32))


def channels_first(x):
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


PEERS = {  # a layer here, the function there
    "silu": (lambda rng: layers.SiLU(), lambda F, layer: F.silu),
    "gelu": (lambda rng: layers.GELU(), lambda F, layer: F.gelu),
    "hard-swish": (lambda rng: layers.HardSwish(), lambda F, layer: F.hardswish),
    "max-pool": (lambda rng: layers.MaxPool2D(3, 2, 1), lambda F, layer: lambda x: F.max_pool2d(x, 3, 2, 1)),
    "average-pool": (
        lambda rng: layers.AveragePool2D(3, 2, 1),
        lambda F, layer: lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    ),
    "group-norm": (lambda rng: layers.GroupNorm(6, 3), lambda F, layer: lambda x: F.group_norm(x, 3)),
}


@pytest.mark.parametrize("name", PEERS)
def test_values_and_gradients_equal_pytorch(name, rng):
    torch = pytest.importorskip("torch", reason="PyTorch, the peer of this test, is not installed")
    make, peer = PEERS[name]
    layer, x = make(rng), (3 * rng.standard_normal((2, 7, 6, 6))).astype(np.float32)
    y = layer.forward(x, training=True)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    theirs = torch.tensor(channels_first(x), requires_grad=True)
    out = peer(torch.nn.functional, layer)(theirs)
    out.backward(torch.tensor(channels_first(dy)))
    np.testing.assert_allclose(channels_first(y), out.detach().numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(channels_first(layer.backward(dy)), theirs.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_dilated_depthwise_is_pytorchs(rng):
    torch = pytest.importorskip("torch", reason="PyTorch, the peer of this test, is not installed")
    layer = layers.DepthwiseConv2D(4, 3, stride=2, padding=2, dilation=2, rng=rng).astype(np.float64)
    x = rng.standard_normal((2, 9, 8, 4))
    theirs, weight = (torch.tensor(array, requires_grad=True) for array in (channels_first(x), layer.weight.value))
    y = torch.nn.functional.conv2d(theirs, weight.permute(2, 0, 1)[:, None], None, 2, 2, 2, 4)
    dy = rng.standard_normal(tuple(y.shape))
    y.backward(torch.tensor(dy))
    np.testing.assert_allclose(channels_first(layer.forward(x, training=True)), y.detach().numpy(), atol=1e-12)
    dx = layer.backward(np.ascontiguousarray(np.moveaxis(dy, 1, -1)))
    np.testing.assert_allclose(channels_first(dx), theirs.grad.numpy(), atol=1e-12)
    np.testing.assert_allclose(layer.weight.grad, weight.grad.numpy(), atol=1e-12)
    assert count(layer, (9, 8, 4)).multiply_adds == 5 * 4 * 9 * 4
    with pytest.raises(ConfigError, match="dilation must be at least 1"):
        layers.DepthwiseConv2D(4, dilation=0, rng=rng)


def test_an_ordinary_convolution_in_parts_is_the_whole_one(rng):
    """However many pictures are gathered at once, and for every count of pictures that is left for the last part."""
    x = rng.standard_normal((7, 6, 5, 3)).astype(np.float32)
    found = []
    for part_bytes in (1, 4 * 6 * 5 * 27 * 3, 1 << 30):
        layer = layers.Conv2D(3, 4, bias=True, rng=np.random.default_rng(0))
        layer.part_bytes = part_bytes
        y = layer.forward(x, training=True)
        found.append((y, layer.backward(np.cos(y)), layer.weight.grad, layer.bias.grad))
    for arrays in found[:-1]:
        for part, whole in zip(arrays, found[-1], strict=True):
            np.testing.assert_allclose(part, whole, rtol=1e-5, atol=1e-5)
