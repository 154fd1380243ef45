"""The capstone: the best accuracy on digits that a budget of multiply-adds, parameters and bytes allows.

A submission is a file with a function network(input_shape, classes, rng), as everywhere in minifer, and SETTINGS. Its
test measures it here, so that every submission is trained and counted alike.
"""

from pathlib import Path

from minifer import config
from minifer.cost import count
from minifer.errors import ConfigError, DataError
from minifer.evaluation import predict
from minifer.networks import build_own
from minifer.teaching import digits
from minifer.teaching.score import score
from minifer.training import fit

# For one picture. The worked solution needs 36,000, 3,400 and 68,000 for 98.1 to 98.6 % on val (seeds 0 to 2); half as
# wide again is above all three. A single Linear needs 640 multiply-adds for 95.8 %.
BUDGET = {"multiply_adds": 50_000, "parameters": 4_000, "bytes": 80_000}
MOST_EPOCHS = 30  # so that a try takes well under a minute
SETTINGS = (  # that a submission may choose; data and labels are the same for all, and nobody's weights are a start
    "epochs", "batch_size", "optimizer", "learning_rate", "weight_decay", "schedule", "warmup", "min_learning_rate",
    "label_smoothing", "average", "shift", "rotation", "zoom", "brightness", "contrast", "erasing", "mixup",
    "seed",
)  # fmt: skip
FIGURES = {"multiply_adds": "multiply-adds", "parameters": "parameters", "bytes": "bytes moved"}


def cost(network):
    """Return {"multiply_adds", "parameters", "bytes"} of a submission: for one picture, forward."""
    total = count(build_own(network, digits.SHAPE, digits.CLASSES), digits.SHAPE)
    return {
        "multiply_adds": total.multiply_adds,
        "parameters": total.parameters,
        "bytes": total.forward.bytes_moved(),
    }


def over_budget(costs):
    """Return what is above the budget in words, or an empty text."""
    above = [name for name, most in BUDGET.items() if costs[name] > most]
    return "; ".join(f"{costs[name]:,} {FIGURES[name]}, the budget is {BUDGET[name]:,}" for name in above)


def measure(network, settings, split="val"):
    """Train a submission on digits and return its cost and {"accuracy": share that is right}.

    settings   {name: value} of minifer's training settings, of those in SETTINGS
    split      "val" to work with, "test" to judge by
    Raises     ConfigError for another setting, or a value that cannot work; DataError when it is over the budget
    """
    strange = sorted(set(settings) - set(SETTINGS))
    if strange:
        raise ConfigError(f"the setting {strange[0]} is not yours to choose; these are: {', '.join(SETTINGS)}")
    # The last epoch counts: the best one on val would be chosen by what it is measured with.
    fixed = {"model": "plain", "flip": False, "keep": "last", "epochs": MOST_EPOCHS, "schedule": "cosine"}
    chosen = config.TrainConfig(**fixed | settings)
    if chosen.epochs > MOST_EPOCHS:
        raise ConfigError(f"epochs is {chosen.epochs}: {MOST_EPOCHS} at most")
    costs = cost(network)
    if over_budget(costs):
        raise DataError(f"over the budget: {over_budget(costs)}")
    data = digits.load()
    training = fit(chosen, data["train"], data["val"], model=network)
    right = predict(training.model, data[split].images).argmax(axis=1) == data[split].labels
    return {"accuracy": round(float(right.mean()), 4), **costs}


def compare(folder, tests=None, seconds=None):
    """Return {submission: its Exercise} for every folder in a folder that holds a capstone.py, most points first.

    Raises     DataError when there is none
    """
    found = sorted(path.parent for path in Path(folder).glob("*/capstone.py"))
    if not found:
        raise DataError(f"{folder}: no folder in it holds a capstone.py: give one folder for each submission")
    more = {"seconds": seconds} if seconds else {}
    results = {path.name: score(path, tests, only="capstone", **more)[0] for path in found}
    return dict(sorted(results.items(), key=lambda item: -item[1].properties.get("accuracy", 0)))


def frontier(figures):
    """Return the names of those submissions that none beats: no other is as accurate for fewer multiply-adds.

    figures    {name: {"accuracy", "multiply_adds"}}
    """
    best, names = (-1.0, 0), []
    for name in sorted(figures, key=lambda name: (figures[name]["multiply_adds"], -figures[name]["accuracy"])):
        own = figures[name]["accuracy"], figures[name]["multiply_adds"]
        if own[0] > best[0] or own == best:  # two that are equal do not beat each other
            best = own
            names.append(name)
    return names


def draw(figures, path):
    """Draw accuracy against multiply-adds of all submissions, and the line of those that none beats."""
    from minifer.report.canvas import BLUE, GREY, INK, ORANGE, new_figure, plain_frame, write_figure

    figure, grid = new_figure(7.5, 4.6)
    axes, first = grid[0, 0], frontier(figures)
    axes.step(
        [figures[name]["multiply_adds"] for name in first] + [BUDGET["multiply_adds"]],
        [100 * figures[name]["accuracy"] for name in [*first, first[-1]]],
        where="post", color=BLUE, linewidth=1.5, label="none is as accurate for less work",
    )  # fmt: skip
    for name, each in figures.items():
        x, y, colour = each["multiply_adds"], 100 * each["accuracy"], BLUE if name in first else GREY
        axes.plot(x, y, "o", color=colour)
        axes.annotate(name, (x, y), (5, -11), textcoords="offset points", size=8, color=INK)
    axes.axvline(BUDGET["multiply_adds"], color=ORANGE, linestyle="--", linewidth=1.2, label="the budget")
    axes.set(xlabel="multiply-adds for one picture", ylabel="accuracy in %", title="Accuracy against work")
    axes.set_xlim(left=0)
    axes.margins(y=0.15)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    plain_frame(axes, grid="both")
    write_figure(figure, path)
