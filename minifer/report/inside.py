"""Looking inside a trained network: the numbers, and the figures that show them.

filters           what the stem and the depthwise layers look for
feature maps      what comes out of each layer for one picture
attention         which positions each head takes from, seen from one position
saliency          how much each pixel moves a logit: d logit[k] / d x
"""

import copy

import numpy as np

from minifer.cost.table import structure
from minifer.data.dataset import to_float
from minifer.errors import ConfigError
from minifer.layers import Conv2D, DepthwiseConv2D, MultiHeadSelfAttention, Sequential
from minifer.layers.around import around_forward
from minifer.report.canvas import INK, ORANGE, SKY, new_figure, no_frame, show, side_by_side

SMALL = {"size": 9, "color": INK}
COLOURS = "red", "green", "blue"
SHOWN = "stem_norm", "block1", "block3", "block5", "block11"  # feature maps of a MobileNet; of others as many


def outputs(model, image):
    """Return {layer: its output (H,W,C) or (C,)} for a picture, in the order of the layers.

    Shapes     image (H,W) or (H,W,3) uint8, or (H,W,C) floats as the network reads it: a network that was trained on
               registered faces reads to_float(images, frames)[0]. So it is for all functions of this file.
    """
    x, found = to_float(image[None]), {}
    if not isinstance(model, Sequential):  # who knows in which order a forward of one's own calls its layers
        twin = structure(model)

        def note(name, forward, *inputs, **how):
            y = forward(*inputs, **how)
            found.setdefault(name, y[0])
            return y

        with around_forward(twin.children(), note):
            twin.forward(x)
        return found
    for name, layer in model.layers.items():
        x = layer.forward(x)
        found[name] = x[0]
    return found


def layers_of(model):
    """Return {name: layer} of a Sequential; raise ConfigError for another network."""
    if not isinstance(model, Sequential):
        raise ConfigError(f"{type(model).__name__} is no Sequential, so nobody knows what leads past its layers")
    return model.layers


def filters(model):
    """Return {name: filters (n,K,K)} of all convolutions with a window: the first input channel's of an ordinary one.

    A layer that reads red, green and blue has three rows.
    """
    found = {}
    for path, layer in model.walk():
        if not isinstance(layer, Conv2D | DepthwiseConv2D) or layer.kernel == 1:
            continue
        name, weight = path.removesuffix(".depthwise"), layer.weight.value
        if weight.ndim == 3:
            found[name] = weight.transpose(2, 0, 1)
        elif weight.shape[2] == 3:
            found |= {f"{name}, {colour}": weight[:, :, k].transpose(2, 0, 1) for k, colour in enumerate(COLOURS)}
        else:
            found[name] = weight[:, :, 0].transpose(2, 0, 1)
    return found


def attention_layers(model):
    """Return the names of the attention layers of a network that is a Sequential, else none."""
    layers = model.layers if isinstance(model, Sequential) else {}
    return [name for name, layer in layers.items() if isinstance(layer, MultiHeadSelfAttention)]


def attention_maps(model, image, layers=None):
    """Return {attention layer: probs (A,H,W,H,W)}: head, the position that looks, the position looked at.

    layers     names of those that are wanted; None takes all
    """
    x, found = to_float(image[None]), {}
    for name, layer in model.layers.items():
        if isinstance(layer, MultiHeadSelfAttention) and (layers is None or name in layers):
            height, width = x.shape[1:3]
            found[name] = layer.probabilities(x)[0].reshape(-1, height, width, height, width)
        x = layer.forward(x)
    return found


def saliency(model, image, label=None):
    """Return (gradient (H,W), label): of a logit with respect to the picture, as the network is used.

    Without a label it is the class that the network takes the picture for. Of several channels it is the one whose
    entry is the largest. The model itself is left as it is.

    Source     Simonyan, Vedaldi & Zisserman, Deep Inside Convolutional Networks, 2014
    """
    gradient, label = input_gradient(as_used(model), image, label)
    strongest = np.abs(gradient).argmax(axis=2, keepdims=True)
    return np.take_along_axis(gradient, strongest, axis=2)[:, :, 0], label


def as_used(model):
    """Return a copy of a network for input_gradient: with running statistics and no dropout, as it predicts."""
    model = copy.deepcopy(model)
    model.freeze()
    model.require_input_gradient(True)
    return model


def input_gradient(model, image, label=None):
    """Return (gradient (H,W,C), label) as saliency does, of all colours, with a model that as_used returned."""
    logits = model.forward(to_float(image[None]), training=True)
    label = int(logits.argmax()) if label is None else label
    one = np.zeros_like(logits)
    one[0, label] = 1
    return model.backward(one)[0], label


# The figures. Each returns a Matplotlib Figure.


def draw_filters(model, columns=16):
    """Draw the first filters of each convolution, see filters().

    Raises     ConfigError when the network has none
    """
    rows = filters(model)
    if not rows:
        raise ConfigError("no layer of this network has filters: Conv2D or DepthwiseConv2D with a window")
    figure, axes = new_figure(0.55 * columns + 0.9, 0.55 * len(rows) + 0.4)
    drawn = [side_by_side(some, columns) for some in rows.values()]
    side, gap = max(map(len, drawn)), len(drawn[0]) // 10
    width = max(row.shape[1] for row in drawn)
    lines = [
        np.pad(row, ((0, side + gap - len(row)), (0, width - row.shape[1])), constant_values=np.nan) for row in drawn
    ]
    spot = axes[0, 0]
    spot.imshow(np.vstack(lines), cmap="RdBu_r", vmin=-1, vmax=1)
    no_frame(spot)
    spot.set_yticks([number * (side + gap) + side / 2 for number in range(len(rows))], rows)
    spot.tick_params(length=0, labelsize=8.5, labelcolor=INK)
    spot.set_title("negative blue, positive red, each filter scaled by its largest weight", loc="left", **SMALL)
    return figure


def draw_feature_maps(model, image, layers=None, columns=8):
    """Draw the first channels that come out of some layers for a picture, beside the picture.

    layers     their names; None takes five, see shown_layers

    Raises     ConfigError when a layer does not exist or gives no map
    """
    found = outputs(model, image)
    layers = layers or shown_layers(found)
    if missing := [name for name in layers if name not in found or found[name].ndim != 3]:
        raise ConfigError(f"{missing[0]!r} is no layer with a map: choose among {', '.join(found)}")
    ratios = {"width_ratios": (1.2, columns)}
    figure, axes = new_figure(1.15 * (columns + 1.2), 1.2 * len(layers) + 0.2, len(layers), 2, **ratios)
    for (left, spot), name in zip(axes, layers, strict=True):
        maps = found[name]
        spot.imshow(side_by_side(maps.transpose(2, 0, 1), columns), cmap="RdBu_r", vmin=-1, vmax=1)
        no_frame(spot)
        label_row(spot, f"{name}\n{' x '.join(map(str, maps.shape))}")
        left.axis("off")
    axes[0, 1].set_title("negative blue, positive red, each map scaled by its largest entry", loc="left", **SMALL)
    axes[0, 0].axis("on")
    show(axes[0, 0], image, "the picture")
    return figure


def shown_layers(found):
    """Return the names of five layers whose output is a map, given {name: output}, spread from bottom to top."""
    if all(name in found for name in SHOWN):
        return SHOWN
    maps = [name for name, output in found.items() if output.ndim == 3]
    if not maps:
        raise ConfigError("no layer of this network gives a map")
    places = np.unique(np.linspace(0, len(maps) - 1, len(SHOWN)).round().astype(int))
    return [maps[place] for place in places]


def draw_attention(model, image, layer=None, position=None):
    """Draw over the picture how much each head of an attention layer takes from where, seen from one position.

    layer      name of the layer; None takes the first
    position   (row, column) of the layer's map that looks, ringed; None takes the middle
    Raises     ConfigError when the network has no attention layer of that name, or its map no such position
    """
    maps = attention_maps(model, image)
    name = next(iter(maps), None) if layer is None else layer
    if name not in maps:
        raise ConfigError(f"no attention layer {layer or ''!r}: this network has {', '.join(maps) or 'none'}")
    probs = maps[name]
    heads, height, width = probs.shape[:3]
    row, column = (height // 2, width // 2) if position is None else position
    if not (0 <= row < height and 0 <= column < width):
        raise ConfigError(f"no position {(row, column)} in {name}: its map is {height} x {width}")
    seen = probs[:, row, column]
    columns = min(heads, 4) + 1
    lines = -(-heads // (columns - 1))
    figure, axes = new_figure(1.9 * columns, 2.1 * lines, lines, columns)
    for spot in axes.flat:
        spot.axis("off")
    tall, wide = image.shape[0] / height, image.shape[1] / width  # of a position, in pixels
    ring = ((column + 0.5) * wide - 0.5, (row + 0.5) * tall - 0.5)
    show(axes[0, 0], image, f"{name}, from the ring")
    for number, (spot, shares) in enumerate(zip(axes[:, 1:].flat, seen, strict=False), start=1):
        show(spot, image, f"head {number}")
        _draw_shares(spot, shares, seen.max(), tall, wide)
    for spot in (axes[0, 0], *axes[:, 1:].flat[:heads]):
        spot.axis("on")
        spot.plot(*ring, "o", markersize=13, markerfacecolor="none", markeredgecolor=SKY, markeredgewidth=2)
    return figure


def _draw_shares(spot, shares, most, tall, wide):
    """Lay shares (H,W) over a picture, the larger the more opaque; write them down where there is room."""
    from matplotlib.colors import to_rgb
    from matplotlib.patheffects import withStroke

    height, width = shares.shape
    colours = np.empty((height, width, 4))
    colours[..., :3], colours[..., 3] = to_rgb(ORANGE), 0.8 * shares / most
    extent = (-0.5, width * wide - 0.5, height * tall - 0.5, -0.5)
    spot.imshow(colours, extent=extent, interpolation="nearest")
    if shares.size > 16:
        return
    for (i, j), share in np.ndenumerate(shares):
        if share >= 0.01:
            text = spot.text((j + 0.5) * wide - 0.5, (i + 0.85) * tall - 0.5, f"{share:.0%}", ha="center", va="center")
            text.set(size=8, color="white", path_effects=[withStroke(linewidth=2, foreground=INK)])


def draw_saliency(model, images, classes):
    """Draw pictures above the size of the gradient of the logit that wins, the brighter the larger."""
    figure, axes = new_figure(1.5 * len(images) + 0.6, 3.3, 2, len(images))
    for above, below, image in zip(*axes, images, strict=True):
        gradient, label = saliency(model, image)
        show(above, image, f"taken for {classes[label]}")
        show(below, image)
        below.imshow(np.abs(gradient), cmap="inferno", alpha=0.8)
    label_row(axes[0, 0], "the picture")
    label_row(axes[1, 0], "what moves\nthat logit")
    return figure


def label_row(axes, text):
    """Write a text to the left of the first picture of a row."""
    axes.set_ylabel(text, size=8.5, color=INK, rotation=0, ha="right", va="center")
