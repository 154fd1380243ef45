"""The inverted residual, of which MobileNetV2 and V3 are made: wide inside, narrow where the skip connection runs.

    expand     pointwise 1x1, C -> E channels, BatchNorm, activation      (left out where E = C)
    depthwise  K x K, E channels, stride s, BatchNorm, activation
    squeeze    squeeze-and-excitation with E / 4 reduced channels         (of some blocks of V3)
    project    pointwise 1x1, E -> F channels, BatchNorm, no activation
    + x        where s = 1 and F = C

Cost       P E (C + F + K^2) multiply-adds at a stride of 1 on P positions; an ordinary K x K convolution has P K^2 C F
Source     Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, 2018, table 1 and figure 3b;
           Howard et al., Searching for MobileNetV3, 2019, figure 4
"""

from minifer.layers import (
    BatchNorm,
    DepthwiseConv2D,
    HardSwish,
    PointwiseConv2D,
    Residual,
    Sequential,
    SqueezeExcitation,
)


def divisible(channels, by=8):
    """Return the multiple of 8 nearest to a number of channels, at least 8, and not below nine tenths of it."""
    nearest = max(by, int(channels + by / 2) // by * by)
    return nearest + by if nearest < 0.9 * channels else nearest


def normalized(name, convolution, filters, activation, eps, momentum):
    """Return {name: layer} of a convolution, BatchNorm and an activation: "relu", "relu6", "hard-swish" or None."""
    smooth = activation == "hard-swish"
    layers = {name: convolution, f"{name}_norm": BatchNorm(filters, momentum, eps, None if smooth else activation)}
    return {**layers, f"{name}_activation": HardSwish()} if smooth else layers


def inverted_residual(
    channels, expanded, filters, kernel=3, stride=1, activation="relu6", squeeze=False, *, padding="same", eps=1e-3,
    momentum=0.9, rng,
):  # fmt: skip
    """Return the block as a Residual, or as a Sequential where nothing can be added.

    Shapes     (N,H,W,channels) -> (N,ceil(H/stride),ceil(W/stride),filters)
    """
    layers = {}
    if expanded != channels:
        layers |= normalized(
            "expand", PointwiseConv2D(channels, expanded, rng=rng), expanded, activation, eps, momentum
        )
    depthwise = DepthwiseConv2D(expanded, kernel, stride, padding, rng=rng)
    layers |= normalized("depthwise", depthwise, expanded, activation, eps, momentum)
    if squeeze:
        layers["squeeze"] = SqueezeExcitation(expanded, divisible(expanded / 4), "hard", rng=rng)
    layers |= normalized("project", PointwiseConv2D(expanded, filters, rng=rng), filters, None, eps, momentum)
    return (Residual if stride == 1 and filters == channels else Sequential)(**layers)
