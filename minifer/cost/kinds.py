"""What one layer costs: a row for each kind. Layers themselves know nothing of it.

A row takes the layer and the shape of its input without the batch axis, and returns Work: the shape of the output, the
multiply-adds of forward, and how often arrays of maps are read or written. Unless it says otherwise

    forward    reads x and writes y
    backward   makes as many products as forward for dx, and again for dweight; for dx it reads dy and writes dx, for
               dweight it reads x and dy
"""

import math
from dataclasses import dataclass

from minifer.errors import ShapeError
from minifer.layers import (
    GELU,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePool,
    GroupNorm,
    HardSwish,
    LayerNorm,
    Linear,
    MaxPool2D,
    PointwiseConv2D,
    ReLU,
    ScaledDotProductAttention,
    SiLU,
    Softmax,
)


@dataclass(frozen=True)
class Work:
    """The work of one layer on one picture; None where it is as usual.

    backward_multiply_adds    products that backward makes
    forward_maps              values of activations that forward reads or writes
    backward_maps             values of activations and of their gradients that backward reads or writes
    """

    output_shape: tuple
    multiply_adds: int = 0
    backward_multiply_adds: int | None = None
    forward_maps: int | None = None
    backward_maps: int | None = None


def gradients(layer):
    """Return how many kinds of gradient backward computes: dx if it is read, the parameters' unless frozen."""
    return int(layer.input_gradient) + int(layer.trains())


def convolution(layer, shape):
    """OH*OW*C*F*KH*KW, and of a depthwise one OH*OW*C*KH*KW: every weight once at every position of y."""
    height, width, channels = shape
    _, oh, ow = layer.geometry(height, width)
    filters = layer.filters if isinstance(layer, Conv2D) else channels
    return Work((oh, ow, filters), oh * ow * layer.weight.value.size)


def pointwise(layer, shape):
    """OH*OW*C*F."""
    oh, ow = -(-shape[0] // layer.stride), -(-shape[1] // layer.stride)
    return Work((oh, ow, layer.filters), oh * ow * layer.weight.value.size)


def linear(layer, shape):
    """C*F for every row."""
    return Work((*shape[:-1], layer.filters), math.prod(shape[:-1]) * layer.weight.value.size)


def attention(layer, shape):
    """2 T^2 A D: the scores and their weighted sum. Backward makes the scores again and four gradients."""
    tokens, heads, width = shape
    product, size = tokens * tokens * heads * width, math.prod(shape)
    dx = layer.input_gradient
    return Work(shape, 2 * product, 5 * product * dx, 4 * size, 8 * size * dx)  # q, k, v, y; dy and 3 gradients too


def batch_norm(layer, shape):
    """Forward reads x once more for the statistics of the batch."""
    size = math.prod(shape)
    return Work(shape, 0, 0, (2 if layer.frozen else 3) * size, (2 * layer.trains() + 3 * layer.input_gradient) * size)


def layer_norm(layer, shape):
    """Forward writes y and x_hat."""
    size = math.prod(shape)
    return Work(shape, 0, 0, 3 * size, (2 * layer.trains() + 3 * layer.input_gradient) * size)


def activation(layer, shape):
    """Backward finds dx from dy and from x or y."""
    size = math.prod(shape)
    return Work(shape, 0, 0, 2 * size, 3 * size * layer.input_gradient)


def dropout(layer, shape):
    """The mask is one more array."""
    size = math.prod(shape)
    return Work(shape, 0, 0, 3 * size, 3 * size * layer.input_gradient)


def pool(layer, shape):
    """Nothing is multiplied."""
    _, oh, ow = layer.geometry(*shape[:2])
    return Work((oh, ow, shape[-1]))


OF_MAPS = (Conv2D, DepthwiseConv2D, PointwiseConv2D, MaxPool2D, AveragePool2D, GlobalAveragePool)


def check_fits(layer, shape, path):
    """Raise ShapeError unless a layer of a known kind can read what comes in; within attention that is rows (T,C)."""
    name, channels = path or type(layer).__name__, getattr(layer, "channels", shape[-1])
    if channels != shape[-1]:
        raise ShapeError(f"{name} was made for {channels} channels, and {shape} comes in")
    if isinstance(layer, OF_MAPS) and len(shape) != 3:
        raise ShapeError(f"{name} reads maps (H,W,C), and {shape} comes in")
    if isinstance(layer, Linear) and len(shape) > 2:
        raise ShapeError(f"{name} reads rows (C,), and {shape} comes in: put Flatten or GlobalAveragePool before it")


KINDS = {
    Conv2D: convolution,
    DepthwiseConv2D: convolution,
    PointwiseConv2D: pointwise,
    Linear: linear,
    ScaledDotProductAttention: attention,
    BatchNorm: batch_norm,
    LayerNorm: layer_norm,
    GroupNorm: layer_norm,
    ReLU: activation,  # and ReLU6, whose forward it is
    SiLU: activation,
    GELU: activation,
    HardSwish: activation,
    Softmax: activation,
    MaxPool2D: pool,
    AveragePool2D: pool,
    Flatten: lambda layer, shape: Work((math.prod(shape),), 0, 0, 0, 0),
    Dropout: dropout,
    GlobalAveragePool: lambda layer, shape: Work(shape[-1:]),
}
