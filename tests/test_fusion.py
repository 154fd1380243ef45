"""A training step that is fused, against the same step layer by layer."""

import tracemalloc

import numpy as np
import pytest

from minifer.errors import BackwardError, ShapeError
from minifer.fusion import FusedTraining, fused
from minifer.layers import (
    BatchNorm,
    DepthwiseConv2D,
    GlobalAveragePool,
    Linear,
    PointwiseConv2D,
    ReLU,
    Residual,
    Sequential,
)
from minifer.losses import SoftmaxCrossEntropy
from minifer.models import mobilenet, mobilenet_v2, mobilenet_v3

SHAPE = (32, 32, 1)
NETWORKS = {
    "plain": lambda: mobilenet("plain", 0.25, SHAPE),
    "stem stride 1": lambda: mobilenet("plain", 0.1, SHAPE, stem_stride=1),
    "skip": lambda: mobilenet("skip", 0.25, SHAPE, stem_stride=1, linear=True),
    "skip, clipped": lambda: mobilenet("skip", 0.2, SHAPE),
    "attention and dropout": lambda: mobilenet("mha", 0.125, SHAPE, attention_blocks=[6], head_units=4, dropout=0.3),
    "symmetric": lambda: mobilenet("skip", 0.125, SHAPE, padding="symmetric", bn_eps=1e-5),
    "v2": lambda: mobilenet_v2(0.2, SHAPE),
    "v3": lambda: mobilenet_v3("small", 0.25, SHAPE),
}


def prepared(make, dtype):
    """Return a network none of whose gradients vanish."""
    network, rng = make().astype(dtype), np.random.default_rng(1)
    for parameter in network.parameters().values():
        parameter.value += (0.2 * rng.standard_normal(parameter.value.shape)).astype(dtype)
    network.require_input_gradient(False)
    return network


def step(network, passes, batch=8, dtype=np.float64):
    """Return the loss, the gradients and the state after one step of forward and backward."""
    rng, loss = np.random.default_rng(0), SoftmaxCrossEntropy()
    x, labels = rng.standard_normal((batch, *SHAPE)).astype(dtype), rng.integers(0, 7, batch)
    value = loss.forward(passes.forward(x, training=True), labels, training=True)
    passes.backward(loss.backward())
    gradients = {path: parameter.grad for path, parameter in network.parameters().items()}
    return value, gradients, network.state()


def assert_same(one, other, tolerance):
    assert one[0] == pytest.approx(other[0], rel=tolerance)
    largest = max(np.abs(gradient).max() for gradient in one[1].values())
    for mine, theirs in zip(one[1:], other[1:], strict=True):
        assert mine.keys() == theirs.keys()
        for path, array in mine.items():
            np.testing.assert_allclose(
                theirs[path], array, rtol=tolerance, atol=tolerance * max(1, largest), err_msg=path
            )


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_is_that_of_the_layers(name):
    by_layers, all_in_one = (prepared(NETWORKS[name], np.float64) for _ in range(2))
    passes = fused(all_in_one)
    assert isinstance(passes, FusedTraining)
    assert_same(step(by_layers, by_layers), step(all_in_one, passes), 1e-9)


def test_in_float32_up_to_rounding():
    by_layers, all_in_one = (prepared(NETWORKS["skip"], np.float32) for _ in range(2))
    given = {"dtype": np.float32, "batch": 12}
    assert_same(step(by_layers, by_layers, **given), step(all_in_one, fused(all_in_one), **given), 1e-4)


@pytest.mark.parametrize("batch", [1, 7])
def test_small_batches_go_through_the_layers_own_kernels(batch):
    by_layers, all_in_one = (prepared(NETWORKS["skip"], np.float64) for _ in range(2))
    assert_same(step(by_layers, by_layers, batch), step(all_in_one, fused(all_in_one), batch), 1e-9)


def own_network():
    """Layers in another order, a projection of two convolutions, one without a BatchNorm, and a changed pass."""
    rng = np.random.default_rng(0)

    def pair(channels, filters):
        return {"conv": PointwiseConv2D(channels, filters, rng=rng), "norm": BatchNorm(filters, activation="relu6")}

    class Doubled(PointwiseConv2D):
        def forward(self, x, training=False):
            return 2 * super().forward(x, training=training)

        def backward(self, dy):
            return super().backward(2 * dy)

    return Sequential(
        first=PointwiseConv2D(1, 6, rng=rng),
        depthwise=DepthwiseConv2D(6, rng=rng),
        norm=BatchNorm(6, activation="relu"),
        inner=Sequential(Sequential(**pair(6, 8)), ReLU()),
        block=Residual(
            depthwise=DepthwiseConv2D(8, stride=2, rng=rng),
            norm=BatchNorm(8),
            activation=ReLU(),
            point=PointwiseConv2D(8, 12, rng=rng),
            projection=Sequential(DepthwiseConv2D(8, stride=2, rng=rng), BatchNorm(8), *pair(8, 12).values()),
        ),
        twice=Residual(Residual(DepthwiseConv2D(12, rng=rng), BatchNorm(12)), **pair(12, 12)),
        changed=Sequential(Doubled(12, 12, rng=rng), BatchNorm(12)),
        strided=Sequential(PointwiseConv2D(12, 9, stride=2, rng=rng), BatchNorm(9)),
        pool=GlobalAveragePool(),
        classifier=Linear(9, 7, rng=rng),
    )


def test_networks_of_ones_own():
    by_layers, all_in_one = (prepared(own_network, np.float64) for _ in range(2))
    assert_same(step(by_layers, by_layers), step(all_in_one, fused(all_in_one)), 1e-9)


def test_a_network_that_is_frozen_in_part_goes_through_its_layers():
    network = mobilenet("skip", 0.1, SHAPE).freeze("extraction")
    assert fused(network) is network
    assert fused(Sequential(PointwiseConv2D(1, 2, rng=np.random.default_rng(0)))).__class__ is Sequential


def test_a_layer_used_twice_is_refused_as_ever():
    rng = np.random.default_rng(0)
    layer = DepthwiseConv2D(1, rng=rng)
    network = Sequential(layer, BatchNorm(1), Sequential(layer, BatchNorm(1)))
    passes = fused(network)
    y = passes.forward(np.ones((8, 12, 12, 1), np.float32), training=True)
    with pytest.raises(BackwardError, match="a layer used twice must be two layers"):
        passes.backward(y)


def test_one_backward_for_each_forward():
    network = prepared(NETWORKS["plain"], np.float32)
    passes = fused(network)
    step(network, passes, dtype=np.float32)
    with pytest.raises(BackwardError, match="nothing to go back through"):
        passes.backward(np.ones((8, 7), np.float32))


def test_without_training_nothing_moves():
    network = prepared(NETWORKS["plain"], np.float32)
    before = {path: array.copy() for path, array in network.state().items()}
    x = np.zeros((9, *SHAPE), np.float32)
    np.testing.assert_array_equal(fused(network).forward(x), network.forward(x))
    for path, array in network.state().items():
        np.testing.assert_array_equal(array, before[path])


def test_layers_that_do_not_fit_are_named():
    rng = np.random.default_rng(0)
    network = Sequential(DepthwiseConv2D(1, rng=rng), BatchNorm(1), PointwiseConv2D(3, 4, rng=rng), BatchNorm(4))
    with pytest.raises(ShapeError, match="PointwiseConv2D was made for 3 channels"):
        fused(network).forward(np.zeros((8, 12, 12, 1), np.float32), training=True)
    network = Sequential(DepthwiseConv2D(1, rng=rng), BatchNorm(2))
    with pytest.raises(ShapeError, match="BatchNorm was made for 2 channels"):
        fused(network).forward(np.zeros((8, 12, 12, 1), np.float32), training=True)


def test_it_keeps_fewer_maps():
    def most(passes, network):
        step(network, passes, 16, np.float32)
        tracemalloc.start()
        step(network, passes, 16, np.float32)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    network = prepared(NETWORKS["stem stride 1"], np.float32)
    assert most(fused(network), network) < 0.7 * most(network, network)
