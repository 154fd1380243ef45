"""What one layer keeps for backward, and what it needs besides while it works: a row for each kind.

A row takes the layer, the shape of its input without the batch axis, and the number of pictures, and returns a Storage.
The arrays that every pass has anyway (x and y forward, dy and dx backward) are counted by training_step.py: two layers
that keep the same array keep it once. What a kernel needs for each thread (a few hundred kB of packed rows) and
the gradients of vectors of one number a channel are left out.
"""

import math
from dataclasses import dataclass

from minifer.cost.figures import FLOAT_BYTES
from minifer.cost.kinds import KINDS as WORK
from minifer.kernels.matmul import partial_sums
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
class Storage:
    """What one layer stores of a batch.

    x, y        whether it keeps its inputs, its output
    own         bytes of the arrays that it makes in forward and keeps
    forward     bytes of the arrays that exist only during forward, beside x, y and its own
    backward    bytes of the arrays that exist only during backward, beside dy, dx and what it kept
    view        y is x with other axes, no new array
    """

    x: bool = False
    y: bool = False
    own: int = 0
    forward: int = 0
    backward: int = 0
    view: bool = False


def floats(*sizes):
    """Return the bytes of arrays of so many float32 numbers."""
    return FLOAT_BYTES * sum(sizes)


def convolution(layer, shape, batch):
    """Keeps x; gathers the windows of some pictures at a time, and multiplies them."""
    _, oh, ow = layer.geometry(*shape[:2])
    window, positions = layer.kernel**2 * layer.channels, oh * ow
    pictures = min(batch, max(1, layer.part_bytes // max(floats(positions * window), 1)))
    rows = pictures * positions
    scattered = floats(rows * window, pictures * math.prod(shape)) * layer.input_gradient
    products = floats(window * layer.filters, partial_sums(window, layer.filters, rows)) * (not layer.frozen)
    return Storage(
        x=True,
        forward=floats(rows * window, rows * layer.filters),
        backward=floats(rows * window * (not layer.frozen)) + max(scattered, products),
    )


def depthwise(layer, shape, batch):
    """Keeps x."""
    return Storage(x=True)


def pointwise(layer, shape, batch):
    """Keeps x at the strides: a copy of it where these are not all of x, nor one stretch of it."""
    oh, ow, c = -(-shape[0] // layer.stride), -(-shape[1] // layer.stride), layer.channels
    rows = batch * oh * ow
    copied = shape[0] * shape[1] > 1 and layer.stride > 1 and rows > 1
    smaller = rows * c if layer.stride > 1 else 0  # backward spreads a gradient of this size
    return Storage(
        x=not copied,
        own=floats(rows * c) if copied else 0,
        forward=floats(partial_sums(rows, layer.filters, c)),
        backward=max(
            floats(partial_sums(c, layer.filters, rows)) * (not layer.frozen),
            floats(smaller, partial_sums(rows, c, layer.filters)) * layer.input_gradient,
        ),
    )


def linear(layer, shape, batch):
    """Keeps x; the product exists beside its sum with the bias."""
    rows = batch * math.prod(shape[:-1])
    product = rows * layer.filters if layer.bias is not None else 0
    return Storage(
        x=True,
        forward=floats(max(product, partial_sums(rows, layer.filters, layer.channels))),
        backward=max(
            floats(partial_sums(layer.channels, layer.filters, rows)) * (not layer.frozen),
            floats(partial_sums(rows, layer.channels, layer.filters)) * layer.input_gradient,
        ),
    )


def attention(layer, shape, batch):
    """Keeps query, key, value, y, and a number for each row of the attention weights, which it finds again from it."""
    tokens, heads, _ = shape
    return Storage(x=True, y=True, own=floats(batch * tokens * heads))


def batch_norm(layer, shape, batch):
    """Keeps x, from which backward finds x_hat and what was clipped, and mean and inv_std."""
    return Storage(x=True, own=floats(2 * layer.channels))


def layer_norm(layer, shape, batch):
    """Keeps x_hat and a number for each row."""
    size = batch * math.prod(shape)
    return Storage(own=floats(size, size // shape[-1]))


def group_norm(layer, shape, batch):
    """Keeps x_hat twice, as rows of groups and as maps, and a number for each group."""
    size = batch * math.prod(shape)
    own = floats(2 * size, batch * layer.groups)
    return Storage(own=own, forward=floats(2 * size), backward=floats(2 * size))


def activation(layer, shape, batch):
    """Keeps x, which tells where the slope is what."""
    return Storage(x=True)


def softmax(layer, shape, batch):
    """Keeps y."""
    return Storage(y=True)


def dropout(layer, shape, batch):
    """Keeps the mask; draws it as random numbers (4 bytes), a comparison (1) and a quotient in float64 (8)."""
    size = batch * math.prod(shape)
    return Storage(own=floats(size), forward=9 * size)  # the numbers are gone when the quotient is rounded to the mask


def max_pool(layer, shape, batch):
    """Keeps which tap of each window was the largest, an int64."""
    _, oh, ow = layer.geometry(*shape[:2])
    return Storage(own=8 * batch * oh * ow * shape[-1])


def nothing(layer, shape, batch):
    """Keeps no array."""
    return Storage()


KINDS = {
    Conv2D: convolution,
    DepthwiseConv2D: depthwise,
    PointwiseConv2D: pointwise,
    Linear: linear,
    ScaledDotProductAttention: attention,
    BatchNorm: batch_norm,
    LayerNorm: layer_norm,
    GroupNorm: group_norm,
    ReLU: activation,
    SiLU: activation,
    GELU: activation,
    HardSwish: activation,
    Softmax: softmax,
    MaxPool2D: max_pool,
    AveragePool2D: nothing,
    Flatten: lambda layer, shape, batch: Storage(view=True),
    Dropout: dropout,
    GlobalAveragePool: nothing,
}


def output_shape(layer, kind, shape):
    """Return the shape of y of a known kind of layer, without the batch axis."""
    return WORK[kind](layer, shape).output_shape
