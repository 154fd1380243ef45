"""What a network costs: multiply-adds and parameters, layer by layer, from the formulas alone.

A depthwise separable block against the ordinary convolution in its place; K x K kernel, C to F channels, P positions:

    (P K^2 C + P C F) / (P K^2 C F)  =  1/F + 1/K^2        about one ninth for 3 x 3 kernels
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """The cost of one forward pass of one picture.

    multiply_adds         pairs of one multiplication and one addition in convolutions, dense layers and attention;
                          biases, normalization and activations are not counted, as is usual
    trainable_parameters  what an optimizer would move
    parameters            the same and the running statistics
    """

    multiply_adds: int = 0
    trainable_parameters: int = 0
    parameters: int = 0

    def __add__(self, other):
        return Cost(
            self.multiply_adds + other.multiply_adds,
            self.trainable_parameters + other.trainable_parameters,
            self.parameters + other.parameters,
        )


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
    return sum((row.cost for row in table), Cost())
