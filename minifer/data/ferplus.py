"""FER+: for each picture of FER2013 the votes of ten people, in place of the label that one person gave it.

A picture's votes v are counts for eight emotions, "unknown" and "no face". A single vote is taken for a slip and left
out. The picture is dropped when what remains is not a vote for an emotion by more than half; else

    majority         the label is the emotion with most votes
    cross-entropy    likewise, and training aims at q = v / sum v over the emotions: what people see in the picture

The figures of FER+ and FER2013 are of different labels and cannot be compared: 83 % of one is not 83 % of the other.

Source     Barsoum, Zhang, Canton Ferrer & Zhang, Training deep networks for facial expression recognition with
           crowd-sourced label distribution, 2016, sections 3 and 4; fer2013new.csv of github.com/microsoft/FERPlus
"""

import csv
from dataclasses import replace

import numpy as np

from minifer.data.dataset import MOST_ROWS
from minifer.errors import DataError
from minifer.files.guard import guarded

CLASSES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
COLUMNS = ("Image name", *CLASSES, "unknown", "NF")
WAYS = ("cross-entropy", "majority")


def relabelled(splits, path, way="cross-entropy"):
    """Return {split: Dataset} with FER+'s labels, without the pictures that it drops.

    splits     of fer2013.csv, whose rows FER+ knows by their place there
    path       of fer2013new.csv
    Raises     DataError when the file is not that, or knows none of these pictures
    """
    votes = read_votes(path)
    return {split: with_votes(rows, votes, path, way) for split, rows in splits.items()}


def with_votes(dataset, votes, path, way):
    """Return a Dataset with the labels that votes {name: (10,)} give, and with soft labels unless by majority."""
    known = np.array([name in votes for name in dataset.names.tolist()], bool)
    if not known.any():
        raise DataError(
            f"{path}: its rows are called after their place in fer2013.csv, and no picture here is "
            f"({dataset.names[0] if len(dataset) else 'there are none'}): give fer2013.csv as --data"
        )
    counts = np.array([votes.get(name, np.zeros(len(COLUMNS) - 1)) for name in dataset.names.tolist()])
    counts[counts <= 1] = 0
    emotions, total = counts[:, : len(CLASSES)], counts.sum(axis=1)
    kept = np.flatnonzero(
        (emotions.max(axis=1) > counts[:, len(CLASSES) :].max(axis=1)) & (2 * emotions.sum(axis=1) > total)
    )
    if way == "majority":
        kept = kept[2 * emotions[kept].max(axis=1) > total[kept]]
    emotions = emotions[kept]
    soft = None if way == "majority" else (emotions / emotions.sum(axis=1, keepdims=True)).astype(np.float32)
    rows = replace(dataset.take(kept), labels=emotions.argmax(axis=1), classes=CLASSES)
    return replace(rows, soft=soft)


def read_votes(path):
    """Return {picture's name: votes (10,) for the emotions, unknown and no face} of fer2013new.csv."""
    votes = {}
    with guarded(path), open(path, newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
        if missing:
            raise DataError(f"{path}: no column {missing[0]!r}: give fer2013new.csv of FER+")
        for row in table:
            place = f"{path}, line {table.line_num}"
            if len(votes) == MOST_ROWS:
                raise DataError(f"{place}: more than {MOST_ROWS} rows: is it FER+?")
            if not row["Image name"]:  # FER+ took the picture out
                continue
            counts = [row[name] or "" for name in COLUMNS[1:]]
            if not all(text.isdecimal() and len(text) < 3 for text in counts):
                raise DataError(f"{place}: votes are whole numbers from 0 to 10: correct or remove the row")
            votes[row["Image name"]] = np.array(counts, float)
    return votes
