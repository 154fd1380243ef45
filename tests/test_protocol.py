"""What every layer promises (layers/base.py), over the whole table of cases."""

import copy

import numpy as np
import pytest

from minifer import layers
from minifer.cases import CASES, away_from_zero
from minifer.errors import BackwardError, CheckpointError, ConfigError, DtypeError, ShapeError
from minifer.models import mobilenet

SINGLE = [case for case in CASES if "cross-entropy" not in case.name]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def build(case, rng, dtype=np.float32):
    layer = case.make(rng).astype(dtype)
    inputs = [x.astype(dtype) if np.issubdtype(x.dtype, np.floating) else x for x in case.inputs(rng)]
    return layer, inputs


@each_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_in_is_dtype_out(case, dtype, rng):
    layer, inputs = build(case, rng, dtype)
    y = layer.forward(*inputs, training=True)
    dx = layer.backward(np.ones_like(y))
    assert y.dtype == dtype
    assert all(d.dtype == dtype for d in (dx if isinstance(dx, tuple) else (dx,)))
    assert all(
        p.grad.dtype == dtype and p.grad.shape == p.value.shape for p in layer.parameters(trainable_only=True).values()
    )


@each_case
def test_second_backward_is_refused(case, rng):
    layer, inputs = build(case, rng)
    dy = np.ones_like(layer.forward(*inputs, training=True))
    layer.backward(dy)
    with pytest.raises(BackwardError, match="call forward"):
        layer.backward(dy)


@each_case
def test_backward_needs_a_training_forward(case, rng):
    layer, inputs = build(case, rng)
    y = layer.forward(*inputs)
    with pytest.raises(BackwardError):
        layer.backward(np.ones_like(y))


@each_case
def test_gradients_are_overwritten_not_added(case, rng):
    layer, inputs = build(case, rng, np.float64)
    twice = copy.deepcopy(layer)
    dy = rng.standard_normal(np.shape(layer.forward(*inputs, training=True)))
    layer.backward(dy)
    other = copy.deepcopy(twice)
    for _ in range(2):
        fresh = copy.deepcopy(other)  # the same dropout mask and statistics for each pass
        fresh.forward(*inputs, training=True)
        fresh.backward(dy)
    for path, parameter in layer.parameters(trainable_only=True).items():
        np.testing.assert_array_equal(parameter.grad, fresh.parameters()[path].grad)
    if not any(isinstance(sub, layers.Dropout) for _, sub in layer.walk()):
        layer.forward(*inputs, training=True)
        layer.backward(dy)
        for path, parameter in layer.parameters(trainable_only=True).items():
            np.testing.assert_allclose(parameter.grad, fresh.parameters()[path].grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", SINGLE, ids=lambda case: case.name)
def test_non_contiguous_input_gives_the_same(case, rng):
    layer, inputs = build(case, rng)
    odd = [np.asfortranarray(x) for x in inputs]
    np.testing.assert_array_equal(copy.deepcopy(layer).forward(*odd), layer.forward(*inputs))


@pytest.mark.parametrize("case", SINGLE, ids=lambda case: case.name)
def test_integers_are_refused(case, rng):
    layer, inputs = build(case, rng)
    with pytest.raises(DtypeError, match="float32"):
        layer.forward(*[x.astype(np.int64) for x in inputs])


@pytest.mark.parametrize("case", SINGLE, ids=lambda case: case.name)
def test_wrong_dy_is_refused(case, rng):
    layer, inputs = build(case, rng)
    y = layer.forward(*inputs, training=True)
    with pytest.raises(ShapeError, match="dy of shape"):
        layer.backward(np.ones((*y.shape, 1), np.float32))


def test_wrong_inputs_are_named(rng):
    conv = layers.PointwiseConv2D(3, 4, rng=rng)
    with pytest.raises(ShapeError, match="made for 3 channels, got 5"):
        conv.forward(np.zeros((1, 2, 2, 5), np.float32))
    with pytest.raises(ShapeError, match=r"expects shape \(N, H, W, C\), got \(2, 3\)"):
        conv.forward(np.zeros((2, 3), np.float32))
    with pytest.raises(ShapeError, match="empty"):
        conv.forward(np.zeros((0, 2, 2, 3), np.float32))
    with pytest.raises(DtypeError, match="weight is float32 but its input is float64"):
        conv.forward(np.zeros((1, 2, 2, 3)))
    with pytest.raises(DtypeError, match="got list"):
        conv.forward([[1.0]])
    with pytest.raises(ShapeError, match="does not fit into 2x2"):
        layers.DepthwiseConv2D(3, kernel=5, padding=0, rng=rng).forward(np.zeros((1, 2, 2, 3), np.float32))
    with pytest.raises(ShapeError, match="must be of one shape"):
        layers.ScaledDotProductAttention().forward(*(np.zeros((1, t, 1, 2), np.float32) for t in (2, 2, 3)))
    with pytest.raises(ShapeError, match="positions are for"):
        attention = layers.MultiHeadSelfAttention(3, positions=(2, 2), rng=rng)
        attention.forward(np.zeros((1, 3, 2, 3), np.float32))
    with pytest.raises(ConfigError, match="needs a projection"):
        layers.Residual(layers.PointwiseConv2D(3, 4, rng=rng)).forward(np.zeros((1, 2, 2, 3), np.float32))


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: layers.Dropout(1.0, rng=rng),
        lambda rng: layers.DepthwiseConv2D(3, stride=0, rng=rng),
        lambda rng: layers.PointwiseConv2D(3, 3, stride=0, rng=rng),
        lambda rng: layers.BatchNorm(3, activation="swish"),
        lambda rng: layers.MultiHeadSelfAttention(3, heads=0, rng=rng),
        lambda rng: layers.Sequential(),
        lambda rng: layers.Sequential([layers.ReLU()]),
        lambda rng: layers.Sequential(body=layers.ReLU),
    ],
)
def test_settings_that_cannot_work_are_refused(make, rng):
    with pytest.raises(ConfigError):
        make(rng)


@pytest.mark.parametrize("variant", ["plain", "skip", "mha"])
def test_a_network_that_skips_the_picture_gradient_trains_the_same(variant, rng):
    net = away_from_zero(mobilenet(variant, alpha=1 / 16, input_shape=(12, 10, 1), heads=2, head_units=4), rng)
    lazy = copy.deepcopy(net)
    assert lazy.require_input_gradient(False)
    x = rng.standard_normal((3, 12, 10, 1)).astype(np.float32)
    dy = rng.standard_normal(net.forward(x, training=True).shape).astype(np.float32)
    lazy.forward(x, training=True)
    assert net.backward(dy).shape == x.shape
    assert lazy.backward(dy) is None
    for path, parameter in net.parameters().items():
        np.testing.assert_array_equal(parameter.grad, lazy.parameters()[path].grad)


def test_frozen_layers_stay_and_are_skipped(rng):
    net = mobilenet("mha", alpha=1 / 16, input_shape=(12, 10, 1), heads=2, head_units=4)
    away_from_zero(net, rng).freeze("extraction")
    net.require_input_gradient(False)
    trainable = net.parameters(trainable_only=True)
    assert {path.split(".")[0] for path in trainable} >= {"classifier", "attention13", "block2"}
    assert all(p.startswith(("attention", "classifier")) or ".projection." in p for p in trainable)
    before = {path: array.copy() for path, array in net.state().items()}
    x = rng.standard_normal((3, 12, 10, 1)).astype(np.float32)
    net.backward(np.ones_like(net.forward(x, training=True)))
    for path, array in net.state().items():
        if path not in trainable and "projection" not in path and not path.startswith("attention"):
            np.testing.assert_array_equal(array, before[path], err_msg=path)
    assert net["stem"]._saved is None, "a frozen stem that nobody asks has nothing to save"
    assert net["stem"].weight.grad is None
    assert all(parameter.grad is not None for parameter in trainable.values())


def test_frozen_network_gives_the_gradient_of_the_picture(rng):
    """Saliency: everything frozen behaves as in prediction, and the gradient still reaches the picture."""
    net = away_from_zero(mobilenet("skip", alpha=1 / 16, input_shape=(12, 10, 1)), rng).freeze()
    x = rng.standard_normal((1, 12, 10, 1)).astype(np.float32)
    np.testing.assert_array_equal(net.forward(x, training=True), net.forward(x))
    net.forward(x, training=True)
    assert np.abs(net.backward(np.ones((1, 7), np.float32))).max() > 0


def test_state_round_trip_and_refusals(rng):
    net, other = (mobilenet("skip", alpha=1 / 16, seed=seed) for seed in (0, 1))
    other.load_state(net.state())
    for path, array in net.state().items():
        np.testing.assert_array_equal(array, other.state()[path])
        assert not np.shares_memory(array, other.state()[path])
    with pytest.raises(CheckpointError, match="another model"):
        mobilenet("plain", alpha=1 / 16).load_state(net.state())
    with pytest.raises(CheckpointError, match="shape"):
        mobilenet("skip", alpha=1 / 8).load_state(net.state())


def test_logits_do_not_depend_on_the_neighbours_in_the_batch(rng):
    """A published model attended across the batch by mistake; ours must not."""
    for variant in ("plain", "skip", "mha"):
        net = away_from_zero(mobilenet(variant, alpha=1 / 8, input_shape=(24, 24, 1), heads=2, head_units=8), rng)
        x = rng.standard_normal((37, 24, 24, 1)).astype(np.float32)
        logits = net.forward(x)
        assert logits.std(axis=0).min() > 0
        np.testing.assert_array_equal(net.forward(x[::-1])[::-1], logits)
        np.testing.assert_array_equal(net.forward(x[5:6])[0], logits[5])
        np.testing.assert_array_equal(net.forward(np.concatenate([x[:3], 100 * x[3:]]))[:3], logits[:3])


def test_a_layer_is_called_and_says_what_it_holds(rng):
    net = layers.Sequential(dense=layers.Linear(3, 2, rng=rng), relu=layers.ReLU())
    x = rng.standard_normal((4, 3)).astype(np.float32)
    np.testing.assert_array_equal(net(x), net.forward(x))
    lines = ["Sequential()", "  dense: Linear(weight (3, 2), bias (2,))", "  relu: ReLU()"]
    assert repr(net).splitlines() == lines


class Transposed(layers.Layer):
    """A layer of one's own whose outputs are views that are not contiguous."""

    def forward(self, x, training=False):
        return x.swapaxes(1, 2)

    def backward(self, dy):
        return dy.swapaxes(1, 2)


def test_a_residual_around_views(rng):
    x = rng.standard_normal((2, 5, 5, 3)).astype(np.float32)
    block = layers.Residual(Transposed())
    np.testing.assert_array_equal(block.forward(x, training=True), x + x.swapaxes(1, 2))
    np.testing.assert_array_equal(block.backward(x), x + x.swapaxes(1, 2))


def test_a_backward_of_another_shape_is_named(rng):
    class Twice(Transposed):
        def backward(self, dy):
            return np.concatenate([dy, dy])

    block = layers.Residual(Twice())
    y = block.forward(rng.standard_normal((2, 5, 5, 3)).astype(np.float32), training=True)
    with pytest.raises(ShapeError, match=r"backward returns \(4, 5, 5, 3\) for an input of \(2, 5, 5, 3\)"):
        block.backward(y)


def test_a_gradient_in_an_array_of_another_order_is_replaced(rng):
    linear = layers.Linear(5, 4, rng=rng)
    x, dy = (rng.standard_normal((3, n)).astype(np.float32) for n in (5, 4))
    linear.weight.grad = np.zeros((5, 4), np.float32, order="F")
    linear.forward(x, training=True)
    linear.backward(dy)
    np.testing.assert_allclose(linear.weight.grad, x.T @ dy, rtol=1e-5)
