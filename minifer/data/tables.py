"""FER2013 as a table in a text file: the columns emotion, pixels and Usage, a row for each picture.

Read as it was published (fer2013.csv, icml_face_data.csv) and as spreadsheets write it again: parted by commas,
semicolons or tabs; UTF-8 or UTF-16; names in any case, quoted, with blanks; labels such as 3.0; rows and columns of
blanks at the end. Nothing else is guessed and nothing repaired: a row that is not right is an error with its line.
"""

import codecs
import csv
import io
import re
import warnings

import numpy as np

from minifer.data.dataset import CLASSES, MOST_ROWS, SIZE
from minifer.errors import DataError

COLUMNS = ("emotion", "pixels", "usage")
USAGES = {"training": "train", "publictest": "val", "privatetest": "test"}
OFFICIAL = "Training, PublicTest, PrivateTest"
SEPARATORS = ",;\t|"
MOST_CHARACTERS = 1 << 18  # in a line; the pixels of a picture take 9,216 at most


def known_columns(stream):
    """Return which of the three columns a stream of bytes names in its first line: none where it is no such table."""
    _, line = next(_lines(stream), (1, ""))
    return set(COLUMNS) & set(_header(line)[0])


def read_fer2013(stream, where):
    """Return the lists images, labels, splits and names of a table in a stream of bytes; where names it in errors."""
    from tqdm import tqdm

    lines = _lines(stream)
    columns, separator = _header(next(lines, (1, ""))[1])
    for name in COLUMNS:
        if columns.count(name) != 1:
            found = "two columns" if name in columns else "no column"
            raise DataError(f"{where}: {found} {name!r}: expected emotion, pixels, Usage (splits are not invented)")
    emotion, pixels, usage = map(columns.index, COLUMNS)
    images, labels, splits = [], [], []
    # np.fromstring tells of text among the numbers by this warning, and only so.
    with warnings.catch_warnings(), tqdm(desc="reading csv", unit=" rows", disable=None) as bar:
        warnings.simplefilter("error", DeprecationWarning)
        for number, line in lines:
            place = f"{where}, line {number}"
            if len(images) == MOST_ROWS:
                raise DataError(f"{place}: more than {MOST_ROWS} rows: is it FER2013?")
            row = _fields(line, separator, place)
            while len(row) > len(columns) and not row[-1].strip():
                row.pop()
            if len(row) != len(columns):
                raise DataError(f"{place}: {len(row)} columns, the header has {len(columns)}: download it again")
            labels.append(parse_emotion(row[emotion], place))
            images.append(parse_pixels(row[pixels], place))
            splits.append(parse_usage(row[usage], place))
            bar.update()
    if not images:
        raise DataError(f"{where}: a header and no rows: download it again")
    # FER+ joins its labels to the csv by row order under exactly these names.
    return images, labels, splits, [f"fer{number:07d}.png" for number in range(len(images))]


def _lines(stream):
    """Yield (number, text) of the lines in a stream of bytes that are not blank; separators and quotes are blank."""
    start = stream.peek(2)[:2]
    encoding = "utf-16-le" if start[1:] == b"\0" else "utf-16-be" if start[:1] == b"\0" else "utf-8-sig"
    if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        encoding = "utf-16"
    text = io.TextIOWrapper(stream, encoding, errors="replace", newline="")
    number = 0
    while line := text.readline(MOST_CHARACTERS):
        number += 1
        if line.strip(SEPARATORS + ' "\r\n'):
            yield number, line


def _header(line):
    """Return the column names in a line, in lower case and without what is round them, and the separator."""
    columns = {part: [name.strip(" \t\r\n\"'").lower() for name in line.split(part)] for part in SEPARATORS}
    separator = max(SEPARATORS, key=lambda part: (len(set(COLUMNS) & set(columns[part])), len(columns[part])))
    columns = columns[separator]
    while len(columns) > 1 and not columns[-1]:
        columns.pop()
    return columns, separator


def _fields(line, separator, place):
    """Return the fields of a row."""
    if len(line) == MOST_CHARACTERS:
        raise DataError(f"{place}: more than {MOST_CHARACTERS} characters: download it again")
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error as error:
        raise DataError(f"{place}: {error}: download it again") from error


def parse_emotion(text, place):
    """Parse a label 0 to 6, also written 3.0; place names the line in errors."""
    label = re.fullmatch(r"\s*0*(\d)([.,]0*)?\s*", text, re.ASCII)
    if label is None or int(label[1]) >= len(CLASSES):
        raise DataError(f"{place}, column emotion: {text[:20]!r} is not a code 0 to 6: correct or remove the row")
    return int(label[1])


def parse_pixels(text, place):
    """Parse "70 80 82 ..." (48*48 integers 0 to 255) into (48,48) uint8."""
    place = f"{place}, column pixels"
    try:
        # int64 first: cast to uint8, 300 would become 44 without a word.
        values = np.fromstring(text, np.int64, sep=" ")
    except (ValueError, DeprecationWarning):
        wrong = next((word for word in text.split() if not word.isdecimal()), text)
        raise DataError(f"{place}: {wrong[:20]!r} is not an integer: correct or remove the row") from None
    if len(values) != SIZE * SIZE:
        raise DataError(f"{place}: {len(values)} values instead of {SIZE * SIZE}: correct or remove the row")
    if values.min() < 0 or values.max() > 255:
        wrong = values[(values < 0) | (values > 255)][0]
        raise DataError(f"{place}: the value {wrong} is not in 0 to 255: correct or remove the row")
    return values.astype(np.uint8).reshape(SIZE, SIZE)


def parse_usage(text, place):
    """Parse Training, PublicTest or PrivateTest into the name of a split."""
    split = USAGES.get(text.strip().lower())
    if split is None:
        raise DataError(f"{place}, column Usage: {text[:20]!r} is none of {OFFICIAL}: correct or remove the row")
    return split
