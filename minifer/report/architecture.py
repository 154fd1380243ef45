"""The network as a table of its parts, and as a picture with the shapes that flow through it."""

from dataclasses import dataclass

from minifer.layers import MultiHeadSelfAttention, Residual
from minifer.report.canvas import BLUE, GREEN, GREY, INK, ORANGE, SKY, new_figure
from minifer.report.text import aligned


@dataclass(frozen=True)
class Part:
    """A part of the network: the stem, a block, an attention layer, the head."""

    name: str
    kind: str  # "stem", "block", "attention" or "head"
    shape: tuple  # of its output for one picture
    stride: int
    skip: str  # "", "identity" or "projection"
    parameters: int
    multiply_adds: int


def parts(model, input_shape):
    """Return the parts of a MobileNet for pictures (H,W,C), in order; BatchNorm belongs to what it follows."""
    found, shape = [], tuple(input_shape)
    for name, layer in model.layers.items():
        before = shape
        rows, shape = layer.cost_rows(shape, name)
        parameters = sum(row.cost.trainable_parameters for row in rows)
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
        skip = "" if not isinstance(layer, Residual) else "identity" if layer.projection is None else "projection"
        found.append(Part(name, kind, tuple(shape), stride, skip, parameters, multiply_adds))
    return found


def summary(model, input_shape):
    """Return the parts as lines of text."""
    rows = [["part", "output", "stride", "skip", "parameters", "multiply-adds"]]
    for part in parts(model, input_shape):
        shape = " x ".join(map(str, part.shape))
        rows.append([part.name, shape, str(part.stride), part.skip, f"{part.parameters:,}", f"{part.multiply_adds:,}"])
    return aligned(rows)


COLOURS = {"stem": GREEN, "block": BLUE, "attention": ORANGE, "head": GREY}


def draw_architecture(model, input_shape):
    """Draw the parts from left to right: height is the side of a map, width its channels; arcs are skip connections."""
    from matplotlib.patches import FancyArrowPatch, Rectangle

    found = [part for part in parts(model, input_shape) if part.name != "dropout"]
    figure, axes = new_figure(12, 3.6)
    spot = axes[0, 0]
    largest = max(input_shape[0], *(part.shape[0] for part in found if len(part.shape) == 3))
    left, centres, heights = 0.0, [], []
    for number, part in enumerate(found):
        side = part.shape[0] / largest if len(part.shape) == 3 else 0.08
        width = 0.16 + 0.55 * min(part.shape[-1] / 512, 1.5)
        height = max(side * 2, 0.12)
        spot.add_patch(Rectangle((left, -height / 2), width, height, color=COLOURS[part.kind], alpha=0.85, linewidth=0))
        centres.append(left + width / 2)
        heights.append(height)
        label = part.name.removeprefix("block") if part.kind == "block" else part.name
        turned = 0 if part.kind == "block" else 90
        spot.text(centres[-1], -1.3, label, ha="center", va="top", size=8.5, color=INK, rotation=turned)
        shape = f"{part.shape[0]}x{part.shape[1]}x{part.shape[2]}" if len(part.shape) == 3 else str(part.shape[-1])
        spot.text(centres[-1], height / 2 + 0.04, shape, ha="center", va="bottom", size=7, color=INK, rotation=90)
        if part.skip and number:
            style = "-" if part.skip == "identity" else "--"
            low = -max(heights[number - 1 :]) / 2 - 0.03
            arc = FancyArrowPatch(
                (centres[number - 1], low), (centres[number], low), connectionstyle="arc3,rad=0.7", arrowstyle="-|>",
                mutation_scale=7, color=SKY, linewidth=1.3, linestyle=style,
            )  # fmt: skip
            spot.add_patch(arc)
        left += width + 0.3
    spot.set_xlim(-0.3, left + 0.2)
    spot.set_ylim(-1.95, 1.6)
    spot.axis("off")
    return figure
