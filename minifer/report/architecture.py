"""The network as a table of its parts, and as a picture with the shapes that flow through it."""

import itertools
from dataclasses import dataclass

from minifer.cost import cost_rows
from minifer.layers import MultiHeadSelfAttention, Residual
from minifer.report.canvas import BLUE, GREEN, GREY, INK, ORANGE, SKY, new_figure
from minifer.report.text import aligned


@dataclass(frozen=True)
class Part:
    """A part of the network: the stem, a block, an attention layer, the head."""

    name: str
    kind: str  # "stem", "block", "attention" or "head"; of a drawing also "picture"
    shape: tuple  # of its output for one picture
    stride: int
    skip: str  # "", "identity" or "projection"
    parameters: int  # and running statistics, as `minifer cost` counts them
    multiply_adds: int


def parts(model, input_shape):
    """Return the parts of a MobileNet for pictures (H,W,C), in order; BatchNorm belongs to what it follows."""
    found, shape = [], tuple(input_shape)
    for name, layer in model.layers.items():
        before = shape
        rows, shape = cost_rows(layer, shape, name)
        parameters = sum(row.cost.parameters for row in rows)
        multiply_adds = sum(row.cost.multiply_adds for row in rows)
        if name == "stem_norm":
            stem = found.pop()
            parameters, multiply_adds, before = parameters + stem.parameters, multiply_adds + stem.multiply_adds, None
            found.append(Part("stem", "stem", shape, stem.stride, "", parameters, multiply_adds))
            continue
        kind = (
            "attention" if isinstance(layer, MultiHeadSelfAttention)
            else "block" if name.startswith("block")
            else "stem" if name == "stem"
            else "head"
        )  # fmt: skip
        stride = -(-before[0] // shape[0]) if len(shape) == 3 else 1
        found.append(Part(name, kind, tuple(shape), stride, skip(layer), parameters, multiply_adds))
    return found


def skip(layer):
    """Return what leads past a layer: "identity", "projection", or "" for nothing."""
    if isinstance(layer, Residual):
        return "identity" if layer.projection is None else "projection"
    return "identity" if isinstance(layer, MultiHeadSelfAttention) and layer.residual else ""


def summary(model, input_shape):
    """Return the parts as lines of text."""
    rows = [["part", "output", "stride", "skip", "parameters", "multiply-adds"]]
    for part in parts(model, input_shape):
        shape = " x ".join(map(str, part.shape))
        rows.append([part.name, shape, str(part.stride), part.skip, f"{part.parameters:,}", f"{part.multiply_adds:,}"])
    return aligned(rows)


COLOURS = {"picture": INK, "stem": GREEN, "block": BLUE, "attention": ORANGE, "head": GREY}
BOX_WIDTH, BOX_HEIGHT, ROW = 0.76, 0.5, 1.2  # boxes stand one apart, rows of them ROW
FIRST = -BOX_WIDTH / 2 - 0.24  # where the way to the first box of a row comes down
FINEST = 28  # positions of a side that can still be drawn as squares
DASHES = (0, (2, 1.2))


def draw_architecture(model, input_shape):
    """Draw the parts in the order of the data, a row for each size of the map, and the skip connections past them.

    The little squares at the left are the positions of the map that the parts of a row give.
    """
    picture = Part("picture", "picture", tuple(input_shape), 1, "", 0, 0)
    found = [picture, *(part for part in parts(model, input_shape) if part.name != "dropout")]
    rows = [list(group) for _, group in itertools.groupby(found, key=lambda part: part.shape[:-1])]
    columns = max(map(len, rows))
    figure, axes = new_figure(10, 0.95 * len(rows) + 0.6)
    spot = axes[0, 0]
    inch = (columns + 0.35) / 9.1  # of the boxes' part of the width, in units of x
    for number, row in enumerate(rows):
        y = -ROW * number
        if shape := row[0].shape[:-1]:
            _draw_map(spot, shape, FIRST - 0.4 * inch, y, 0.95 / ROW * inch)
        for x, part in enumerate(row):
            _draw_part(spot, part, x, y, size=9 if columns <= 7 else 7)
        if number:
            _draw_turn(spot, len(rows[number - 1]) - 1, y, row[0].stride)
    _draw_legend(spot, model, {part.skip for part in found})
    spot.set_xlim(FIRST - 0.8 * inch, columns - 0.4)
    spot.set_ylim(-ROW * (len(rows) - 1) - 0.35, 0.4)
    spot.axis("off")
    return figure


def _draw_part(spot, part, x, y, size):
    """Draw a part's box, the arrow that leads to it from its neighbour, and the way past it."""
    from matplotlib.patches import FancyBboxPatch

    corner = (x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2)
    shape = "x".join(map(str, part.shape))
    box = FancyBboxPatch(
        corner, BOX_WIDTH, BOX_HEIGHT, "round,pad=0,rounding_size=0.06", color=COLOURS[part.kind], linewidth=0
    )
    spot.add_patch(box)
    ink = INK if part.kind == "head" else "white"
    name = part.name.rstrip("0123456789")
    label = f"{name} {part.name[len(name) :]}" if part.kind == "block" else name
    spot.text(x, y + 0.02, label, ha="center", va="bottom", size=size, weight="bold", color=ink)
    spot.text(x, y - 0.04, shape, ha="center", va="top", size=size - 1, color=ink)
    if x:
        _draw_arrow(spot, [(x - 1 + BOX_WIDTH / 2, y), (x - BOX_WIDTH / 2, y)], GREY)
    if part.skip:
        left, right, top = x - BOX_WIDTH / 2 - 0.07, x + BOX_WIDTH / 2 + 0.07, y + BOX_HEIGHT / 2 + 0.13
        past = [(left, y), (left, top), (right, top), (right, y)]
        _draw_arrow(spot, past, SKY, "-" if part.skip == "identity" else DASHES)


def _draw_turn(spot, last, y, stride):
    """Draw the way from the last part of a row to the first of the next, whose height is y."""
    right, above = last + BOX_WIDTH / 2 + 0.16, y + 0.57 * ROW
    start, end = (last + BOX_WIDTH / 2, y + ROW), (-BOX_WIDTH / 2, y)
    _draw_arrow(spot, [start, (right, y + ROW), (right, above), (FIRST, above), (FIRST, y), end], GREY)
    if stride > 1:
        spot.text(FIRST + 0.05, above - 0.02, f"stride {stride}", ha="left", va="top", size=7.5, color=INK)


def _draw_arrow(spot, points, colour, style="-"):
    """Draw straight lines through points, ending in an arrow."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    line = Path(points[:-1])
    spot.plot(*line.vertices.T, color=colour, linewidth=1.4, linestyle=style, solid_capstyle="butt")
    head = FancyArrowPatch(
        points[-2], points[-1], arrowstyle="-|>", mutation_scale=8, color=colour, linewidth=1.4, shrinkA=0, shrinkB=0
    )
    spot.add_patch(head)


def _draw_map(spot, shape, centre, y, narrow):
    """Draw a map as a square of its positions, and write its size below; narrow is a unit of y in units of x."""
    from matplotlib.patches import Rectangle

    height, width = shape
    tall, wide = 0.62 * height / max(shape), 0.62 * narrow * width / max(shape)
    left, bottom, fine = centre - wide / 2, y - tall / 2, max(shape) > FINEST
    face = GREY if fine else "white"
    spot.add_patch(Rectangle((left, bottom), wide, tall, facecolor=face, edgecolor=INK, linewidth=0.8))
    if not fine:
        spot.vlines([left + wide * k / width for k in range(1, width)], bottom, bottom + tall, color=INK, linewidth=0.4)
        spot.hlines([bottom + tall * k / height for k in range(1, height)], left, left + wide, color=INK, linewidth=0.4)
    spot.text(centre, bottom - 0.05, f"{height} x {width}", ha="center", va="top", size=8, color=INK)


def _draw_legend(spot, model, skips):
    """Say below the drawing what the colours and the arrows past the boxes are."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries = [(Patch(color=BLUE), "depthwise 3x3, then pointwise 1x1, each with BatchNorm and ReLU6")]
    if attention := [layer for layer in model.layers.values() if isinstance(layer, MultiHeadSelfAttention)]:
        heads, units = attention[0].heads, attention[0].head_units
        entries.append((Patch(color=ORANGE), f"attention between all positions, {heads} heads of {units} units"))
    if "identity" in skips:
        entries.append((Line2D([], [], color=SKY), "skip connection: the input is added to the output"))
    if "projection" in skips:
        entries.append((Line2D([], [], color=SKY, linestyle=DASHES), "the same through a pointwise projection"))
    handles, labels = zip(*entries, strict=True)
    spot.figure.legend(handles, labels, loc="outside lower left", ncols=2, frameon=False, fontsize=8.5, labelcolor=INK)
