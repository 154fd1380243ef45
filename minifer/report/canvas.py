"""What all figures share: a canvas without pyplot, the colours, and pictures without frames.

Colours are from the palette of Okabe & Ito, which stays apart for colour-blind readers.
"""

import numpy as np

from minifer.files import replacing

BLUE, ORANGE, GREEN, SKY, GREY = "#0072B2", "#D55E00", "#009E73", "#56B4E9", "#BBBBBB"
INK, GRID = "#333333", "#E3E3E3"


def new_figure(width, height, rows=1, columns=1, **options):
    """Return (figure, axes (rows, columns)). pyplot would keep global state and might look for a screen."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def write_figure(figure, path, **options):
    """Write a figure as a PNG file, whole or not at all; options as of savefig."""
    with replacing(path) as file:
        figure.savefig(file, format="png", **options)


def show(axes, picture, title="", colour=INK):
    """Show a picture without ticks: (H,W) or (H,W,3) from 0 to 255, or (H,W,C) from -1 to 1, as a network reads it."""
    if picture.ndim == 3 and picture.dtype != np.uint8:
        picture = np.clip(127.5 * (picture + 1), 0, 255).astype(np.uint8)
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
    axes.set_title(title, size=9, color=colour)
    no_frame(axes)


def show_map(axes, values, centred=False):
    """Show a feature map (H,W) from its smallest to its largest value, or a filter with 0 in the middle."""
    if centred:
        most = max(np.abs(values).max(), 1e-12)
        axes.imshow(values, cmap="RdBu_r", vmin=-most, vmax=most)
    else:
        axes.imshow(values, cmap="gray")
    no_frame(axes)


def side_by_side(maps, columns):
    """Return the first maps of (n,H,W) as one row with room for `columns`, each scaled to -1..1 by its largest entry.

    Axes of its own for each map would take seconds to draw. Between the maps is NaN, which is drawn as nothing; small
    maps are enlarged, so that the gaps stay narrow.
    """
    _, height, width = maps.shape
    repeats = -(-24 // width)
    side, gap = width * repeats, width * repeats // 10
    row = np.full((height * repeats, columns * (side + gap) - gap), np.nan, np.float32)
    for number, values in enumerate(maps[:columns]):
        scaled = values / max(np.abs(values).max(), 1e-12)
        row[:, number * (side + gap) :][:, :side] = scaled.repeat(repeats, axis=0).repeat(repeats, axis=1)
    return row


def no_frame(axes):
    """Remove ticks and the box."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def plain_frame(axes, grid="y"):
    """Leave a light grid in one direction and no box."""
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, colors=INK)
