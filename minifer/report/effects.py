"""What each block does for the network: what is left when its body is left out, and only its skip connection stays.

Without skips every block would be needed: each reads what only the one before it writes. With them the network is more
like many shallow ones side by side, and most blocks can be missed.

Source     Veit, Wilber & Belongie, Residual Networks Behave Like Ensembles of Relatively Shallow Networks, 2016
"""

from dataclasses import dataclass

import numpy as np

from minifer.data.dataset import to_float
from minifer.errors import ConfigError
from minifer.layers import MultiHeadSelfAttention
from minifer.report.architecture import skip
from minifer.report.canvas import BLUE, INK, ORANGE, SKY, new_figure, plain_frame
from minifer.report.inside import layers_of

BATCH = 128  # pictures that are in the network at a time
COLOURS = {"identity": BLUE, "projection": SKY, "attention": ORANGE}
LEFT = {
    "identity": "the identity is left",
    "projection": "the projection is left",
    "attention": "attention left out",
}


@dataclass(frozen=True)
class Effect:
    """What is left of a network without the body of one block.

    top1       share of pictures that it still recognizes
    change     how far the logits moved, relative to their own size: |logits - whole| / |whole|, each without its mean
               over the classes, which softmax does not see
    """

    top1: float
    change: float


def block_effects(model, images, labels):
    """Return (top-1 of the whole network, {block or attention layer: Effect of leaving its body out}).

    What is left of a block is its skip connection: the identity or the projection.

    Shapes     images (N,H,W) uint8, or (N,H,W,1) as the network reads them (see data.dataset.to_float)   labels (N,)
    Raises     ConfigError when nothing leads past any block
    """
    layers = list(layers_of(model).items())
    whole, without = [], {name: [] for name, layer in layers if skip(layer)}
    if not without:
        raise ConfigError("no block of this network has a skip connection: without its body nothing would be left")
    for start in range(0, len(images), BATCH):
        x = to_float(images[start : start + BATCH])
        for position, (name, layer) in enumerate(layers):
            if name in without:
                past = layer.projection.forward(x) if skip(layer) == "projection" else x
                for _, above in layers[position + 1 :]:
                    past = above.forward(past)
                without[name].append(past)
            x = layer.forward(x)
        whole.append(x)
    whole = _centred(whole)
    effects = {}
    for name, logits in without.items():
        logits = _centred(logits)  # noqa: PLW2901
        change = np.linalg.norm(logits - whole) / max(np.linalg.norm(whole), 1e-12)
        effects[name] = Effect(_top1(logits, labels), float(change))
    return _top1(whole, labels), effects


def draw_changes(model, image):
    """Return (figure, {block: how far the logits of one picture move without its body, relative to their size})."""
    _, effects = block_effects(model, image[None], np.zeros(1, int))
    changes = {name: effect.change for name, effect in effects.items()}
    figure, axes = new_figure(max(7.5, 0.5 * len(effects)), 2.6)
    draw_bars(axes[0, 0], changes.values(), kinds_of(model, changes), "change of the logits, relative to their size", 1)
    name_blocks(axes[0, 0], changes)
    legend(axes[0, 0], kinds_of(model, changes))
    return figure, changes


def _centred(batches):
    logits = np.concatenate(batches)
    return logits - logits.mean(axis=1, keepdims=True)


def _top1(logits, labels):
    return float((logits.argmax(axis=1) == labels).mean())


def draw_block_effects(model, images, labels):
    """Draw what the network still recognizes without the body of each block, and how far its logits move."""
    whole, effects = block_effects(model, images, labels)
    kinds = kinds_of(model, effects)
    figure, axes = new_figure(max(7.5, 0.5 * len(effects)), 4.2, 2, 1, sharex=True, height_ratios=(3, 2))
    above, below = axes[:, 0]
    for spot, values, title, digits in (
        (above, [100 * effect.top1 for effect in effects.values()], "top-1 that is left, %", 0),
        (below, [effect.change for effect in effects.values()], "change of the logits, relative to their size", 1),
    ):
        draw_bars(spot, values, kinds, title, digits)
    above.axhline(100 * whole, color=INK, linewidth=1.2)
    above.set_xlim(-0.6, len(effects) - 0.4)
    above.text(len(effects) - 0.4, 100 * whole, f" whole: {100 * whole:.1f}", va="center", color=INK, size=9)
    name_blocks(below, effects)
    legend(above, kinds)
    return figure


def kinds_of(model, names):
    """Return what is left without each block: the keys of COLOURS."""
    attention = MultiHeadSelfAttention
    return ["attention" if isinstance(model.layers[name], attention) else skip(model.layers[name]) for name in names]


def draw_bars(spot, values, kinds, title, digits):
    """Draw a bar for each block, with its number above it."""
    bars = spot.bar(range(len(values)), values, color=[COLOURS[kind] for kind in kinds], width=0.7)
    clear = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # of the line of the whole network
    spot.bar_label(bars, fmt=f"{{:.{digits}f}}", size=8, color=INK, padding=2, bbox=clear)
    spot.set_title(title, loc="left", size=10, weight="bold", color=INK)
    spot.margins(y=0.15)
    plain_frame(spot)


def name_blocks(spot, names):
    """Write the blocks' names below the bars."""
    spot.set_xticks(range(len(names)), [name.removeprefix("block").replace("attention", "att. ") for name in names])
    spot.set_xlabel("block whose body is left out", size=9, color=INK)


def legend(spot, kinds):
    """Say above the bars what is left of a block."""
    from matplotlib.patches import Patch

    spot.legend(
        handles=[Patch(color=colour, label=LEFT[kind]) for kind, colour in COLOURS.items() if kind in kinds],
        loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False, fontsize=8.5, labelcolor=INK,
        borderaxespad=0.2, handlelength=1,
    )  # fmt: skip
