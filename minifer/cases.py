"""One table of small layers and models with inputs: gradient checks, protocol tests and `minifer gradcheck` use it.

Shapes are tiny and not square, so that a transposed axis cannot hide; inputs stay away from kinks. A new Layer without
a case here fails the tests.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minifer import layers
from minifer.losses import SoftmaxCrossEntropy
from minifer.models import mobilenet
from minifer.models.inverted import inverted_residual

SMALL_BLOCKS = ((48, 1), (64, 2), (64, 1))  # at alpha 1/16: 3, 4 and 4 channels


@dataclass(frozen=True)
class Case:
    """A layer to check: make(rng) returns it, inputs(rng) what its forward takes."""

    name: str
    make: Callable
    inputs: Callable


def normal(*shape):
    """Return a function that draws a float64 array of this shape."""
    return lambda rng: (rng.standard_normal(shape),)


def off_kinks(*shape):
    """Return a function that draws numbers at least 0.05 away from 0 and 6, where ReLU and ReLU6 bend."""

    def draw(rng):
        x = rng.uniform(-3, 9, shape)
        return (x + np.where(np.abs(x) < 0.05, 0.1, 0) + np.where(np.abs(x - 6) < 0.05, 0.1, 0),)

    return draw


def _trained(norm, rng):
    """Give a normalization gamma, beta and running statistics other than 1 and 0."""
    for parameter in norm.parameters().values():
        parameter.value = parameter.value + rng.normal(0, 0.3, parameter.value.shape).astype(np.float32)
    if isinstance(norm, layers.BatchNorm):
        norm.running_mean.value += rng.normal(0, 0.3, norm.channels).astype(np.float32)
        norm.running_var.value += rng.uniform(0, 1, norm.channels).astype(np.float32)
    return norm


def _depthwise(channels=3, **settings):
    return lambda rng: layers.DepthwiseConv2D(channels, rng=rng, **settings)


def _conv(channels=2, filters=3, **settings):
    return lambda rng: layers.Conv2D(channels, filters, rng=rng, **settings)


def _attention(**settings):
    def make(rng):
        norm = layers.BatchNorm(3) if "normalize" in settings else None
        layer = layers.MultiHeadSelfAttention(3, heads=2, head_units=4, output_norm=norm, rng=rng, **settings)
        return away_from_zero(layer, rng)

    return make


def away_from_zero(layer, rng):
    """Give layers that start at zero, such as classifiers and attention, factors that let gradients through."""
    for path, parameter in layer.parameters().items():
        if not parameter.value.any() and (parameter.value.ndim > 1 or path.endswith("gamma")):
            parameter.value = rng.normal(0, 0.5, parameter.value.shape).astype(np.float32)
    return layer


def _three(*shape):
    return lambda rng: tuple(rng.standard_normal(shape) for _ in range(3))


def _labels(rng):
    return rng.standard_normal((4, 3)), np.array([0, 2, 2, 1])


def _residual(rng):
    return layers.Residual(
        depthwise=layers.DepthwiseConv2D(3, stride=2, rng=rng),
        pointwise=layers.PointwiseConv2D(3, 4, rng=rng),
        projection=layers.PointwiseConv2D(3, 4, stride=2, rng=rng),
    )


def _inverted(*settings):
    return lambda rng: inverted_residual(*settings, rng=rng)


def _frozen_norm(rng):
    return layers.Sequential(
        pointwise=layers.PointwiseConv2D(3, 3, rng=rng),
        norm=_trained(layers.BatchNorm(3), rng).freeze(),
    )


def _model(variant, **settings):
    shape = {"input_shape": (7, 6, 1), "classes": 3, "blocks": SMALL_BLOCKS, "alpha": 1 / 16}
    return lambda rng: away_from_zero(mobilenet(variant, seed=3, dropout=0.2, **shape, **settings), rng)


CASES = (
    Case("conv2d", _conv(), normal(2, 5, 4, 2)),
    Case("conv2d-stride2-bias", _conv(stride=2, bias=True), normal(2, 6, 5, 2)),
    Case("conv2d-one-picture-1x1", _conv(padding=1), normal(1, 1, 1, 2)),
    Case("conv2d-padding-pairs", _conv(padding=((0, 1), (2, 0)), stride=2), normal(2, 5, 4, 2)),
    Case("depthwise", _depthwise(), normal(2, 5, 4, 3)),
    Case("depthwise-stride2", _depthwise(stride=2), normal(2, 6, 5, 3)),
    Case("depthwise-stride2-even", _depthwise(stride=2), normal(2, 6, 4, 3)),
    Case("depthwise-symmetric", _depthwise(stride=2, padding="symmetric"), normal(2, 6, 5, 3)),
    Case("depthwise-5x5-symmetric", _depthwise(kernel=5, stride=2, padding="symmetric"), normal(2, 6, 5, 3)),
    Case("depthwise-no-padding", _depthwise(padding=0), normal(2, 5, 4, 3)),
    Case("depthwise-one-channel", _depthwise(channels=1), normal(1, 4, 3, 1)),
    Case("depthwise-1x1-map", _depthwise(), normal(1, 1, 1, 3)),
    Case("depthwise-5x5-kernel", _depthwise(kernel=5), normal(2, 4, 6, 3)),
    Case("depthwise-dilated", _depthwise(dilation=2), normal(2, 6, 5, 3)),
    Case("depthwise-dilated-stride2", _depthwise(dilation=2, stride=2, padding=2), normal(1, 7, 6, 3)),
    Case("pointwise", lambda rng: layers.PointwiseConv2D(3, 4, rng=rng), normal(2, 3, 2, 3)),
    Case("pointwise-stride2", lambda rng: layers.PointwiseConv2D(3, 4, stride=2, rng=rng), normal(2, 5, 4, 3)),
    Case("pointwise-one-channel", lambda rng: layers.PointwiseConv2D(1, 1, rng=rng), normal(1, 1, 1, 1)),
    Case("batchnorm", lambda rng: _trained(layers.BatchNorm(3), rng), normal(2, 4, 3, 3)),
    Case("batchnorm-relu6", lambda rng: _trained(layers.BatchNorm(3, activation="relu6"), rng), normal(2, 4, 3, 3)),
    Case("batchnorm-relu", lambda rng: _trained(layers.BatchNorm(3, activation="relu"), rng), normal(5, 3)),
    Case("batchnorm-frozen", _frozen_norm, normal(2, 3, 2, 3)),
    Case("layernorm", lambda rng: _trained(layers.LayerNorm(5), rng), normal(2, 3, 5)),
    Case("relu", lambda rng: layers.ReLU(), off_kinks(2, 3, 4)),
    Case("relu6", lambda rng: layers.ReLU6(), off_kinks(2, 3, 4)),
    Case("softmax", lambda rng: layers.Softmax(), normal(3, 5)),
    Case("linear", lambda rng: layers.Linear(4, 3, rng=rng), normal(5, 4)),
    Case("linear-no-bias", lambda rng: layers.Linear(4, 3, bias=False, rng=rng), normal(1, 4)),
    Case("global-average-pool", lambda rng: layers.GlobalAveragePool(), normal(2, 3, 4, 5)),
    Case("silu", lambda rng: layers.SiLU(), normal(2, 3, 4)),
    Case("gelu", lambda rng: layers.GELU(), normal(2, 3, 4)),
    Case("hard-swish", lambda rng: layers.HardSwish(), off_kinks(2, 3, 4)),
    Case("groupnorm", lambda rng: _trained(layers.GroupNorm(6, groups=2), rng), normal(2, 3, 2, 6)),
    Case("groupnorm-one-group", lambda rng: _trained(layers.GroupNorm(3, groups=1), rng), normal(1, 2, 3, 3)),
    Case("max-pool", lambda rng: layers.MaxPool2D(), normal(2, 6, 5, 3)),
    Case("max-pool-overlapping", lambda rng: layers.MaxPool2D(3, stride=2, padding=1), normal(2, 6, 5, 2)),
    Case("max-pool-one-pixel", lambda rng: layers.MaxPool2D(1), normal(1, 1, 1, 1)),
    Case("average-pool", lambda rng: layers.AveragePool2D(), normal(2, 4, 6, 3)),
    Case("average-pool-same", lambda rng: layers.AveragePool2D(3, stride=2, padding="same"), normal(2, 5, 4, 2)),
    Case("flatten", lambda rng: layers.Flatten(), normal(2, 3, 2, 4)),
    Case("squeeze-excitation", lambda rng: layers.SqueezeExcitation(4, 3, rng=rng), normal(2, 3, 2, 4)),
    Case("squeeze-excitation-hard", lambda rng: layers.SqueezeExcitation(4, 2, "hard", rng=rng), normal(2, 3, 2, 4)),
    Case("dropout", lambda rng: layers.Dropout(0.4, rng=rng), normal(4, 5)),
    Case("attention", lambda rng: layers.ScaledDotProductAttention(), _three(2, 5, 2, 3)),
    Case("attention-one-token", lambda rng: layers.ScaledDotProductAttention(), _three(2, 1, 1, 3)),
    Case("multi-head-attention", _attention(), normal(2, 3, 2, 3)),
    Case("multi-head-attention-positions", _attention(positions=(3, 2), residual=False), normal(2, 3, 2, 3)),
    Case("multi-head-attention-normalized", _attention(normalize=True), normal(2, 3, 2, 3)),
    Case("sequential", lambda rng: layers.Sequential(_conv()(rng), _depthwise()(rng)), normal(1, 4, 3, 2)),
    Case("residual", lambda rng: layers.Residual(_depthwise()(rng)), normal(2, 4, 3, 3)),
    Case("residual-projection", _residual, normal(2, 5, 4, 3)),
    Case("inverted-residual", _inverted(4, 5, 4), normal(2, 3, 2, 4)),
    Case("inverted-residual-stride2-squeezed", _inverted(3, 5, 4, 5, 2, "hard-swish", True), normal(2, 5, 4, 3)),
    Case("cross-entropy", lambda rng: SoftmaxCrossEntropy(), _labels),
    Case("cross-entropy-weighted", lambda rng: SoftmaxCrossEntropy(0.1, np.array([1.0, 2.0, 0.5])), _labels),
    Case("mobilenet-plain", _model("plain"), normal(2, 7, 6, 1)),
    Case("mobilenet-skip", _model("skip"), normal(2, 7, 6, 1)),
    Case("mobilenet-linear", _model("skip", linear=True), normal(2, 7, 6, 1)),
    Case("mobilenet-mha", _model("mha", heads=2, head_units=3, attention_positions=True), normal(2, 7, 6, 1)),
)
