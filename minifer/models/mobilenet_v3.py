"""MobileNetV3, large and small: inverted residuals found by a search, with squeeze-and-excitation and hard swish.

    stem 3x3 -> inverted residuals (rows of the table) -> pointwise -> mean over positions -> dense -> dense

For pictures of 224 pixels and 1000 classes, weights those of PyTorch's torchvision to the last one:

                 multiply-adds       the paper's        weights       the paper's
    large        216.6 million       219 million        5,483,032     5.4 million
    small         56.5 million       56 million         2,542,856     2.5 million

The paper does not say what it counts beside the products of convolutions and dense layers; 1 % of large is not
accounted for.

Source     Howard et al., Searching for MobileNetV3, 2019, tables 1 and 2
"""

from minifer.errors import ConfigError
from minifer.layers import Conv2D, GlobalAveragePool, HardSwish, Linear, PointwiseConv2D, Sequential
from minifer.models.ends import classifier, generator
from minifer.models.inverted import divisible, inverted_residual, normalized

RE, HS = "relu", "hard-swish"
# Rows (kernel, expanded channels, output channels, squeeze-and-excitation, activation, stride), all at alpha 1.
V3_BLOCKS = {
    "large": (
        (3, 16, 16, False, RE, 1),
        (3, 64, 24, False, RE, 2),
        (3, 72, 24, False, RE, 1),
        (5, 72, 40, True, RE, 2),
        (5, 120, 40, True, RE, 1),
        (5, 120, 40, True, RE, 1),
        (3, 240, 80, False, HS, 2),
        (3, 200, 80, False, HS, 1),
        (3, 184, 80, False, HS, 1),
        (3, 184, 80, False, HS, 1),
        (3, 480, 112, True, HS, 1),
        (3, 672, 112, True, HS, 1),
        (5, 672, 160, True, HS, 2),
        (5, 960, 160, True, HS, 1),
        (5, 960, 160, True, HS, 1),
    ),
    "small": (
        (3, 16, 16, True, RE, 2),
        (3, 72, 24, False, RE, 2),
        (3, 88, 24, False, RE, 1),
        (5, 96, 40, True, HS, 2),
        (5, 240, 40, True, HS, 1),
        (5, 240, 40, True, HS, 1),
        (5, 120, 48, True, HS, 1),
        (5, 144, 48, True, HS, 1),
        (5, 288, 96, True, HS, 2),
        (5, 576, 96, True, HS, 1),
        (5, 576, 96, True, HS, 1),
    ),
}
STEM_FILTERS, HIDDEN = 16, {"large": 1280, "small": 1024}


def mobilenet_v3(
    variant: str = "small",
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
    """Build a MobileNetV3, "large" or "small"; other arguments as for mobilenet.

    >>> import numpy as np
    >>> mobilenet_v3("small", 0.25)(np.zeros((2, 48, 48, 1), np.float32)).shape
    (2, 7)
    """
    if variant not in V3_BLOCKS:
        raise ConfigError(f"unknown MobileNetV3 {variant!r}: choose large or small")
    rng = generator(alpha, input_shape, classes, seed, outline)
    norm = {"eps": bn_eps, "momentum": bn_momentum}
    channels = divisible(STEM_FILTERS * alpha)
    stem = Conv2D(input_shape[2], channels, 3, stem_stride, padding, rng=rng)
    layers = normalized("stem", stem, channels, HS, **norm)
    for number, (kernel, expanded, filters, squeeze, activation, stride) in enumerate(V3_BLOCKS[variant], start=1):
        expanded, filters = divisible(expanded * alpha), divisible(filters * alpha)  # noqa: PLW2901
        layers[f"block{number}"] = inverted_residual(
            channels, expanded, filters, kernel, stride, activation, squeeze, padding=padding, rng=rng, **norm
        )
        channels = filters
    last, hidden = 6 * channels, divisible(HIDDEN[variant] * max(alpha, 1.0))
    layers |= normalized("last", PointwiseConv2D(channels, last, rng=rng), last, HS, **norm)
    layers |= {"pool": GlobalAveragePool(), "hidden": Linear(last, hidden, rng=rng), "hidden_activation": HardSwish()}
    layers |= classifier(hidden, classes, dropout, seed, rng)
    return Sequential(**layers)
