"""The study's tables from measured results, and what they say about its claims.

results is what `minifer reproduce` keeps in results.json:

    prepare     the report of `minifer prepare`
    counts      {class: {"rows", "cropped", "kept", "dropped", "synthetic", "after"}}, training rows
    networks    {plain, skip, mha, and "... from ImageNet": an evaluation}, see metrics.evaluate, with top-1 on the
                pictures of which the training rows hold no copy as "unseen"
    arms        {arm of the ablation: [evaluation of each seed]}
    duplicates  rows of data.duplicates.count_duplicates
"""

import warnings
from dataclasses import dataclass, field

import numpy as np

from minifer.files import table_text
from minifer.reproduce import printed
from minifer.reproduce.plan import ARMS, BASE


@dataclass
class Table:
    """A table of text, ready for CSV and HTML."""

    name: str  # of the CSV file
    title: str
    header: list
    rows: list
    note: str = field(default="")

    def csv(self):
        """Return the table as the text of a CSV file."""
        return table_text([self.header, *self.rows])


def percent(share):
    """Return a share as percent with one decimal."""
    return f"{100 * share:.1f}"


def every_table(results):
    """Return all tables, in the order of the report."""
    return [balancing(results), networks(results), literature(results), ablation(results), *near_duplicates(results)]


def balancing(results):
    """Table 1: training rows of each class before and after."""
    rows = [
        [
            name, printed.BEFORE.get(name, ""), count["rows"], count["cropped"], count["kept"], count["synthetic"],
            count["after"], printed.AFTER.get(name, ""),
        ]
        for name, count in results["counts"].items()
    ]  # fmt: skip
    totals = [sum(row[k] for row in rows if row[k] != "") for k in range(1, 8)]
    return Table(
        "table1",
        "Table 1: training rows of each class",
        [
            "class",
            "printed before",
            "rows",
            "with a face",
            "kept by NearMiss",
            "made by SMOTE",
            "after",
            "printed after",
        ],
        [*rows, ["together", *totals]],
        "Neutral is printed as 1965 before balancing; 4965 is what the archive holds, and what makes the printed total "
        "of 28,709. Rows are those of this reproduction's preset.",
    )


def networks(results):
    """Table 3 in three readings: top-1, means over the classes, and yes-or-no questions."""
    rows = []
    for key, result in results["networks"].items():
        paper = printed.TABLE_3.get(key)
        low, high = result["top1_interval"]
        rows.append(
            [
                printed.NAMES.get(key, key),
                percent(result["top1"]),
                f"{percent(low)} to {percent(high)}",
                percent(result["unseen"]["top1"]),
                percent(result["balanced_accuracy"]),
                percent(result["macro_precision"]),
                percent(result["macro_f1"]),
                *(percent(result[f"binary_{kind}"]) for kind in ("accuracy", "recall", "precision")),
                *(percent(paper[kind]) if paper else "" for kind in ("accuracy", "recall", "precision")),
            ]
        )
    return Table(
        "table3",
        "Table 3: the three networks on PublicTest, read in three ways, %",
        [
            "network", "top-1", "95 % interval", "top-1, unseen", "mean recall", "mean precision", "mean F1",
            "binary accuracy", "binary recall", "binary precision", "printed accuracy", "printed recall",
            "printed precision",
        ],
        rows,
        "Top-1 is how often the classifier is right; unseen: on the pictures of which the training rows hold no copy. "
        "Means are over the classes. Binary figures read the seven outputs of each picture as seven yes-or-no "
        "questions (yes above 0.5), as Keras' BinaryAccuracy does: they are not the accuracy of the classifier. The "
        "two printed accuracies with skips are such readings of their recall and precision.",
    )  # fmt: skip


def literature(results):
    """Table 4: this reproduction beside honest figures."""
    rows = [
        [
            f"here: {printed.NAMES.get(key, key)}",
            f"{result['parameters'] / 1e6:.2f}",
            percent(result["top1"]),
            "PublicTest",
        ]
        for key, result in results["networks"].items()
    ]
    for name, parameters, top1, how in printed.LITERATURE:
        rows.append([name, "" if parameters is None else f"{parameters:g}", f"{top1:.1f}", how])
    return Table(
        "table4",
        "Table 4: beside networks that were measured honestly, top-1 in %",
        ["network", "million parameters", "top-1", "measured on PrivateTest, unless something else is said"],
        rows,
        "Networks score 1.5 to 3.5 points higher on PrivateTest than on PublicTest.",
    )


def ablation(results):
    """The arms of the ablation: mean and standard deviation over the seeds, and the difference to the base."""
    base = results["arms"][BASE]
    rows = []
    for arm, (question, _, _) in ARMS.items():
        runs = results["arms"][arm]
        top1, recall = scores(runs, "top1"), scores(runs, "balanced_accuracy")
        rows.append(
            [
                question, arm, len(runs),
                spread(top1), against(top1, scores(base, "top1"), arm),
                spread(recall), against(recall, scores(base, "balanced_accuracy"), arm),
            ]
        )  # fmt: skip
    return Table(
        "ablation",
        "One change at a time: the same budget for every run, PublicTest, %",
        ["question", "arm", "runs", "top-1", "against the base", "mean recall", "against the base"],
        rows,
        "The base is the network with skips on cropped pictures, trained end to end without balancing or augmentation. "
        "Mean and standard deviation over the seeds. A difference is called noise when Welch's t-test gives p above "
        "0.05.",
    )


def against(values, base, arm):
    """Return an arm's difference to the base as text."""
    if arm == BASE:
        return "the base"
    found = difference(values, base)
    return f"{found.text} {'noise' if found.noise else 'real'}"


def near_duplicates(results):
    """Pictures that occur in two splits: a caution about every figure."""
    if not results.get("duplicates"):
        return []
    rows = results["duplicates"]
    return [
        Table(
            "duplicates",
            "Pictures that occur twice",
            [name.replace("_", " ") for name in rows[0]],
            [list(row.values()) for row in rows],
            "Found by a perceptual hash and confirmed on the pixels. A network has seen such pictures of PublicTest in "
            "training, some of them with another label.",
        )
    ]


def scores(runs, key):
    """Return one figure of several evaluations, in percent."""
    return np.array([100 * run[key] for run in runs])


def spread(values):
    """Return mean and standard deviation as text."""
    return f"{values.mean():.1f} \u00b1 {values.std(ddof=1):.1f}"


@dataclass(frozen=True)
class Difference:
    """A difference of two means, in points."""

    points: float
    p: float  # of Welch's test that there is none

    @property
    def noise(self):
        """Whether it can be chance."""
        return not self.p < 0.05

    @property
    def text(self):
        """The difference and the probability of one this large by chance."""
        return f"{self.points:+.1f} (p {self.p:.2g})"

    @property
    def verdict(self):
        """What that says of the claim that the change helps."""
        return "noise" if self.noise else "holds" if self.points > 0 else "does not hold"


def difference(values, base):
    """Return the Difference of the means of two arms' runs."""
    from scipy.stats import ttest_ind

    if np.ptp(values) == np.ptp(base) == 0:  # runs that are equal to the last digit: the test has no answer
        p = float(values[0] == base[0])
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # that one of the two has hardly any spread
            p = float(ttest_ind(values, base, equal_var=False).pvalue)
    return Difference(float(values.mean() - base.mean()), p)


def claims(results):
    """Return (claim, printed, measured, verdict) for every claim of the study that these results speak to."""
    arms = results["arms"]

    def compare(arm, against, key="top1"):
        return difference(scores(arms[arm], key), scores(arms[against], key))

    skips, attention = compare(BASE, "plain"), compare("mha", BASE)
    top1, recall = compare("NearMiss + SMOTE", BASE), compare("NearMiss + SMOTE", BASE, "balanced_accuracy")
    cropping = compare(BASE, "whole pictures")
    best = max(results["networks"].values(), key=lambda result: result["top1"])
    table = printed.TABLE_3
    return [
        (
            "skip connections help",
            f"{percent(table['plain']['accuracy'])} to {percent(table['skip']['accuracy'])}",
            f"{skips.text} points of top-1",
            skips.verdict,
        ),
        (
            "attention helps further",
            f"{percent(table['skip']['accuracy'])} to {percent(table['mha']['accuracy'])}",
            f"{attention.text} points of top-1",
            attention.verdict,
        ),
        (
            "balancing by NearMiss and SMOTE helps",
            "described, not measured",
            f"{top1.text} points of top-1, {recall.text} of mean recall",
            f"top-1: {top1.verdict}; mean recall: {recall.verdict}",
        ),
        ("cropping to the face helps", "described, not measured", f"{cropping.text} points of top-1", cropping.verdict),
        (
            "the accuracy is 96 %",
            percent(table["mha"]["accuracy"]),
            f"top-1 {percent(best['top1'])}; binary reading of the same predictions {percent(best['binary_accuracy'])}",
            "not as an accuracy of the classifier",
        ),
    ]
