"""predictions.csv: what a network said of each row of a data set. The only place that writes and reads it."""

import csv
from dataclasses import dataclass
from pathlib import Path

from minifer.errors import DataError
from minifer.files import table_text, write_text
from minifer.files.guard import guarded

MOST_BYTES = 256 << 20  # FER2013's has 3 MB
REMEDY = "`minifer evaluate ... --split train --out DIR` writes a predictions.csv"


@dataclass(frozen=True)
class Prediction:
    """A row of the table: the class that the data set names, the likeliest one, and all probabilities."""

    label: str
    likeliest: str
    probabilities: list


def write_predictions(path, probs, dataset):
    """Write the table of a Dataset.

    Shapes     probs (N, classes), a row for each of the Dataset's
    """
    rows = [["name", "label", "prediction", *dataset.classes]]
    for name, label, row in zip(dataset.names, dataset.labels, probs, strict=True):
        likeliest = dataset.classes[row.argmax()]
        rows.append([name, dataset.classes[label], likeliest, *(f"{p:.5f}" for p in row)])
    write_text(path, table_text(rows))


def read_predictions(path, classes):
    """Return {picture name: Prediction}, its probabilities in the order of classes.

    Raises     DataError when the file cannot be read or is of other classes
    """
    path = Path(path)
    with guarded(path, remedy=REMEDY):
        if not path.is_file():
            raise DataError(f"{path}: {'not a file' if path.exists() else 'no such file'}: {REMEDY}")
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path}: {path.stat().st_size} bytes, no predictions.csv has more than {MOST_BYTES}")
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            absent = [name for name in ("name", *classes) if name not in (table.fieldnames or ())]
            if absent:
                raise DataError(f"{path}: no column {absent[0]!r}: a predictions.csv of these classes is needed")
            return {
                row["name"]: Prediction(row.get("label"), row.get("prediction"), [float(row[c]) for c in classes])
                for row in table
            }
