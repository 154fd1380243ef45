"""Looking inside a trained network: the numbers, and the figures that show them.

filters           what the stem and the depthwise layers look for
feature maps      what comes out of each layer for one picture
attention         which positions each head takes from, seen from one position
saliency          how much each pixel moves a logit: d logit[k] / d x
block effects     how much accuracy is lost when one block is left out
"""

import copy

import numpy as np

from minifer.data.dataset import to_float
from minifer.errors import ConfigError
from minifer.layers import MultiHeadSelfAttention, Residual
from minifer.report.canvas import BLUE, INK, ORANGE, new_figure, plain_frame, show, show_map


def outputs(model, image):
    """Return {layer: its output (H,W,C) or (C,)} for a picture (H,W) uint8, in the order of the layers."""
    x, found = to_float(image[None]), {}
    for name, layer in model.layers.items():
        x = layer.forward(x)
        found[name] = x[0]
    return found


def attention_maps(model, image):
    """Return {attention layer: probs (A,H,W,H,W)}: head, the position that looks, the position looked at."""
    x, found = to_float(image[None]), {}
    for name, layer in model.layers.items():
        if isinstance(layer, MultiHeadSelfAttention):
            height, width = x.shape[1:3]
            found[name] = layer.probabilities(x)[0].reshape(-1, height, width, height, width)
        x = layer.forward(x)
    return found


def saliency(model, image, label=None):
    """Return (gradient (H,W), label): of a logit with respect to the picture, as the network is used.

    Without a label it is the class that the network takes the picture for. The model itself is left as it is.

    Source     Simonyan, Vedaldi & Zisserman, Deep Inside Convolutional Networks, 2014
    """
    model = copy.deepcopy(model)
    model.freeze()  # running statistics, no dropout: the network as it predicts
    model.require_input_gradient(True)
    logits = model.forward(to_float(image[None]), training=True)
    label = int(logits.argmax()) if label is None else label
    one = np.zeros_like(logits)
    one[0, label] = 1
    return model.backward(one)[0, :, :, 0], label


def block_effects(model, images, labels):
    """Return (top-1, {block: top-1 without its body}), of a network with skips.

    What is left of a block is its skip connection: the identity or the projection.

    Shapes     images (N,H,W) uint8   labels (N,)
    Raises     ConfigError when no block has a skip connection
    Source     Veit, Wilber & Belongie, Residual Networks Behave Like Ensembles of Relatively Shallow Networks, 2016
    """
    blocks = [name for name, layer in model.layers.items() if isinstance(layer, Residual)]
    if not blocks:
        raise ConfigError("no block of this network has a skip connection: without its body nothing would be left")

    def top1(left_out):
        x = to_float(images)
        for name, layer in model.layers.items():
            if name != left_out:
                x = layer.forward(x)
            elif layer.projection is not None:
                x = layer.projection.forward(x)
        return float((x.argmax(axis=1) == labels).mean())

    return top1(None), {name: top1(name) for name in blocks}


# The figures. Each returns a Matplotlib Figure.


def draw_filters(model, columns=12):
    """Draw the first filters of the stem and of each block's depthwise layer: blue is negative, red positive."""
    rows = {"stem": model.layers["stem"].weight.value[:, :, 0]}
    for name, layer in model.layers.items():
        if name.startswith("block"):
            rows[name] = layer.layers["depthwise"].weight.value
    figure, axes = new_figure(0.62 * (columns + 1), 0.64 * len(rows), len(rows), columns)
    for spots, (name, filters) in zip(axes, rows.items(), strict=True):
        label_row(spots[0], name)
        for number, spot in enumerate(spots):
            if number < filters.shape[2]:
                show_map(spot, filters[:, :, number], centred=True)
            else:
                spot.axis("off")
    return figure


def draw_feature_maps(model, image, layers=("stem_norm", "block1", "block3", "block5", "block11"), columns=8):
    """Draw the first channels that come out of some layers for a picture (H,W) uint8."""
    found = outputs(model, image)
    if missing := [name for name in layers if name not in found or found[name].ndim != 3]:
        raise ConfigError(f"{missing[0]!r} is no layer with a map: choose among {', '.join(found)}")
    figure, axes = new_figure(1.15 * (columns + 1), 1.2 * len(layers), len(layers), columns + 1)
    for spots, name in zip(axes, layers, strict=True):
        maps = found[name]
        height, width, channels = maps.shape
        label_row(spots[1], f"{name}\n{height} x {width} x {channels}")
        spots[0].axis("off")
        for channel, spot in enumerate(spots[1:]):
            if channel < channels:
                show_map(spot, maps[..., channel])
            else:
                spot.axis("off")
    show(axes[0, 0], image, "the picture")
    axes[0, 0].axis("on")
    return figure


def draw_attention(model, image, layer=None):
    """Draw what each head of an attention layer takes from, seen from the middle, over the picture.

    layer      name of the layer; None takes the first
    Raises     ConfigError when the network has no attention layer of that name
    """
    maps = attention_maps(model, image)
    name = next(iter(maps), None) if layer is None else layer
    if name not in maps:
        raise ConfigError(f"no attention layer {layer or ''!r}: this network has {', '.join(maps) or 'none'}")
    probs = maps[name]
    heads, height, width = probs.shape[:3]
    row, column = height // 2, width // 2
    columns = min(heads, 4) + 1
    lines = -(-heads // (columns - 1))
    figure, axes = new_figure(1.7 * columns, 1.85 * lines + 0.2, lines, columns)
    for spot in axes[:, 0]:
        spot.axis("off")
    show(axes[0, 0], image, "seen from the ring")
    axes[0, 0].axis("on")
    side_y, side_x = image.shape[0] / height, image.shape[1] / width
    for head in range(heads):
        spot = axes[head // (columns - 1), 1 + head % (columns - 1)]
        show(spot, image)
        seen = probs[head, row, column]
        extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
        spot.imshow(seen, cmap="Oranges", alpha=0.65, extent=extent, vmin=0, vmax=seen.max())
        spot.set_title(f"head {head + 1}: up to {seen.max():.0%}", size=9, color=INK)
    axes[0, 0].plot(
        (column + 0.5) * side_x - 0.5, (row + 0.5) * side_y - 0.5, "o", markersize=12, markerfacecolor="none",
        markeredgecolor=ORANGE, markeredgewidth=2,
    )  # fmt: skip
    for spot in axes[:, 1:].flat[heads:]:
        spot.axis("off")
    return figure


def draw_saliency(model, images, classes):
    """Draw pictures (N,H,W) uint8 above the size of the gradient of the logit that wins."""
    figure, axes = new_figure(1.5 * len(images), 3.3, 2, len(images))
    for above, below, image in zip(*axes, images, strict=True):
        gradient, label = saliency(model, image)
        show(above, image, f"taken for {classes[label]}")
        show(below, image)
        below.imshow(np.abs(gradient), cmap="inferno", alpha=0.8)
    return figure


def draw_block_effects(model, images, labels):
    """Draw the top-1 accuracy that is left when each block's body is left out."""
    whole, effects = block_effects(model, images, labels)
    figure, axes = new_figure(7.5, 3)
    spot = axes[0, 0]
    spot.bar(range(len(effects)), [100 * value for value in effects.values()], color=BLUE, width=0.7)
    spot.axhline(100 * whole, color=ORANGE, linewidth=1.5)
    spot.set_xlim(-0.6, len(effects) - 0.4)
    spot.text(len(effects) - 0.4, 100 * whole, f" whole: {100 * whole:.1f}", va="center", color=ORANGE, size=9)
    spot.set_xticks(range(len(effects)), [name.removeprefix("block") for name in effects])
    spot.set_xlabel("block whose body is left out", size=9)
    spot.set_title("top-1, %", loc="left", size=10, weight="bold", color=INK)
    plain_frame(spot)
    return figure


def label_row(axes, text):
    """Write a text to the left of the first picture of a row."""
    axes.set_ylabel(text, size=8.5, color=INK, rotation=0, ha="right", va="center")
