"""The layouts in which people download FER2013, read into the same four arrays.

    a table    emotion, pixels, Usage: one row per picture (see tables)
    pictures   .../<split>/<class>/<any name>.jpg, or .../<class>/<Usage>_<number>.jpg

Both come bare in a folder or packed in an archive. The folder called after a class that is nearest to a picture gives
its label. The split is its name's prefix where this is the table's Usage: the archive that most people have keeps
PublicTest and PrivateTest in one folder called test. Else it is the nearest folder called after a split. A picture of
which either is unknown is an error.

Returned    {"images": (N,48,48) uint8, "labels": (N,) int64, "splits": (N,) str, "names": (N,) str}
"""

import re
from pathlib import PurePosixPath

import numpy as np

from minifer.data.dataset import CLASSES, MOST_ROWS, SIZE
from minifer.data.tables import COLUMNS, OFFICIAL, USAGES, known_columns, read_fer2013
from minifer.errors import DataError
from minifer.files.images import is_image_name, read_member

TABLES = (".csv", ".tsv", ".txt")
MOST_PICTURE_BYTES = 1 << 20  # a 48x48 picture has about 2 KB
MOST_TABLE_BYTES = 1 << 30  # fer2013.csv has 295 MB
# What folders are called, whatever their case, numbers and punctuation: "0_Angry" is angry, "Public Test" is val.
LABELS = {
    "angry": 0, "anger": 0, "disgust": 1, "disgusted": 1, "fear": 2, "fearful": 2, "afraid": 2, "scared": 2,
    "happy": 3, "happiness": 3, "joy": 3, "sad": 4, "sadness": 4, "surprise": 5, "surprised": 5, "neutral": 6,
}  # fmt: skip
SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "public": "val",
    "publictest": "val", "test": "test", "testing": "test", "private": "test", "privatetest": "test",
}  # fmt: skip


class OtherPictures(DataError):
    """These are pictures in folders, of which none is called after a class of FER2013: another data set's."""


class OtherArrays(DataError):
    """This is an .npz that minifer did not write: another data set's."""


def read_source(source):
    """Return the arrays of a Source (see minifer.files.archives): of a table with the columns, or else of its pictures.

    What is in archives in it is read where there is neither.
    """
    alone = len(source.members) == 1
    tables, nearly = [], None
    for name, member in source.members.items():
        if name.lower().endswith(TABLES) or (alone and not is_image_name(name)):
            with member.open(MOST_TABLE_BYTES) as stream:
                columns = known_columns(stream)
            if len(columns) == len(COLUMNS) or (alone and columns):
                tables.append(member)
            nearly = member if columns else nearly
    if len(tables) > 1:
        raise DataError(f"{source.path}: {tables[0].where} and {tables[1].where} may both be it: give one of them")
    if tables:
        with tables[0].open(MOST_TABLE_BYTES) as stream:
            return as_arrays(*read_fer2013(stream, tables[0].where))
    if pictures := source.pictures():
        if len(pictures) > MOST_ROWS:
            raise DataError(f"{source.path}: {len(pictures)} pictures, more than {MOST_ROWS}: is it FER2013?")
        if all(label_of(member) is None for member in pictures):
            raise OtherPictures(
                f"{pictures[0].where}: not in a folder named {', '.join(CLASSES)}, nor is any other picture: FER2013 "
                "is needed here"
            )
        return as_arrays(*read_pictures(pictures))
    with source.inside() as inside:
        if inside.members:
            return read_source(inside)
    if nearly:
        raise DataError(f"{nearly.where}: no columns emotion, pixels, Usage: take fer2013.csv instead")
    for member in source.members.values():
        if member.size > MOST_TABLE_BYTES:
            continue
        with member.open(MOST_TABLE_BYTES) as stream:
            if stream.read(1) == b"\x80":  # as Python's pickles begin, CIFAR's among them
                raise DataError(
                    f"{member.where}: pickled Python, which could run anything and is never read: write its arrays "
                    "X and y with numpy.savez"
                )
    where, held = source.path, f"it holds {next(iter(source.members))}" if source.members else "it is empty"
    if alone:
        (member,) = source.members.values()
        where, held = member.where, "it names no columns emotion, pixels, Usage" if member.size else "it is empty"
    raise DataError(f"{where}: unknown layout, {held}: expected fer2013.csv, or train/<class>/<picture>.jpg")


def read_pictures(members):
    """Return the lists images, labels, splits and names of pictures in folders."""
    from tqdm import tqdm

    images, labels, splits = [], [], []
    for member in tqdm(members, desc="reading pictures", unit=" pictures", disable=None):
        label, split = label_and_split(member)
        images.append(read_member(member, MOST_PICTURE_BYTES, (SIZE, SIZE)))
        labels.append(label)
        splits.append(split)
    return images, labels, splits, [member.name for member in members]


def label_and_split(member):
    """Return the label and the split of a picture: what its folders are called decides, and its name's prefix."""
    label = label_of(member)
    if label is None:
        raise DataError(not_a_class(member))
    split = USAGES.get(PurePosixPath(member.name).name.split("_")[0].lower())
    split = split or next((SPLITS[folder] for folder in folders_above(member) if folder in SPLITS), None)
    if split is None:
        raise DataError(
            f"{member.where}: the name starts with none of {OFFICIAL}, and it is in no folder named train, val or "
            "test: move it into one"
        )
    return label, split


def label_of(member):
    """Return the label of a picture's nearest folder that is called after a class, or None."""
    return next((LABELS[folder] for folder in folders_above(member) if folder in LABELS), None)


def folders_above(member):
    """Return what the folders above a picture are called, the nearest first, without case, numbers and punctuation."""
    return [plain(folder) for folder in reversed(PurePosixPath(member.name).parts[:-1])]


def plain(name):
    """Return the letters of a name: "0_Angry" is angry, "Public Test" is publictest."""
    return re.sub(r"[\W\d_]+", "", name.lower())


def not_a_class(member):
    """Return the line for a picture of which no folder says the class."""
    return (
        f"{member.where}: not in a folder named {', '.join(CLASSES)}: move or remove it, or give --size to read the "
        "pictures as a data set of your own"
    )


def as_arrays(images, labels, splits, names):
    """Stack the lists of all rows into the arrays that every reader returns."""
    return {
        "images": np.stack(images),
        "labels": np.array(labels, np.int64),
        "splits": np.array(splits),
        "names": np.array(names),
    }
