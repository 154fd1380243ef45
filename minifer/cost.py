"""What a network costs: multiply-adds, parameters and bytes, layer by layer, forward and backward, from formulas alone.

A multiply-add is one multiplication and the addition of its product to a sum: two floating-point operations. Those of
convolutions, dense layers and attention are counted, with the zeros of the padding as factors too, as is usual; biases,
normalization, activations, softmax and pooling are not. minifer/counting.py counts them one by one and must agree.

    forward                  every product of an input and a weight, once
    backward                 the same number for dx, and again for dweight
    arithmetic intensity     2 * multiply-adds / bytes moved        operations per byte; every array is moved once

A depthwise separable block against the ordinary convolution in its place; K x K kernel, C to F channels, P positions:

    (P K^2 C + P C F) / (P K^2 C F)  =  1/F + 1/K^2        about one ninth for 3 x 3 kernels

Attention of T tokens of C channels, with I = heads * units inside: its projections grow with T, its tables with T^2,
and from T = 2 C on the tables cost more:

    4 T C I + 2 T^2 I

Source: Howard et al., MobileNets, 2017, section 3.1; Vaswani et al., 2017, table 1; Williams, Waterman & Patterson,
Roofline, 2009.
"""

import math
from dataclasses import dataclass, fields, replace
from itertools import pairwise

FLOAT_BYTES = 4  # of a float32


class _Sum:
    """Adds dataclasses field by field."""

    def __add__(self, other):
        return type(self)(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class Pass(_Sum):
    """The work of one direction, forward or backward.

    multiply_adds  for one picture
    map_bytes      of the activations and their gradients that are read or written for one picture
    weight_bytes   of the weights that are read and the gradients of weights that are written, once for a whole batch
    """

    multiply_adds: int = 0
    map_bytes: int = 0
    weight_bytes: int = 0

    def bytes_moved(self, batch=1):
        """Return the bytes that a batch moves if every array crosses the memory bus once."""
        return batch * self.map_bytes + self.weight_bytes

    def intensity(self, batch=1):
        """Return the arithmetic intensity: floating-point operations (two a multiply-add) per byte moved."""
        moved = self.bytes_moved(batch)
        return 2 * batch * self.multiply_adds / moved if moved else 0.0

    def seconds(self, operations_per_second, bytes_per_second, batch=1):
        """Return the least time that a machine can take, the roofline: it is short of arithmetic or of bandwidth."""
        arithmetic = 2 * batch * self.multiply_adds / operations_per_second
        return max(arithmetic, self.bytes_moved(batch) / bytes_per_second)


@dataclass(frozen=True)
class Cost(_Sum):
    """The cost of a layer or network for one picture.

    forward, backward     a Pass each. backward is that of the layer as it stands: gradients that nobody reads, of
                          frozen parameters or, after require_input_gradient(False), of the pictures, cost nothing
    trainable_parameters  what an optimizer would move
    parameters            all of them and the running statistics, which is what Keras calls the total
    activation_bytes      of the outputs in float32
    """

    forward: Pass = Pass()
    backward: Pass = Pass()
    trainable_parameters: int = 0
    parameters: int = 0
    activation_bytes: int = 0

    @property
    def multiply_adds(self):
        """Those of the forward pass, the figure that is quoted for networks."""
        return self.forward.multiply_adds


@dataclass(frozen=True)
class LayerCost:
    """One row of a cost table: which layer, what goes in and comes out (without the batch axis), and its Cost."""

    path: str
    kind: str
    input_shape: tuple
    output_shape: tuple
    cost: Cost


def count(layer, input_shape):
    """Return the Cost of a layer or model: count(mobilenet(), (48, 48, 1)).trainable_parameters == 3213575."""
    table, _ = layer.cost_rows(tuple(input_shape))
    return replace(
        sum((row.cost for row in table), Cost()),  # except for arrays that several rows share
        trainable_parameters=sum(item.value.size for item in layer.parameters(trainable_only=True).values()),
        parameters=sum(array.size for array in layer.state().values()),
    )


def additions(shape, forward, backward):
    """Return the Cost of adding two arrays of a shape, so many times in each direction: two are read, one written."""
    size = FLOAT_BYTES * math.prod(shape)
    return Cost(Pass(0, 3 * size * forward), Pass(0, 3 * size * backward), activation_bytes=size * forward)


@dataclass(frozen=True)
class SeparableBlock:
    """A depthwise convolution and the pointwise one after it, beside the ordinary convolution of the same shape."""

    path: str
    positions: int
    kernel: int
    channels: int
    filters: int

    @property
    def multiply_adds(self):
        """P K^2 C + P C F."""
        return self.positions * self.parameters

    @property
    def standard_multiply_adds(self):
        """P K^2 C F."""
        return self.positions * self.standard_parameters

    @property
    def parameters(self):
        """K^2 C + C F weights."""
        return self.kernel**2 * self.channels + self.channels * self.filters

    @property
    def standard_parameters(self):
        """K^2 C F weights."""
        return self.kernel**2 * self.channels * self.filters

    @property
    def ratio(self):
        """Multiply-adds of the two over those of the one."""
        return self.multiply_adds / self.standard_multiply_adds

    @property
    def predicted_ratio(self):
        """1/F + 1/K^2."""
        return 1 / self.filters + 1 / self.kernel**2


def separable_blocks(table):
    """Return a SeparableBlock for every depthwise row of a table that a pointwise one on the same map follows."""
    convolutions = [row for row in table if row.cost.multiply_adds]
    blocks = []
    for depthwise, pointwise in pairwise(convolutions):
        *positions, channels = depthwise.output_shape
        if (depthwise.kind, pointwise.kind) != ("DepthwiseConv2D", "PointwiseConv2D"):
            continue
        if pointwise.output_shape[:-1] != depthwise.output_shape[:-1]:
            continue  # a pointwise convolution with a stride: the formula is not about it
        kernel = math.isqrt(depthwise.cost.multiply_adds // math.prod(depthwise.output_shape))
        path = depthwise.path.rpartition(".")[0] or depthwise.path
        blocks.append(SeparableBlock(path, math.prod(positions), kernel, channels, pointwise.output_shape[-1]))
    return blocks


def attention_growth(channels, inner, sides):
    """Return [(T, 4 T C I, 2 T^2 I)] for square maps of these sides: multiply-adds of projections and tables."""
    return [(n * n, 4 * n * n * channels * inner, 2 * n**4 * inner) for n in sides]
