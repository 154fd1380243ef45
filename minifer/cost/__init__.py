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

What a training step stores is another matter, and has a page of its own: memory.py.

Source: Howard et al., MobileNets, 2017, section 3.1; Vaswani et al., 2017, table 1; Williams, Waterman & Patterson,
Roofline, 2009.
"""

from minifer.cost.blocks import SeparableBlock, attention_growth, separable_blocks
from minifer.cost.figures import FLOAT_BYTES, Cost, LayerCost, Pass
from minifer.cost.memory import LayerMemory, Memory, largest_batch, stored_now, training_memory
from minifer.cost.table import cost_rows, count

__all__ = [
    "FLOAT_BYTES",
    "Cost",
    "LayerCost",
    "LayerMemory",
    "Memory",
    "Pass",
    "SeparableBlock",
    "attention_growth",
    "cost_rows",
    "count",
    "largest_batch",
    "separable_blocks",
    "stored_now",
    "training_memory",
]
