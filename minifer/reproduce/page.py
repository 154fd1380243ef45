"""The report: one HTML page that says what was claimed, what was measured, and what the printed numbers mean."""

import platform
from importlib.metadata import version

import numpy as np

from minifer import __version__
from minifer.report.architecture import draw_architecture
from minifer.report.html import figure, page, paragraph, preformatted, table
from minifer.report.inside import draw_attention
from minifer.report.text import aligned
from minifer.reproduce import data_figures, network_figures, printed, result_figures, tables

CLAIM_HEADER = ["claim", "printed", "measured here", "verdict"]


def in_short(results):
    """Return the claims and what became of them as lines of text."""
    lines = [f"{claim}: {verdict} ({measured})" for claim, _, measured, verdict in tables.claims(results)]
    return "\n".join(lines)


def report(results, plan, folder, whole, cropped, balanced):
    """Return the page.

    results    see minifer.reproduce.tables
    plan       what was carried out
    folder     holds networks/
    whole, cropped, balanced    {split: Dataset} of whole and of cropped pictures; balanced training rows
    """
    best = max(results["networks"].values(), key=lambda result: result["top1"])
    sections = {
        "In short": table(
            "The study's claims", CLAIM_HEADER, tables.claims(results),
            "Real or noise: Welch's t-test over the seeds of the ablation, p below 0.05.",
        )
        + paragraph(
            f"Preset `{results['preset']}`: {plan.meaning}. Everything is measured on PublicTest, {best['n']} pictures "
            "that no network was trained on. The epoch of each run is chosen on them too, so figures lean a little to "
            "the good side, for all arms alike."
        ),
        "Faces": faces(results, folder, whole, cropped),
        "Balancing": balancing(results, cropped["train"], balanced),
        "The network": network(results, folder, cropped["val"]),
        "The three networks": three_networks(results),
        "What the paper's numbers mean": meaning(results["networks"]),
        "One change at a time": html(tables.ablation(results))
        + figure(result_figures.ablation(results), "Every run is a dot, the line is the arm's mean."),
        "How to get this again": again(results),
    }  # fmt: skip
    return page(
        "MobileNet with skips and attention on FER2013, carried out again",
        "Every table and figure of Nouisser, Zouari & Kherallah (IAJIT 20(3A), 2023) from the pictures themselves, "
        "with measured numbers.",
        sections,
    )


def html(made):
    """Return a Table as HTML."""
    return table(made.title, made.header, made.rows, made.note)


def faces(results, folder, whole, cropped):
    """Figures 1 and 2, and what was rejected."""
    prepared = results["prepare"]
    rows = [
        [split, row["pictures"], row["found"], tables.percent(row["found"] / row["pictures"]), row["dropped"]]
        for split, row in prepared["splits"].items()
    ]
    images, scores = rejected_pictures(folder)
    parts = [
        table("Pictures in which a face was found", ["split", "pictures", "found", "%", "dropped"], rows),
        paragraph(
            "Pictures of PublicTest are never dropped: where no face is found they stay as they are. About 176 of the "
            "35,887 pictures of FER2013 hold no face at all; the others that are rejected are faces that were missed."
        ),
        figure(
            data_figures.landmarks_and_crops(whole["val"]),
            "Figures 1 and 2: 68 landmarks, and the crop that follows them, padded to a square, never stretched.",
        ),
    ]
    if len(images):
        parts.append(
            figure(
                data_figures.rejected(images, scores),
                f"Figure 2: {len(images)} rejected pictures, the least face-like first, with the detector's score.",
            )
        )
    return "".join([*parts, *map(html, tables.near_duplicates(results))])


def rejected_pictures(folder, most=36):
    """Return the first pictures in which no face was found, and their scores, from the list beside the crops."""
    import csv

    from minifer.data import fer2013

    splits = fer2013.load(folder / "pictures.npz")
    places = {(split, str(name)): k for split, data in splits.items() for k, name in enumerate(data.names)}
    with open(folder / "cropped-missed.csv", newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))[:most]
    images = [splits[row["split"]].images[places[row["split"], row["name"]]] for row in rows]
    return images, [float(row["score"]) for row in rows]


def balancing(results, cropped, balanced):
    """Table 1 and figures 3, 4 and 9."""
    counts = cropped.counts()
    large, small = max(counts, key=counts.get), min(filter(counts.get, counts), key=counts.get)
    return "".join(
        [
            html(tables.balancing(results)),
            paragraph(
                "Training rows only: a network is measured on the classes as they come. Rows are pixels, distances "
                "Euclidean, as in the study."
            ),
            figure(data_figures.nearmiss_in_the_plane(), "Figure 3: NearMiss version 3 on points in the plane."),
            figure(
                data_figures.nearmiss_faces(cropped, balanced, large),
                f"Figure 3, as faces: {large}, the largest class.",
            ),
            figure(data_figures.smote_in_the_plane(), "Figure 4: SMOTE on points in the plane."),
            figure(
                data_figures.smote_faces(cropped, small),
                f"Figure 9: what SMOTE can make of {small}, the smallest class: a mean of two pictures. Where the two "
                "show the same photograph, cut differently, the new one adds nothing.",
            ),
        ]
    )


def network(results, folder, val):
    """Figures 5 to 8, and table 2."""
    from minifer.models import mobilenet
    from minifer.trained import load_weights

    plain, meta = load_weights(folder / "networks" / "plain" / "best.npz")
    mha, _ = load_weights(folder / "networks" / "mha" / "best.npz")
    settings = meta["config"]
    rng = np.random.default_rng(0)
    norms = {
        name: network_figures.gradient_norms(
            mobilenet(name, settings["alpha"], seed=0), val.images[:128], val.labels[:128], rng
        )
        for name in ("plain", "skip")
    }
    curves = {name: results["curves"][name] for name in ("plain", "skip")}
    first, last = norms["plain"][0], norms["plain"][-1]
    return "".join(
        [
            table("Table 2: how the networks are trained", ["", "setting"], list(printed.SETTINGS.items())),
            figure(
                network_figures.depthwise_and_pointwise(plain, val.images[0]),
                "Figure 5: a depthwise separable block of the trained network at work.",
            ),
            figure(
                draw_architecture(mha, (*val.images.shape[1:], 1)),
                "Figure 6: the network with skips and attention, as it was trained here: rows x columns x channels. "
                "Blue lines are skip connections, broken ones pass through a projection.",
            ),
            figure(
                network_figures.skips(norms, curves),
                "Figure 7: what skip connections change. Before training, gradients of the plain network differ "
                f"{max(first, last) / min(first, last):.0f}-fold between its first and last block; with skips they are "
                "alike. Right: the arms plain and skip of the ablation.",
            ),
            figure(
                draw_attention(mha, val.images[0]),
                "Figure 8: the first attention layer of the trained network: where each head looks from the middle.",
            ),
        ]
    )


def three_networks(results):
    """Tables 3 and 4."""
    return "".join(
        [
            paragraph(
                "The plain network is trained first; the other two start from its extraction, which stays as it is, "
                "and train their skip projections, attention and classifier."
            ),
            html(tables.networks(results)),
            figure(
                result_figures.three_readings(results),
                "The same predictions, read in three ways, beside what was printed. A network that never says yes "
                "scores 85.7 % in the binary reading.",
            ),
            html(tables.literature(results)),
        ]
    )


def meaning(networks):
    """Show with arithmetic that a BinaryAccuracy is no accuracy, on our own predictions and on the printed figures."""
    best = max(networks.values(), key=lambda result: result["top1"])
    n, recall, precision = best["n"], best["binary_recall"], best["binary_precision"]
    missed = round((1 - recall) * n)
    wrong = round(recall * n / precision - recall * n) if precision else 0
    rows = [["", "printed accuracy", "from printed recall and precision", "top-1 can only be"]]
    for key, row in printed.TABLE_3.items():
        low, high = printed.top1_range(row["recall"], row["precision"])
        implied = printed.binary_accuracy(row["recall"], row["precision"])
        rows.append([printed.NAMES[key], f"{row['accuracy']:.4f}", f"{implied:.4f}", f"{low:.3f} to {high:.3f}"])
    return "".join(
        [
            paragraph(
                "A softmax over seven classes can be read as seven yes-or-no questions about each picture: is this "
                "output above one half? Keras' BinaryAccuracy counts how many of these answers are right. Six of the "
                "seven true answers are no, so a network that never says yes is right six times out of seven."
            ),
            paragraph("On the predictions of the best network here:"),
            preformatted(
                f"pictures                      n  = {n}\n"
                f"true classes not said yes to  FN = {missed}\n"
                f"wrong classes said yes to     FP = {wrong}\n"
                f"BinaryAccuracy = 1 - (FP + FN) / 7n = 1 - {wrong + missed} / {7 * n} = "
                f"{1 - (wrong + missed) / (7 * n):.4f}\n"
                f"top-1 accuracy of the same predictions            = {best['top1']:.4f}"
            ),
            paragraph(
                "The same arithmetic on the printed recall and precision, FN = 1 - R and FP = R/P - R a picture:"
            ),
            preformatted("\n".join(aligned(rows))),
            paragraph(
                "The second row agrees with its printed accuracy to the last digit and the third to 0.0007: they are "
                "binary readings. As top-1 accuracies they are impossible, since they lie outside the range that the "
                "recall and precision beside them allow. The first row fits neither reading; its precision repeats the "
                "digits of the third row's recall, so a slip is likely. Even 82 to 90 % top-1 would be far above what "
                "single networks reach on these pictures, about whose labels people agree in two of three cases."
            ),
        ]
    )


def again(results):
    """Name the command and the versions."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "scikit-learn"))
    return preformatted(f"minifer reproduce --data fer2013.zip --out DIR --preset {results['preset']}") + paragraph(
        f"minifer {__version__}, Python {platform.python_version()}, {versions}. "
        "The tables stand beside this page as CSV files."
    )
