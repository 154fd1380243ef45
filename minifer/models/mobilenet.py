"""MobileNet in three variants: plain, with skip connections, and with skip connections and multi-head attention.

    stem -> depthwise separable blocks (one per row of a table) -> mean over positions -> one dense layer

    separable block    depthwise 3x3 -> BatchNorm + ReLU6 -> pointwise 1x1 -> BatchNorm + ReLU6
    "skip"             each block's input is added to its output; where shapes differ, through a pointwise projection
    "mha"              and multi-head self-attention over the positions follows each block

Source: Howard et al., MobileNets, 2017, table 1; for the skips and the attention Nouisser, Zouari & Kherallah, 2023,
figures 7 and 8.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from minifer.errors import ConfigError
from minifer.layers import (
    BatchNorm,
    Conv2D,
    DepthwiseConv2D,
    GlobalAveragePool,
    MultiHeadSelfAttention,
    PointwiseConv2D,
    Residual,
    Sequential,
)
from minifer.models.ends import classifier, generator

VARIANTS = ("plain", "skip", "mha")
STEM_FILTERS = 32
MOST_ROWS = 64  # of a table of one's own
# Tables of rows (output channels at alpha 1, stride). The published one is for pictures of 224 pixels: on small ones
# most of its work falls on the last few positions, where little is left of a mouth's corner. In the even one channels
# double only where the map halves, so that every size of map gets about the same share of the multiply-adds.
BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)
EVEN_BLOCKS = (
    (32, 1),
    (32, 1),
    (64, 2),
    (64, 1),
    (64, 1),
    (128, 2),
    (128, 1),
    (128, 1),
    (256, 2),
    (256, 1),
)
TABLES = {"published": BLOCKS, "even": EVEN_BLOCKS}


def block_table(text: str) -> tuple[tuple[int, int], ...]:
    """Return the rows of a table that has a name, or is written down: channels, /stride, *how many such blocks.

        >>> block_table("32,64/2,128/2*3")
        ((32, 1), (64, 2), (128, 2), (128, 1), (128, 1))

    Of several blocks only the first has the stride.   Raises ConfigError for what is neither
    """
    if text in TABLES:
        return TABLES[text]
    rows = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,4})(?:/([12]))?(?:\*(\d{1,2}))?\s*", part, re.ASCII)
        channels, stride, count = (int(number or 1) for number in found.groups()) if found else (0, 1, 1)
        if not channels or not count or len(rows) + count > MOST_ROWS:
            raise ConfigError(
                f"blocks {text!r} is no table: write {', '.join(TABLES)}, or rows such as 32,64/2,128/2*3 "
                f"(channels, stride 1 or 2, how many), {MOST_ROWS} blocks at most"
            )
        rows += [(channels, stride), *[(channels, 1)] * (count - 1)]
    return tuple(rows)


class MobileNet(Sequential):
    """A Sequential of stem, block1, (attention1,) block2, ... pool, dropout, classifier; gives logits (N, classes)."""

    def freeze(self, part="all"):
        """Freeze "all", or the "extraction": stem and blocks without their skip projections, for transfer learning."""
        if part not in ("all", "extraction"):
            raise ConfigError(f'freeze takes "all" or "extraction", got {part!r}')
        for path, layer in self.walk():
            layer.frozen = part == "all" or _is_extraction(path)
        return self

    def load_extraction(self, state, source="the given state"):
        """Copy the extraction's arrays from another MobileNet's state, whatever variant that is; the rest stays."""
        rest = {path: array for path, array in self.state().items() if not _is_extraction(path)}
        extraction = {path: array for path, array in state.items() if _is_extraction(path)}
        self.load_state({**rest, **extraction}, source)
        return self


def _is_extraction(path):
    """Say whether a layer or an array belongs to the stem or the body of a block."""
    return path.startswith(("stem", "block")) and ".projection" not in path


def _separable(channels, filters, stride, padding, eps, momentum, linear, rng):
    """Return the layers of one depthwise separable block, by name."""
    return {
        "depthwise": DepthwiseConv2D(channels, 3, stride, padding, rng=rng),
        "depthwise_norm": BatchNorm(channels, momentum, eps, "relu6"),
        "pointwise": PointwiseConv2D(channels, filters, rng=rng),
        "pointwise_norm": BatchNorm(filters, momentum, eps, None if linear else "relu6"),
    }


def _projection(channels, filters, stride, eps, momentum, rng):
    """Return what a skip connection passes through, or None where it needs nothing."""
    if stride == 1 and channels == filters:
        return None
    return Sequential(
        pointwise=PointwiseConv2D(channels, filters, stride, rng=rng), norm=BatchNorm(filters, momentum, eps)
    )


def mobilenet(
    variant: str = "plain",
    alpha: float = 1.0,
    input_shape: tuple[int, int, int] = (48, 48, 1),
    classes: int = 7,
    stem_stride: int = 2,
    attention_blocks: Iterable[int] | None = None,
    heads: int = 8,
    head_units: int = 64,
    attention_positions: bool = False,
    attention_normalize: bool = True,
    dropout: float = 0.0,
    padding: str = "same",
    bn_eps: float = 1e-3,
    bn_momentum: float = 0.9,
    blocks: Sequence[tuple[int, int]] = BLOCKS,
    linear: bool = False,
    seed: int = 0,
    outline: bool = False,
) -> "MobileNet":
    """Build a MobileNet.

        >>> import numpy as np
        >>> network = mobilenet("skip", alpha=0.25)
        >>> network(np.zeros((2, 48, 48, 1), np.float32)).shape
        (2, 7)

    variant              "plain", "skip", or "mha" (skips and attention)
    alpha                width: every channel count is multiplied by it
    input_shape          (H, W, C) of one picture
    stem_stride          2 as published; 1 keeps twice the resolution, at four times the cost
    attention_blocks     numbers of the blocks (1 is the first) that attention follows; None means all of them, as in
                         the paper. On 48x48 pictures the 24x24 and 12x12 maps of blocks 1 to 3 cost 16 times the rest
                         of the network, since attention grows with the square of the positions; range(6, 14) leaves
                         the 3x3 and 2x2 maps.
    heads, head_units    attention heads, and units of query, key and value in each
    attention_positions  True adds a learned position to the tokens; without it attention cannot tell places apart
    attention_normalize  normalize the tokens first and what attention adds last, which the paper does not mention;
                         without it both grow with the depth of the network, and training fails at the paper's rate
    padding              "same" (TensorFlow's) or "symmetric" (PyTorch's); weights from elsewhere need the one that
                         they grew up with
    bn_eps               what BatchNorm adds to the variance: likewise, 1e-3 in TensorFlow and 1e-5 in PyTorch
    blocks               rows (channels, stride): the published 13, EVEN_BLOCKS, or a table of your own
    linear               True ends the blocks without ReLU6. Published blocks end with it, so that with skips they can
                         only ever add to what passes by; a linear one can also take away (Sandler et al., MobileNetV2,
                         2018; He et al., Identity mappings in deep residual networks, 2016, figure 4c)
    seed                 of the starting weights and of dropout
    outline              True gives the weights shapes but neither values nor memory, which load_state brings
    """
    if variant not in VARIANTS:
        raise ConfigError(f"unknown model {variant!r}: choose one of {', '.join(VARIANTS)}")
    if attention_blocks is not None and variant != "mha":
        raise ConfigError(f'attention blocks need the "mha" model, not {variant!r}')
    if linear and variant == "plain":
        raise ConfigError("linear blocks need skip connections: choose the model skip or mha")
    attention_blocks = range(1, len(blocks) + 1) if attention_blocks is None else attention_blocks
    unknown = [number for number in attention_blocks if not 1 <= number <= len(blocks)]
    if unknown:
        raise ConfigError(f"there is no block {unknown[0]}: blocks are numbered 1 to {len(blocks)}")
    rng = generator(alpha, input_shape, classes, seed, outline)

    def scaled(filters):
        return max(1, int(filters * alpha))

    channels = scaled(STEM_FILTERS)
    layers = {
        "stem": Conv2D(input_shape[2], channels, 3, stem_stride, padding, rng=rng),
        "stem_norm": BatchNorm(channels, bn_momentum, bn_eps, "relu6"),
    }
    size = np.array(input_shape[:2])
    size = -(-size // stem_stride)
    for number, (filters, stride) in enumerate(blocks, start=1):
        filters = scaled(filters)  # noqa: PLW2901
        body = _separable(channels, filters, stride, padding, bn_eps, bn_momentum, linear, rng)
        if variant == "plain":
            layers[f"block{number}"] = Sequential(**body)
        else:
            projection = _projection(channels, filters, stride, bn_eps, bn_momentum, rng)
            layers[f"block{number}"] = Residual(**body, projection=projection)
        channels, size = filters, -(-size // stride)
        if variant == "mha" and number in attention_blocks:
            positions = (int(size[0]), int(size[1])) if attention_positions else None
            layers[f"attention{number}"] = MultiHeadSelfAttention(
                channels, heads, head_units, positions=positions, rng=rng, normalize=attention_normalize,
                output_norm=BatchNorm(channels, bn_momentum, bn_eps) if attention_normalize else None,
            )  # fmt: skip
    layers["pool"] = GlobalAveragePool()
    layers |= classifier(channels, classes, dropout, seed, rng)
    return MobileNet(**layers)
