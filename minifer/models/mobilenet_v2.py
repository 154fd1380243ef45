"""MobileNetV2: inverted residuals with linear ends.

    stem 3x3 -> inverted residuals (rows of the table) -> pointwise to 1280 channels -> mean over positions -> dense

For pictures of 224 pixels and 1000 classes: 300.8 million multiply-adds and 3,504,872 weights. The paper's table 4 says
300 million and 3.4 million; the weights are those of PyTorch's torchvision, to the last one.

Source     Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, 2018, table 2
"""

from minifer.layers import Conv2D, GlobalAveragePool, PointwiseConv2D, Sequential
from minifer.models.ends import classifier, generator
from minifer.models.inverted import divisible, inverted_residual, normalized

# Rows (expansion, output channels at alpha 1, how many blocks, stride of the first).
V2_BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
STEM_FILTERS, LAST_FILTERS = 32, 1280


def mobilenet_v2(
    alpha: float = 1.0,
    input_shape: tuple[int, int, int] = (48, 48, 1),
    classes: int = 7,
    stem_stride: int = 2,
    dropout: float = 0.0,
    padding: str = "same",
    bn_eps: float = 1e-3,
    bn_momentum: float = 0.9,
    seed: int = 0,
    outline: bool = False,
) -> Sequential:
    """Build a MobileNetV2; arguments as for mobilenet.

    >>> import numpy as np
    >>> mobilenet_v2(0.25)(np.zeros((2, 48, 48, 1), np.float32)).shape
    (2, 7)
    """
    rng = generator(alpha, input_shape, classes, seed, outline)
    norm = {"eps": bn_eps, "momentum": bn_momentum}
    channels = divisible(STEM_FILTERS * alpha)
    stem = Conv2D(input_shape[2], channels, 3, stem_stride, padding, rng=rng)
    layers = normalized("stem", stem, channels, "relu6", **norm)
    number = 0
    for expansion, filters, count, first_stride in V2_BLOCKS:
        filters = divisible(filters * alpha)  # noqa: PLW2901
        for stride in (first_stride, *[1] * (count - 1)):
            number += 1
            layers[f"block{number}"] = inverted_residual(
                channels, expansion * channels, filters, 3, stride, padding=padding, rng=rng, **norm
            )
            channels = filters
    last = divisible(LAST_FILTERS * max(alpha, 1.0))
    layers |= normalized("last", PointwiseConv2D(channels, last, rng=rng), last, "relu6", **norm)
    layers["pool"] = GlobalAveragePool()
    layers |= classifier(last, classes, dropout, seed, rng)
    return Sequential(**layers)
