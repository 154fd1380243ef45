"""Where a network's work and weights are: a bar for each of its parts, coloured by kind of layer."""

from minifer.report.canvas import BLUE, GREEN, GREY, GRID, INK, ORANGE, SKY, new_figure, write_figure

COLOURS = {
    "Conv2D": ("ordinary convolution", GREEN),
    "DepthwiseConv2D": ("depthwise", ORANGE),
    "PointwiseConv2D": ("pointwise", BLUE),
    "MultiHeadSelfAttention": ("attention", SKY),
}
OTHERS = ("dense, normalization, others", GREY)


def draw_work(table, path, title):
    """Draw the multiply-adds and the parameters of the rows of minifer.cost.cost_rows as a PNG file.

    A part is what a network holds directly: block3 with all layers in it is one bar.
    """
    parts = list(dict.fromkeys(part_of(row) for row in table if number(row.cost, True) or number(row.cost, False)))
    figure, ((work, weights),) = new_figure(11, 1.6 + 0.28 * len(parts), columns=2, sharey=True)
    figures = ((work, "multiply-adds, millions", 1e6), (weights, "parameters, thousands", 1e3))
    for axes, label, unit in figures:
        left = dict.fromkeys(parts, 0.0)
        for kind, colour in (*COLOURS.values(), OTHERS):
            widths = []
            for part in parts:
                rows = [row for row in table if part_of(row) == part and COLOURS.get(row.kind, OTHERS)[0] == kind]
                widths.append(sum(number(row.cost, axes is work) for row in rows) / unit)
            if any(widths):
                axes.barh(parts, widths, 0.8, [left[part] for part in parts], color=colour, label=kind)
            left = {part: left[part] + width for part, width in zip(parts, widths, strict=True)}
        for part, end in left.items():
            text = f"{end:.3g}" if end < 1000 else f"{end:,.0f}"
            axes.annotate(text, (end, part), (3, 0), textcoords="offset points", va="center", size=8, color=INK)
        axes.set_xlabel(label, color=INK)
        axes.margins(x=0.1)
        axes.tick_params(length=0, labelsize=8, colors=INK)
        axes.grid(axis="x", color=GRID)
        axes.set_axisbelow(True)
        axes.spines[:].set_visible(False)
    work.invert_yaxis()
    figure.suptitle(title, size=11, color=INK)
    handles = {}
    for axes in (work, weights):
        handles |= {bars.get_label(): bars for bars in axes.containers}
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=len(handles), frameon=False)
    write_figure(figure, path)


def part_of(row):
    """Return the name of the part of the network that a row belongs to."""
    return row.path.partition(".")[0].removesuffix("_norm").removesuffix("_activation") or row.kind


def number(cost, work):
    """Return the multiply-adds of a Cost, or its parameters."""
    return cost.multiply_adds if work else cost.trainable_parameters
