"""What the notebooks share: the look of figures, rows of pictures, matrices of numbers, a stopwatch, a data set."""

import os
import time

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display

from minifer.data import fer2013, synthetic

# The palette of Okabe & Ito, which stays apart for colour-blind readers.
BLUE, ORANGE, GREEN, PINK, SKY, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#8A8A8A"
INK, GRID = "#333333", "#E3E3E3"
TURN = 0.005  # seconds: some clocks of processor time tick every tenth of a millisecond


def style():
    """Give all figures of a notebook the same look."""
    plt.rcParams.update(
        {
            "figure.dpi": 80,
            "figure.constrained_layout.use": True,
            "figure.constrained_layout.w_pad": 0.12,
            "font.size": 11,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.titlelocation": "left",
            "axes.titlesize": 12,
            "axes.titleweight": "bold",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "#999999",
            "axes.axisbelow": True,
            "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, PINK, SKY, GREY]),
            "grid.color": GRID,
            "xtick.color": INK,
            "ytick.color": INK,
            "legend.frameon": False,
            "lines.linewidth": 2,
            "image.cmap": "gray",
            "image.interpolation": "nearest",
        }
    )


def picture(axes, values, title="", signed=False, **settings):
    """Draw an array as a picture without axes; signed arrays are white at 0, blue below and red above."""
    if signed:
        largest = max(np.abs(values).max(), 1e-12)
        settings = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest, **settings}
    image = axes.imshow(values, **settings)
    axes.set_title(title, size=11, weight="normal", loc="center")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return image


def row(pictures, signed=False, height=2.2, **settings):
    """Draw {title: array} as a row of pictures."""
    figure, all_axes = plt.subplots(1, len(pictures), figsize=(height * len(pictures), height + 0.3), squeeze=False)
    for axes, (title, values) in zip(all_axes[0], pictures.items(), strict=True):
        picture(axes, values, title, signed, **settings)
    return figure, all_axes[0]


def show(alt):
    """Show the current figure, and keep a text with it that says what is in it, for those who cannot see it."""
    figure = plt.gcf()
    display(figure, metadata={"image/png": {"alt": alt}})
    plt.close(figure)


def dots(axes, places, values, colour, label=None):
    """Draw values as dots on stalks: on a logarithmic axis, which has no zero, the length of a bar means nothing."""
    axes.vlines(places, axes.get_ylim()[0], values, color=colour, linewidth=1, alpha=0.4)
    axes.plot(places, values, "o", color=colour, label=label)


def numbers(axes, values, title="", digits=0, signed=True, size=12, largest=None):
    """Draw a small matrix as a picture with its numbers written in; NaN leaves a cell empty.

    largest is the number that has the strongest colour: the largest one, unless several matrices share their colours.
    """
    values = np.asarray(values, float)
    largest = largest or max(np.nanmax(np.abs(values)), 1e-12)
    shown = values / largest
    # Pale ends of the colour maps, on which black numbers can be read.
    scale = {"cmap": "RdBu_r", "vmin": -1.6, "vmax": 1.6} if signed else {"cmap": "gray", "vmin": -0.1, "vmax": 1.1}
    picture(axes, shown, title, **scale)
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            dark = not signed and shown[i, j] < 0.5
            text = f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no "-0.00"
            axes.text(j, i, text, ha="center", va="center", size=size, color="white" if dark else INK)
    axes.set_xticks(np.arange(values.shape[1] - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(values.shape[0] - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)


def outline(axes, row, column, height, width, colour=ORANGE, **settings):
    """Draw a frame round some cells of a picture."""
    corner = (column - 0.5, row - 0.5)
    axes.add_patch(plt.Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=3, **settings))


def fastest(functions, seconds=0.3, clock=time.perf_counter):
    """Return {name: seconds of its fastest call} for {name: function}.

    They take turns until each had that many seconds, and at least three turns after one to warm up: other programs can
    make a call slower but never faster, so the shortest time says most about the code. A turn is as many calls as last
    some milliseconds, since not every clock can tell shorter times. For code on one thread, clock=time.process_time
    counts only what the processor did for this program.
    """
    calls = {}
    for name, function in functions.items():
        function()
        started = time.perf_counter()
        function()
        calls[name] = max(1, round(TURN / max(time.perf_counter() - started, 1e-9)))
    best, spent, turns = (dict.fromkeys(functions, value) for value in (np.inf, 0.0, 0))
    while waiting := [name for name in functions if spent[name] < seconds or turns[name] < 3]:
        for name in waiting:
            started = clock()
            for _ in range(calls[name]):
                functions[name]()
            taken = clock() - started
            best[name] = min(best[name], taken / calls[name])
            spent[name], turns[name] = spent[name] + taken, turns[name] + 1
    return best


def faces(train, val):
    """Return ({"train": Dataset, "val": Dataset}, what they are): FER2013 where MINIFER_FER2013 names it, else drawn.

    train and val say how many faces are drawn; FER2013 comes whole.
    """
    path = os.environ.get("MINIFER_FER2013")
    if path:
        splits = fer2013.load(path)
        return {"train": splits["train"], "val": splits["val"]}, "FER2013"
    return synthetic.load(seed=0, train=train, val=val), "drawn faces"


def learning_curves(axes, histories, chance=None):
    """Draw the loss on the left and the accuracy on the right of {name: [(loss, accuracy, held-out accuracy)]}.

    A point for each epoch; dashed lines are of the rows that were trained on. chance is a loss to compare with.
    """
    left, right = axes
    for (name, history), colour in zip(histories.items(), (BLUE, ORANGE, GREEN, PINK, SKY, GREY), strict=False):
        epochs = np.arange(1, len(history) + 1)
        loss, seen, held_out = zip(*history, strict=True)
        left.plot(epochs, loss, color=colour, label=name)
        right.plot(epochs, seen, "--", color=colour, linewidth=1)
        right.plot(epochs, held_out, color=colour, label=name)
    if chance is not None:
        left.axhline(chance, color=INK, linewidth=1, linestyle=":")
    left.set(xlabel="epoch", title="Training loss", ylim=(0, None))
    right.set(xlabel="epoch", title="Accuracy: held out, and trained on (dashed)")
    for axis in axes:
        axis.grid()
    right.legend(loc="lower right", fontsize=9)
