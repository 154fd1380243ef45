"""Measure a trained network on one split: top-1 with its interval first, then what puts it into proportion."""

import csv
import io
from pathlib import Path

from minifer.commands.common import add_threads, as_path, find_weights, print_json, set_threads
from minifer.errors import ConfigError


def add_arguments(parser):
    """Add the flags."""
    parser.add_argument(
        "weights", type=as_path, metavar="WEIGHTS_OR_RUN", help="weights file, run folder, or name of shipped weights"
    )
    parser.add_argument(
        "--data", type=as_path, required=True, metavar="PATH", help="FER2013 as csv, zip, folder or prepared .npz"
    )
    parser.add_argument("--split", required=True, choices=("train", "val", "test"), help="test is PrivateTest")
    parser.add_argument(
        "--tta", action="store_true", help="average over two views of each picture: as it is and mirrored"
    )
    parser.add_argument(
        "--unseen", action="store_true", help="also give top-1 on the pictures of which the training rows hold no copy"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--out", type=as_path, metavar="DIR", help="also write evaluation.json, predictions.csv and confusion.png here"
    )
    add_threads(parser)


def run(args):
    """Evaluate and print."""
    set_threads(args)
    from minifer.data import fer2013

    if args.unseen and args.split == "train":
        raise ConfigError(
            "--unseen: every training row has a copy in the training rows, itself: choose another --split"
        )
    dataset = fer2013.load_split(args.data, args.split)
    result, probs = evaluate_weights(find_weights(args.weights), dataset, args.split, args.tta)
    if args.unseen:
        result["unseen"] = on_unseen(fer2013.load_split(args.data, "train"), dataset, probs)
    if args.out:
        from minifer.files import claimed, make_folder

        with claimed(make_folder(args.out)):
            write_evaluation(args.out, result, probs, dataset)
    if args.json:
        print_json(result)
    else:
        from minifer.report.text import format_report

        print(format_report(result))


def evaluate_weights(path, dataset, split, tta=False):
    """Return (result as a JSON-able dict, probabilities (N, classes)) of a weights file on a Dataset."""
    import numpy as np

    from minifer import metrics
    from minifer.calibration import tempered
    from minifer.cost import count
    from minifer.data.views import views
    from minifer.training import check_classes, load_weights, predict

    model, meta = load_weights(path)
    check_classes(meta["classes"], dataset.classes, path)
    settings = meta["config"]
    if settings.get("register"):
        from minifer.faces.registration import registered

        dataset = registered(dataset)
    if tta:
        probs = np.mean([predict(model, view) for view in views(dataset.images, dataset.frames)], axis=0)
    else:
        probs = predict(model, dataset.images, dataset.frames)
    result = {
        "split": split,
        "model": settings["model"],
        "alpha": settings["alpha"],
        "parameters": count(model, (*meta["image_shape"], 1)).trainable_parameters,
        "tta": tta,
        **metrics.evaluate(probs, dataset.labels, dataset.classes),
    }
    if meta.get("temperature") and not tta:  # of a mean of two views it cannot be taken back
        before = tempered(probs, 1 / meta["temperature"])
        result["temperature"] = meta["temperature"]
        result["calibration_error_without_temperature"] = metrics.expected_calibration_error(before, dataset.labels)
    return result, probs


def on_unseen(train, dataset, probs):
    """Return metrics.top1 of the pictures that have no copy in the training rows."""
    from minifer.data.duplicates import unseen_rows
    from minifer.metrics import top1

    rows = unseen_rows(train, dataset)
    return top1(probs[rows].argmax(axis=1) == dataset.labels[rows])


def write_evaluation(folder, result, probs, dataset):
    """Write evaluation.json, predictions.csv and confusion.png into a folder."""
    import json

    from minifer.files import write_text
    from minifer.report.figures import draw_confusion

    folder = Path(folder)
    write_text(folder / "evaluation.json", json.dumps(result, indent=2))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["name", "label", "prediction", *dataset.classes])
    for name, label, row in zip(dataset.names, dataset.labels, probs, strict=True):
        probabilities = [f"{p:.5f}" for p in row]
        table.writerow([name, dataset.classes[label], dataset.classes[row.argmax()], *probabilities])
    write_text(folder / "predictions.csv", text.getvalue())
    low, high = result["top1_interval"]
    title = f"{result['split']}: top-1 {100 * result['top1']:.1f} % (95 % interval {100 * low:.1f} to {100 * high:.1f})"
    draw_confusion(result["confusion"], dataset.classes, folder / "confusion.png", title)
