"""The two formulas of the course in a network's own numbers: the separable block, and how attention grows."""

import math
from dataclasses import dataclass
from itertools import pairwise


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
