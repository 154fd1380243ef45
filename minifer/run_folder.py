"""The folder of a training run: who may write to it, and the only place that reads and writes the tables in it.

config.json                        settings and data of the run          metrics.csv    a row for every epoch
best.npz, last.npz                 weights to use, state to go on from   curves.png     the same as a picture
evaluation.json, predictions.csv,  how good the best weights are on the
confusion.png                      validation split
"""

import csv
import json
from contextlib import suppress
from pathlib import Path

from minifer import config
from minifer.allowed import Number
from minifer.data.predictions import write_predictions
from minifer.errors import BusyError, ConfigError
from minifer.files import claimed, make_folder, table_text, write_text
from minifer.files.documents import read_json

# Of metrics.csv. train_top1 is of pictures as the epoch changed them, while the weights moved; train_plain_top1 of a
# sample of the training pictures as they are, val_unseen_top1 of val's pictures without a copy in training.
COLUMNS = (
    "epoch", "learning_rate", "train_loss", "train_top1", "train_plain_top1", "val_loss", "val_top1", "val_unseen_top1",
    "seconds", "pictures_per_second",
)  # fmt: skip


def holds_run(folder):
    """Whether a run was begun in a folder."""
    return (Path(folder) / "config.json").exists()


def new_folder(out, preset, claims):
    """Return a new run folder, claimed until the ExitStack `claims` ends; a run that is there is never written over.

    out     None: runs/PRESET, or the next one that is free
    """
    folder, number = Path(out or f"runs/{preset}"), 1
    while True:
        if not holds_run(folder):
            try:
                if not folder.exists():
                    claims.callback(remove_if_empty, folder)  # when nothing came of it
                claims.enter_context(claimed(make_folder(folder)))
            except BusyError:
                if out:
                    raise
            else:
                if not holds_run(folder):
                    return folder
        if out:
            raise ConfigError(f"{out} holds a run already: go on with --resume {out}, or choose another --out")
        number += 1
        folder = Path(f"runs/{preset}-{number}")


def remove_if_empty(folder):
    """Remove a folder in which nothing is."""
    with suppress(OSError):
        folder.rmdir()


def write_settings(folder, settings, data):
    """Write config.json: a TrainConfig, and the path of the data or None."""
    document = {"data": str(Path(data).resolve()) if data else None, "config": config.to_dict(settings)}
    write_text(Path(folder) / "config.json", json.dumps(document, indent=2))


def read_settings(folder):
    """Return (TrainConfig, path of the data or None) of a run."""
    return config.read(Path(folder) / "config.json")


def write_metrics(folder, rows):
    """Write metrics.csv: dicts of COLUMNS, one for each epoch."""
    table = [COLUMNS, *([row.get(name) for name in COLUMNS] for row in rows)]
    write_text(Path(folder) / "metrics.csv", table_text(table))


def read_losses(folder):
    """Return the training loss of each epoch."""
    with open(Path(folder) / "metrics.csv", newline="", encoding="utf-8-sig") as file:
        return [float(row["train_loss"]) for row in csv.DictReader(file)]


def write_evaluation(folder, result, probs, dataset):
    """Write evaluation.json, predictions.csv and confusion.png: what evaluation.evaluate_weights returned.

    Shapes     probs (N, classes), a row for each of the Dataset's
    """
    from minifer.report.figures import draw_confusion

    folder = Path(folder)
    write_text(folder / "evaluation.json", json.dumps(result, indent=2))
    write_predictions(folder / "predictions.csv", probs, dataset)
    low, high = result["top1_interval"]
    title = f"{result['split']}: top-1 {100 * result['top1']:.1f} % (95 % interval {100 * low:.1f} to {100 * high:.1f})"
    draw_confusion(result["confusion"], dataset.classes, folder / "confusion.png", title)


def is_evaluated(folder):
    """Whether a run is finished and its best weights are measured."""
    return (Path(folder) / "evaluation.json").exists()


def read_evaluation(folder):
    """Return evaluation.json."""
    return read_json(Path(folder) / "evaluation.json", {"top1": Number(0, 1)})
