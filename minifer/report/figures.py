"""The two pictures of a run: its curves and its confusion matrix, as PNG files.

matplotlib is imported inside the functions (it takes a second) and only through its Figure object: pyplot would keep
global state and might look for a screen. Lines are labelled where they end, so that no legend has to be matched.
"""

import numpy as np

from minifer.errors import DataError
from minifer.report.canvas import BLUE as TRAIN
from minifer.report.canvas import GRID, INK, write_figure
from minifer.report.canvas import ORANGE as VAL


def draw_curves(rows, path):
    """Draw curves(rows) as a PNG file."""
    write_figure(curves(rows), path)


class LiveCurves:
    """An observer of training.fit for notebooks: after every epoch the curves take the place of the last ones.

    fit(settings, train, val, observer=LiveCurves())
    """

    def __init__(self):
        self.shown = None

    def step(self, training):
        """Do nothing."""

    def epoch(self, training):
        """Show the curves of all epochs so far."""
        from IPython.display import display

        figure = curves(training.rows)
        figure.set_dpi(75)
        if self.shown is None:
            self.shown = display(figure, display_id=True)
        else:
            self.shown.update(figure)


def curves(rows):
    """Return a figure of loss, top-1 accuracy and learning rate over the epochs.

    rows are dicts as csv.DictReader gives them for a run's metrics.csv: epoch, learning_rate,
    train_loss, train_top1, val_loss and val_top1 are read, as text or numbers; an empty field leaves a gap.

    Raises    DataError when there is no row
    """
    from matplotlib.figure import Figure

    if not rows:
        raise DataError("there are no curves to draw: no epoch has ended yet")
    epoch, rates = column(rows, "epoch"), column(rows, "learning_rate")
    figure = Figure(figsize=(12.5, 4.2), dpi=150, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.15)
    loss, top1, rate = figure.subplots(1, 3, width_ratios=(1, 1, 0.75))
    for axes, title in ((loss, "Loss (cross-entropy)"), (top1, "Top-1, %"), (rate, "Learning rate")):
        decorate(axes, title, epoch)
    for axes, key, scale, digits, least_span in ((loss, "loss", 1, 3, 0.4), (top1, "top1", 100, 1, 10)):
        lines = [
            (name, colour, scale * column(rows, f"{name}_{key}")) for name, colour in (("train", TRAIN), ("val", VAL))
        ]
        for _, colour, values in lines:
            draw_line(axes, epoch, values, colour)
        low, high = axes.get_ylim()
        missing = max(0.0, least_span - (high - low)) / 2  # a first epoch must not look like a wide gap
        axes.set_ylim(low - missing, high + missing)
        label_ends(axes, epoch[-1], [(last(v), f"{name} {last(v):.{digits}f}", colour) for name, colour, v in lines])
    mark_best(top1, epoch, 100 * column(rows, "val_top1"))
    draw_line(rate, epoch, rates, INK, drawstyle="steps-mid")
    rate.set_ylim(bottom=0)
    rate.yaxis.set_major_formatter(lambda value, _: f"{value:.6g}")
    label_ends(rate, epoch[-1], [(last(rates), f"{last(rates):.2g}", INK)])
    return figure


def draw_confusion(confusion, classes, path, title="Confusion matrix"):
    """Draw a confusion matrix: colours and percentages are shares of the row (the true class), counts stand above."""
    from matplotlib.figure import Figure

    confusion = np.asarray(confusion)
    totals = confusion.sum(axis=1)
    share = confusion / np.maximum(totals, 1)[:, None]
    count = len(classes)
    figure = Figure(figsize=(2.6 + 0.86 * count, 1.7 + 0.78 * count), dpi=150, layout="constrained")
    axes = figure.subplots()
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.15)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i in range(count):
        for j in range(count):
            ink = "white" if share[i, j] > 0.55 else INK
            weight = "bold" if i == j else "normal"
            axes.text(j, i - 0.14, f"{confusion[i, j]:,}", ha="center", va="center", color=ink, size=12, weight=weight)
            axes.text(j, i + 0.22, f"{share[i, j]:.1%}", ha="center", va="center", color=ink, size=8.5)
    axes.set_xticks(range(count), classes, size=11)
    axes.set_yticks(range(count), [f"{name}\n{n:,}" for name, n in zip(classes, totals, strict=True)], size=11)
    axes.set_xlabel("predicted class", size=11, color=INK)
    axes.set_ylabel("true class, with its number of pictures", size=11, color=INK)
    axes.set_title(title, size=13, weight="bold", loc="left", pad=12, color=INK)
    axes.set_xticks(np.arange(count - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(count - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0, colors=INK)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=24, pad=0.02, format=lambda x, _: f"{x:.0%}")
    bar.set_label("share of the true class", size=10, color=INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, colors=INK)
    write_figure(figure, path)


def column(rows, key):
    """Return one column of the rows as floats, NaN where a field is empty."""
    return np.array([float(row[key]) if row.get(key) not in (None, "") else np.nan for row in rows])


def last(values):
    """Return the last value that is a number, or NaN."""
    numbers = values[np.isfinite(values)]
    return float(numbers[-1]) if numbers.size else np.nan


def decorate(axes, title, epoch):
    """Give axes a title, a light grid, whole-numbered epochs and room on the right for the labels."""
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, loc="left", size=12, weight="bold", color=INK)
    axes.set_xlabel("epoch", size=10, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    span = max(epoch[-1] - epoch[0], 1)
    axes.set_xlim(epoch[0] - 0.03 * span, epoch[-1] + 0.03 * span)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#999999")
    axes.tick_params(length=0, labelsize=10, colors=INK)


def draw_line(axes, epoch, values, colour, **style):
    """Draw a line; few epochs get dots too, since one point makes no line."""
    axes.plot(epoch, values, color=colour, linewidth=2, marker="o" if len(epoch) <= 12 else None, markersize=5, **style)


def label_ends(axes, x, ends):
    """Write every (y, text, colour) to the right of the last point, pushed apart where two would overlap."""
    heights = [axes.transData.transform((x, y))[1] for y, _, _ in ends]
    order = np.argsort(heights)
    for place, k in enumerate(order):
        y, text, colour = ends[k]
        if not np.isfinite(y):
            continue
        shift = 0.0
        if len(ends) == 2:
            gap = abs(heights[0] - heights[1]) * 72 / axes.figure.dpi
            shift = max(0.0, 13 - gap) / 2 * (1 if place else -1)
        axes.annotate(
            text,
            (x, y),
            (9, shift),
            textcoords="offset points",
            va="center",
            color=colour,
            size=10,
            weight="bold",
            annotation_clip=False,
        )


def mark_best(axes, epoch, values):
    """Ring the best validation value and say which epoch it was."""
    if not np.isfinite(values).any():
        return
    k = int(np.nanargmax(values))
    axes.plot(epoch[k], values[k], "o", markersize=9, markerfacecolor="white", markeredgecolor=VAL, markeredgewidth=2)
    axes.set_title(f"\u25cb best val {values[k]:.1f}, epoch {epoch[k]:.0f}", loc="right", size=10, color=VAL)
