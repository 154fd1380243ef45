"""predictions.csv: what a network said of each row of a data set. The only place that writes and reads it."""

import re
from dataclasses import dataclass

from minifer.errors import DataError
from minifer.files import printable, table_text, write_text
from minifer.files.tables import number, read_table

COLUMNS = ("name", "label", "prediction")  # and then one for each class
MOST_BYTES = 256 << 20  # FER2013's has 3 MB
REMEDY = "`minifer evaluate ... --split train --out DIR` writes a predictions.csv"


@dataclass(frozen=True)
class Prediction:
    """A row of the table: the class that the data set names, the likeliest one, and all probabilities."""

    label: str
    likeliest: str
    probabilities: list


def class_columns(classes, taken=COLUMNS):
    """Return what the column of each class is called: as the class, but "class label" where "label" is taken.

    A class that is itself called "class label" then becomes "class class label", so that no two columns are called
    alike.

    taken      names of the table's other columns
    """
    other = re.compile(f"(class )*({'|'.join(map(re.escape, taken))})")
    return [f"class {name}" if other.fullmatch(name) else name for name in classes]


def write_predictions(path, probs, dataset):
    """Write the table of a Dataset.

    Shapes     probs (N, classes), a row for each of the Dataset's
    """
    rows = [[*COLUMNS, *class_columns(dataset.classes)]]
    for name, label, row in zip(dataset.names, dataset.labels, probs, strict=True):
        likeliest = dataset.classes[row.argmax()]
        rows.append([name, dataset.classes[label], likeliest, *(f"{p:.5f}" for p in row)])
    write_text(path, table_text(rows))


def read_predictions(path, classes):
    """Return {picture name: Prediction}, its probabilities in the order of classes.

    Raises     DataError when the file cannot be read, is of other classes, or has two rows of one picture
    """
    columns, said = [printable(name) for name in class_columns(classes)], {}  # as they stand in the table
    for place, row in read_table(path, ("name", *columns), MOST_BYTES, REMEDY):
        if row["name"] in said:
            raise DataError(f"{place}: a second row of {row['name']}: which one is right? Remove the other")
        probabilities = [number(row[column], f"{place}, column {column}") for column in columns]
        said[row["name"]] = Prediction(row.get("label"), row.get("prediction"), probabilities)
    return said
