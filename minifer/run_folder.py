"""The folder of a training run: who may write to it, and the only place that reads and writes the tables in it.

config.json                        settings and data of the run          metrics.csv    a row for every epoch
best.npz, last.npz                 weights to use, state to go on from   curves.png     the same as a picture
evaluation.json, predictions.csv,  how good the best weights are on the
confusion.png                      validation split
"""

import json
from contextlib import suppress
from pathlib import Path

from minifer import config
from minifer.allowed import Number
from minifer.data.predictions import write_predictions
from minifer.errors import BusyError, ConfigError, MiniferError
from minifer.files import claimed, make_folder, table_text, write_text
from minifer.files.documents import read_json
from minifer.files.tables import number, read_table

MOST_BYTES = 64 << 20  # of metrics.csv: a run of 100,000 epochs has some 20 MB
# Of metrics.csv. train_top1 is of pictures as the epoch changed them, while the weights moved; train_plain_top1 of a
# sample of the training pictures as they are, val_unseen_top1 of val's pictures without a copy in training.
COLUMNS = (
    "epoch", "learning_rate", "train_loss", "train_top1", "train_plain_top1", "val_loss", "val_top1", "val_unseen_top1",
    "seconds", "pictures_per_second",
)  # fmt: skip


RESULTS = ("last.npz", "best.npz", "metrics.csv", "evaluation.json", "predictions.csv")  # what costs time to make


def holds_run(folder):
    """Whether a run was begun in a folder."""
    return (Path(folder) / "config.json").exists()


def holds_result(folder):
    """Return the name of a result in a folder, or None; a run that failed before its first epoch leaves none."""
    return next((name for name in RESULTS if (Path(folder) / name).exists()), None)


def is_run(folder):
    """Whether the config.json in a folder is a run's; other programs call files so, too."""
    try:
        return bool(read_settings(folder))
    except MiniferError:
        return False


def is_free(folder):
    """Whether a run may begin in a folder: it holds no result, and no config.json but that of a run that failed."""
    return not holds_result(folder) and (not holds_run(folder) or is_run(folder))


def check_can_go_on(folder):
    """Raise ConfigError when a run has results, but not the state that it goes on from: it would begin anew.

    The table is written after that state: best.npz alone is what is left of a run that was killed in its first epoch.
    """
    found = next((name for name in ("evaluation.json", "metrics.csv") if (Path(folder) / name).exists()), None)
    if found and not (Path(folder) / "last.npz").exists():
        raise ConfigError(f"{folder} has {found}, but no last.npz to go on from: begin another run with --out")


def check_no_run(folder, given_by):
    """Raise ConfigError when a folder is that of a run, whose results of the same names would be lost."""
    if holds_run(folder) and holds_result(folder):
        raise ConfigError(f"{given_by} {folder} is the folder of a run, whose results would be lost: choose another")


def new_folder(out, preset, claims):
    """Return a new run folder, claimed until the ExitStack `claims` ends; a run that is there is never written over.

    out     None: runs/PRESET, or the next one that is free
    """
    folder, number = Path(out or f"runs/{preset}"), 1
    while True:
        if is_free(folder):
            try:
                if not folder.exists():
                    claims.callback(remove_if_empty, folder)  # when nothing came of it
                claims.enter_context(claimed(make_folder(folder)))
            except BusyError:
                if out:
                    raise
            else:
                if is_free(folder):
                    return folder
        if out and not is_run(folder):
            found = holds_result(folder) or "config.json"
            raise ConfigError(f"{out} holds {found}, which a run would replace: choose another --out")
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
    rows = read_table(Path(folder) / "metrics.csv", ("train_loss",), MOST_BYTES, "train again with another --out")
    return [number(row["train_loss"], place) for place, row in rows]


def write_evaluation(folder, result, probs, dataset):
    """Write predictions.csv, confusion.png and evaluation.json: what evaluation.evaluate_weights returned.

    The last of them says that a run is done with, see is_evaluated: what fails before is done again.

    Shapes     probs (N, classes), a row for each of the Dataset's
    """
    from minifer.report.figures import draw_confusion

    folder = Path(folder)
    write_predictions(folder / "predictions.csv", probs, dataset)
    low, high = result["top1_interval"]
    title = f"{result['split']}: top-1 {100 * result['top1']:.1f} % (95 % interval {100 * low:.1f} to {100 * high:.1f})"
    draw_confusion(result["confusion"], dataset.classes, folder / "confusion.png", title)
    write_text(folder / "evaluation.json", json.dumps(result, indent=2))


def is_evaluated(folder):
    """Whether a run is finished and its best weights are measured."""
    return (Path(folder) / "evaluation.json").exists()


def read_evaluation(folder):
    """Return evaluation.json, in which there are the figures that sweeps and the study print."""
    figures = ("top1", "balanced_accuracy", "macro_precision", "macro_f1")
    return read_json(Path(folder) / "evaluation.json", dict.fromkeys(figures, Number(0, 1)))
