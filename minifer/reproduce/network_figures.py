"""The study's figures about the network, drawn from real ones: a separable block at work, and what skips change."""

import textwrap

import numpy as np

from minifer.data.dataset import to_float
from minifer.losses import SoftmaxCrossEntropy
from minifer.report.canvas import BLUE, INK, ORANGE, new_figure, plain_frame, show, show_map

COLOURS = {"plain": ORANGE, "skip": BLUE}


def depthwise_and_pointwise(model, image, block="block2", columns=6):
    """Figure 5: a separable block at work. Each depthwise filter sees one channel; each pointwise output mixes all.

    image      (H,W) uint8
    """
    x = to_float(image[None])
    for name, layer in model.layers.items():
        if name == block:
            break
        x = layer.forward(x)
    layers = model.layers[block].layers
    filters = layers["depthwise"].weight.value
    apart = layers["depthwise"].forward(x)
    mixed = layers["pointwise"].forward(layers["depthwise_norm"].forward(apart))
    columns = min(columns, x.shape[3])
    figure, axes = new_figure(1.45 * (columns + 1), 6.4, 4, columns + 1)
    show(axes[0, 0], image, "the picture")
    rows = (
        (f"{x.shape[3]} channels come in", x[0]),
        ("one 3x3 filter for each", filters),
        ("each channel, filtered", apart[0]),
        (f"{mixed.shape[3]} mixtures of all {apart.shape[3]}", mixed[0]),
    )
    for spots, (what, maps) in zip(axes, rows, strict=True):
        spots[1].set_ylabel(textwrap.fill(what, 18), size=9, color=INK, rotation=0, ha="right", va="center")
        if spots is not axes[0]:
            spots[0].axis("off")
        for channel, spot in enumerate(spots[1:]):
            show_map(spot, maps[..., channel], centred=maps is filters)
    return figure


def gradient_norms(model, images, labels, rng):
    """Return the norm of the loss's gradient in each block's pointwise weight, of a network before training.

    The classifier, which starts at zero and would pass no gradient, is drawn small.

    Shapes     images (N,H,W) uint8   labels (N,)
    """
    weight = model.layers["classifier"].weight
    weight.value[...] = rng.normal(0, 0.05, weight.value.shape)
    loss = SoftmaxCrossEntropy()
    loss.forward(model.forward(to_float(images), training=True), labels, training=True)
    model.backward(loss.backward())
    parameters = model.parameters()
    blocks = [name for name in model.layers if name.startswith("block")]
    return [float(np.linalg.norm(parameters[f"{name}.pointwise.weight"].grad)) for name in blocks]


def skips(norms, curves):
    """Figure 7: gradients per block before training, and the loss over the epochs of training, with and without skips.

    norms      {model: see gradient_norms}
    curves     {model: [train loss after each epoch] for each seed}
    """
    from matplotlib.ticker import LogLocator, NullLocator

    figure, axes = new_figure(9.5, 3.3, 1, 2)
    for name, values in norms.items():
        axes[0, 0].semilogy(range(1, len(values) + 1), values, "o-", color=COLOURS[name], label=name, markersize=4)
    for name, runs in curves.items():
        for number, run in enumerate(runs):
            label = name if number == 0 else None
            axes[0, 1].plot(range(1, len(run) + 1), run, color=COLOURS[name], label=label, linewidth=1.4)
    axes[0, 0].set_title("gradient of the loss, before training", loc="left", size=10, weight="bold", color=INK)
    axes[0, 0].set_xlabel("block", size=9)
    axes[0, 1].set_title("training loss, every seed", loc="left", size=10, weight="bold", color=INK)
    axes[0, 1].set_xlabel("epoch", size=9)
    for spot in axes[0]:
        plain_frame(spot)
        spot.xaxis.get_major_locator().set_params(integer=True)
        spot.legend(frameon=False, fontsize=9)
    scale = axes[0, 0].yaxis
    scale.set_major_locator(LogLocator(subs=(1, 2, 5)))
    scale.set_major_formatter("{x:g}")
    scale.set_minor_locator(NullLocator())
    return figure
