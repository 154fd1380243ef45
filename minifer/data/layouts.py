"""The layouts in which people download FER2013, read into the same four arrays.

    csv        emotion, pixels, Usage: one row per picture (fer2013.csv, icml_face_data.csv)
    pictures   .../<class>/<prefix>_<number>.jpg, where the prefix is the csv's Usage

Both come bare in a folder or packed in a zip. The csv's Usage or the file name's prefix decides the split, the class's
name decides the label. Nothing is guessed and nothing is repaired: a row that is not right is an error that says where.

Returned    {"images": (N,48,48) uint8, "labels": (N,) int64, "splits": (N,) str, "names": (N,) str}
"""

import csv
import io
import warnings
from pathlib import PurePosixPath

import numpy as np

from minifer.data.dataset import CLASSES
from minifer.errors import DataError

SIZE = 48
USAGES = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
PICTURES = (".jpg", ".jpeg", ".png")
MOST_PICTURE_BYTES = 1 << 20  # a 48x48 picture has about 2 KB
MOST_CSV_BYTES = 1 << 30  # fer2013.csv has 295 MB


def read_source(source):
    """Return the arrays of a Source (see minifer.files.archives): of its csv if one has the columns, else its pictures.

    What is in archives in it is read where there is neither.
    """
    tables = [member for name, member in source.members.items() if name.lower().endswith(".csv")]
    pictures = [member for name, member in source.members.items() if name.lower().endswith(PICTURES)]
    for member in tables:
        with member.open(MOST_CSV_BYTES) as file:
            header = file.readline(1000).decode("utf-8", "replace")
        if not missing_columns(header.split(",")):
            with member.open(MOST_CSV_BYTES) as file:
                return read_csv(file, member.where)
    if pictures:
        return read_pictures(pictures)
    inside = source.inside()
    if inside.members:
        with inside:
            return read_source(inside)
    if tables:
        raise DataError(f"{tables[0].where}: no columns emotion, pixels, Usage: take fer2013.csv instead")
    held = f"holds {next(iter(source.members))}" if source.members else "is empty"
    raise DataError(f"{source.path}: unknown layout, it {held}: expected fer2013.csv, or <class>/Training_<number>.jpg")


def missing_columns(header):
    """Return which of the three columns a csv's header lacks; blanks around names and case do not count."""
    return [name for name in ("emotion", "pixels", "usage") if name not in header_names(header)]


def header_names(header):
    """Return the plain column names of a header such as [emotion, ' Usage', ' pixels']."""
    return [name.strip(' \t\r\n"\ufeff').lower() for name in header]


def read_csv(file, where):
    """Read a csv from a file of bytes; where names it in errors."""
    from tqdm import tqdm

    reader = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline=""))
    header = next(reader, [])
    if missing := missing_columns(header):
        raise DataError(f"{where}: no column {missing[0]!r}: expected emotion, pixels, Usage (splits are not invented)")
    columns = header_names(header)
    emotion, pixels, usage = (columns.index(name) for name in ("emotion", "pixels", "usage"))
    images, labels, splits = [], [], []
    try:
        # np.fromstring tells of text among the numbers by this warning, and only so.
        with warnings.catch_warnings(), tqdm(desc="reading csv", unit=" rows", disable=None) as bar:
            warnings.simplefilter("error", DeprecationWarning)
            for row in reader:
                line = f"{where}, line {reader.line_num}"
                if len(row) != len(header):
                    raise DataError(f"{line}: {len(row)} columns, the header has {len(header)}: download it again")
                labels.append(parse_emotion(row[emotion], line))
                images.append(parse_pixels(row[pixels], line))
                splits.append(parse_usage(row[usage], line))
                bar.update()
    except csv.Error as error:
        raise DataError(f"{where}, line {reader.line_num}: {error}: download it again") from error
    if not images:
        raise DataError(f"{where}: a header and no rows: download it again")
    # FER+ joins its labels to the csv by row order under exactly these names.
    names = [f"fer{number:07d}.png" for number in range(len(images))]
    return as_arrays(images, labels, splits, names)


def parse_emotion(text, line):
    """Parse a label 0 to 6; line names the place in errors."""
    try:
        label = int(text)
    except ValueError:
        label = -1
    if not 0 <= label < len(CLASSES):
        raise DataError(f"{line}, column emotion: {text[:20]!r} is not a code 0 to 6: correct or remove the row")
    return label


def parse_pixels(text, line):
    """Parse "70 80 82 ..." (48*48 integers 0 to 255) into (48,48) uint8."""
    line = f"{line}, column pixels"
    try:
        # int64 first: cast to uint8, 300 would become 44 without a word.
        values = np.fromstring(text, np.int64, sep=" ")
    except (ValueError, DeprecationWarning):
        wrong = next((word for word in text.split() if not word.isdecimal()), text)
        raise DataError(f"{line}: {wrong[:20]!r} is not an integer: correct or remove the row") from None
    if len(values) != SIZE * SIZE:
        raise DataError(f"{line}: {len(values)} values instead of {SIZE * SIZE}: correct or remove the row")
    if values.min() < 0 or values.max() > 255:
        wrong = values[(values < 0) | (values > 255)][0]
        raise DataError(f"{line}: the value {wrong} is not in 0 to 255: correct or remove the row")
    return values.astype(np.uint8).reshape(SIZE, SIZE)


def parse_usage(text, line):
    """Parse Training, PublicTest or PrivateTest into the name of a split."""
    if text.strip() not in USAGES:
        known = ", ".join(USAGES)
        raise DataError(f"{line}, column Usage: {text[:20]!r} is none of {known}: correct or remove the row")
    return USAGES[text.strip()]


def read_pictures(members):
    """Read pictures: the folder's name gives the label, the file name's prefix the split."""
    from tqdm import tqdm

    images, labels, splits = [], [], []
    for member in tqdm(members, desc="reading pictures", unit=" pictures", disable=None):
        where, path = member.where, PurePosixPath(member.name)
        folder, prefix = path.parent.name.lower(), path.name.split("_")[0]
        if folder not in CLASSES:
            raise DataError(f"{where}: not in a folder named {', '.join(CLASSES)}: move or remove it")
        if prefix not in USAGES:
            raise DataError(f"{where}: the name starts with none of {', '.join(USAGES)}: use the official file names")
        images.append(decode(member.read(MOST_PICTURE_BYTES), where))
        labels.append(CLASSES.index(folder))
        splits.append(USAGES[prefix])
    return as_arrays(images, labels, splits, [member.name for member in members])


def decode(data, where):
    """Decode a 48x48 JPEG or PNG into (48,48) uint8 grey values."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as picture:
            # Opening reads the header only, so a decompression bomb is turned away before it is unpacked.
            if picture.size != (SIZE, SIZE):
                width, height = picture.size
                raise DataError(f"{where}: {width}x{height} pixels instead of {SIZE}x{SIZE}: remove or replace it")
            return np.asarray(picture.convert("L"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{where}: no readable JPEG or PNG picture: remove or replace it") from error


def as_arrays(images, labels, splits, names):
    """Stack the lists of all rows into the arrays that every reader returns."""
    return {
        "images": np.stack(images),
        "labels": np.array(labels, np.int64),
        "splits": np.array(splits),
        "names": np.array(names),
    }
