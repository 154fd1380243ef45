"""FER+: for each picture of FER2013 the votes of ten people, in place of the label that one person gave it.

A picture's votes v are counts for eight emotions, "unknown" and "no face". A single vote is taken for a slip and left
out. The picture is dropped when what remains is not a vote for an emotion by more than half; else

    majority         the label is the emotion with most votes
    cross-entropy    likewise, and training aims at q = v / sum v over the emotions: what people see in the picture

The table has a row for each row of fer2013.csv, in the same order. The numbers in its names are not those of the rows:
of the pictures that FER+ took out some were counted and some not, and the last of 35,887 rows is called fer0035801. So
nothing but its place says which picture a row is of: neither table may lack a row, and both must name the same Usage.

The figures of FER+ and FER2013 are of different labels and cannot be compared: 83 % of one is not 83 % of the other.

Source     Barsoum, Zhang, Canton Ferrer & Zhang, Training deep networks for facial expression recognition with
           crowd-sourced label distribution, 2016, sections 3 and 4; fer2013new.csv of github.com/microsoft/FERPlus
"""

import re
from dataclasses import replace

import numpy as np

from minifer.data.dataset import MOST_ROWS
from minifer.data.tables import parse_usage
from minifer.errors import DataError
from minifer.files.tables import read_table

CLASSES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
VOTES = (*CLASSES, "unknown", "NF")
COLUMNS = ("Usage", "Image name", *VOTES)
WAYS = ("cross-entropy", "majority")
MOST_BYTES = 16 << 20  # fer2013new.csv has 1.6 MB
NAME = re.compile(r"fer(\d{7})\.png")  # of the picture in a row of fer2013.csv, see data.tables


def relabelled(splits, path, way="cross-entropy"):
    """Return {split: Dataset} with FER+'s labels, without the pictures that it drops.

    splits     of fer2013.csv, or of what `minifer prepare` made of it
    path       of fer2013new.csv
    Raises     DataError when the file is not that, or its rows are not those of the pictures
    """
    usages, votes = read_votes(path)
    numbers = {split: row_numbers(rows, path) for split, rows in splits.items()}
    count = 1 + max(found.max(initial=-1) for found in numbers.values())
    if count != len(votes):
        raise DataError(
            f"{path}: {len(votes)} rows, and {count} in the data's table: FER+ knows a picture by its row alone, so "
            "take both tables whole, or remove the same rows from both"
        )
    for split, found in numbers.items():
        if len(others := found[usages[found] != split]):
            raise DataError(
                f"{path}, row {others[0] + 1}: of {usages[others[0]]}, and in the data's table of {split}: FER+ knows "
                "a picture by its row alone, so take both tables as they were published"
            )
    return {split: with_votes(rows, votes[numbers[split]], way) for split, rows in splits.items()}


def row_numbers(dataset, path):
    """Return the rows of fer2013.csv, from 0, that a Dataset's pictures stand in, (N,) int64: their names say it."""
    found = [NAME.fullmatch(name) for name in dataset.names.tolist()]
    if None in found:
        raise DataError(
            f"{path}: its rows are those of fer2013.csv, and in which of them {dataset.names[found.index(None)]} "
            "stands is not known: give fer2013.csv as --data"
        )
    return np.array([int(match[1]) for match in found], np.int64)


def with_votes(dataset, counts, way):
    """Return a Dataset with the labels that the votes (N,10) give, and with soft labels unless by majority."""
    counts = np.where(counts > 1, counts, 0)
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
    """Return the split of each row of fer2013new.csv, (N,) str, and its votes (N,10): 0 where FER+ took it out."""
    usages, votes, last = [], [], ""
    for place, row in read_table(path, COLUMNS, MOST_BYTES, "give fer2013new.csv of FER+ with --labels"):
        if len(votes) == MOST_ROWS:
            raise DataError(f"{place}: more than {MOST_ROWS} rows: is it FER+?")
        name, texts = row["Image name"].strip(), [row[column].strip() for column in VOTES]
        if not all(re.fullmatch("[0-9]|10", text) for text in texts):
            raise DataError(f"{place}: votes are whole numbers from 0 to 10: correct the row")
        if name and name <= last:  # of a row that is there twice, or of a table that was sorted
            raise DataError(f"{place}: {name} stands after {last}: give the rows in the order of FER+, each once")
        last = name or last
        usages.append(parse_usage(row["Usage"], place))
        votes.append([int(text) for text in texts] if name else [0] * len(VOTES))
    return np.array(usages, str), np.array(votes, float).reshape(-1, len(VOTES))
