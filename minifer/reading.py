"""What --data means: FER2013, or a data set of one's own, read into Datasets by split.

    pictures in folders    as data.folders says; any class names, any sizes
    arrays                 .npz, as data.arrays says
    anything else          FER2013 as data.fer2013 knows it

Pictures in folders are FER2013 when some folder is called after one of its classes, unless a setting says that they are
one's own: a size, colour, or a share for validation. Where no split is called validation, a share of every class of the
training rows is taken for it, always the same for one seed.
"""

import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from minifer.data import fer2013
from minifer.data.arrays import read_arrays
from minifer.data.dataset import MOST_ROWS, Dataset, picture_side
from minifer.data.ferplus import relabelled
from minifer.data.folders import splits_and_classes
from minifer.data.layouts import OtherArrays, OtherPictures
from minifer.data.limits import check_names, check_side
from minifer.errors import ConfigError, DataError, one_line
from minifer.faces.crop import fit_square
from minifer.files.archives import open_source
from minifer.files.images import luminance, read_member
from minifer.files.npz import Npz

USUAL_SIZE = 48  # of pictures of several sizes, unless another one is asked for
USUAL_SHARE = 0.2  # of the rows that become validation rows, where there are none
LOOKED_AT = 20  # pictures that tell whether all are of one size
MOST_KEPT = 256  # side of pictures that are taken as they are
MOST_PIXELS = 2 << 30  # of all pictures together
VALIDATION = 5  # what is drawn for, see data.batches


@dataclass(frozen=True)
class Reading:
    """How data is read.

    size         of the squares that pictures are fitted into, padded and not stretched; 0 takes them as they are
    colour       red, green and blue instead of grey
    classes      names of the classes to keep, in this order; none keeps all
    merge        texts such as "anger+disgust": classes that become one of that name
    val_share    of the training rows, for validation; 0 takes the validation rows that are there
    seed         of the choice of the rows for validation
    labels       path of FER+'s votes, and what becomes of them (see data.ferplus)
    side         of the squares into which pictures of one's own are fitted that have another size; 0 for those that
                 have several sizes only
    """

    size: int = 0
    colour: bool = False
    classes: tuple = ()
    merge: tuple = ()
    val_share: float = 0.0
    seed: int = 0
    labels: str = ""
    votes: str = "cross-entropy"
    side: int = 0

    @classmethod
    def of(cls, settings, image_shape=None):
        """Return how a TrainConfig reads data; for a network that reads image_shape, in the size that gives squares."""
        height, width, *_ = image_shape or (0, 0)
        side = picture_side(height) if settings.register else height
        same = ("size", "colour", "val_share", "seed", "labels", "votes")
        return cls(
            classes=names(settings.classes),
            merge=names(settings.merge),
            side=side if height == width else 0,
            **{name: getattr(settings, name) for name in same},
        )


def names(text):
    """Return the names in a text, parted by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def load(path, reading=None, needed=()):
    """Return {split: Dataset} of whatever is at a path.

    needed     splits that must be there
    Raises     DataError, one line that names the file, the place in it and the remedy; ConfigError for a Reading that
               does not fit the data
    """
    reading, path = reading or Reading(), Path(path)
    splits, own = read(path, reading)
    if reading.labels:
        splits = relabelled(splits, reading.labels, reading.votes)
    if reading.merge or reading.classes:
        splits = {split: chosen(rows, reading) for split, rows in splits.items()}
    for rows in splits.values():
        check_names(rows.classes, path)
        check_side(*rows.images.shape[1:3], path)
    if own and "train" in splits and (reading.val_share or "val" not in splits):
        splits = with_validation(splits, path, reading)
    for split in needed:
        if split not in splits:
            raise DataError(f"{path}: no split {split!r}: it has {', '.join(splits)}")
    return splits


def load_split(path, split, reading=None):
    """Return the Dataset of one split; DataError says which ones are there when it is not."""
    return load(path, reading, [split])[split]


def read(path, reading):
    """Return ({split: Dataset} as the source parts its rows, whether it is a data set of one's own)."""
    said_own = reading.size or reading.colour or reading.val_share
    if said_own and path.exists():
        with open_source(path) as source:
            if own := own_pictures(source, reading):
                return own, True
    try:
        splits = fer2013.load(path)
    except OtherPictures:
        with open_source(path) as source:
            return own_pictures(source, reading), True
    except OtherArrays:
        with Npz(path, remedy=fer2013.REMEDY) as file:
            return own_arrays(file, reading), True
    if said_own:
        raise ConfigError(
            f"{path} is FER2013, grey pictures of 48x48 with splits of its own: leave size, colour and val_share out"
        )
    return splits, False


# Pictures in folders.


def own_pictures(source, reading):
    """Return {split: Dataset} of the pictures in a Source, or else of those in its archives; None where there are none.

    An archive stands for a folder: cat.zip and dog.zip are two classes.
    """
    if members := source.pictures():
        return read_pictures(members, source.path, reading)
    with source.inside() as inside:
        return own_pictures(inside, reading) if inside.members else None


def read_pictures(members, path, reading):
    """Return {split: Dataset} of Members that are pictures."""
    from tqdm import tqdm

    if len(members) > MOST_ROWS:
        raise DataError(f"{path}: {len(members)} pictures, more than {MOST_ROWS}: give a part of them")
    known = splits_and_classes(members, path)
    classes = tuple(sorted({name for _, name in known}, key=natural))
    shape = (reading.size, reading.size) if reading.size else common_shape(members)
    fitted = bool(reading.size) or shape is None
    if reading.side and shape != (reading.side, reading.side):
        shape, fitted = (reading.side, reading.side), True
    elif shape is None:
        shape = (USUAL_SIZE, USUAL_SIZE)
        notice = f"{path}: pictures of several sizes are fitted into {USUAL_SIZE}x{USUAL_SIZE} (--size)"
        print(one_line(notice), file=sys.stderr)
    if np.prod((len(members), *shape, 3 if reading.colour else 1)) > MOST_PIXELS:
        raise DataError(f"{path}: {len(members)} pictures of {shape[0]}x{shape[1]} take too much memory: lower --size")
    images = np.empty((len(members), *shape, 3) if reading.colour else (len(members), *shape), np.uint8)
    for row, member in enumerate(tqdm(members, desc="reading pictures", unit=" pictures", disable=None)):
        image = read_member(member, shape=None if fitted else shape, colour=reading.colour)
        images[row] = fit_square(image, shape[0], reading.colour) if fitted else image
    labels = np.array([classes.index(name) for _, name in known])
    rows = Dataset(images, labels, np.array([member.name for member in members]), classes)
    found = np.array([split for split, _ in known])
    return {split: replace(rows.take(found == split), split=split) for split in fer2013.SPLITS if split in found}


def common_shape(members):
    """Return the shape (H, W) of the first pictures when it is one, and a small one, else None."""
    shapes = {read_member(member).shape for member in members[:: max(1, len(members) // LOOKED_AT)]}
    shape = shapes.pop()
    return shape if not shapes and max(shape) <= MOST_KEPT else None


def natural(name):
    """Return a key that sorts class 2 before class 10."""
    return [(int(part), "") if part.isdigit() else (-1, part.lower()) for part in re.split(r"(\d+)", name)] + [name]


# Arrays.


def own_arrays(file, reading):
    """Return {split: Dataset} of an open Npz."""
    splits, classes = read_arrays(file)
    read = {split: Dataset(as_read(x, reading), y, None, classes, split) for split, (x, y) in splits.items()}
    sizes = {rows.images.shape[1:3]: split for split, rows in read.items()}
    if len(sizes) > 1:
        held = " and ".join(f"{height} x {width} in {split}" for (height, width), split in sizes.items())
        raise DataError(f"{file.path}: pictures of {held}: give --size, which fits all into squares, or one size")
    return read


def as_read(images, reading):
    """Return pictures (N,H,W) or (N,H,W,3) uint8, in grey or in colour and fitted into squares as a Reading asks."""
    if reading.colour and images.ndim == 3:
        images = np.repeat(images[..., np.newaxis], 3, axis=3)
    elif not reading.colour and images.ndim == 4:
        images = luminance(images)
    side = reading.size or reading.side
    if side and images.shape[1:3] != (side, side):
        images = np.stack([fit_square(image, side, reading.colour) for image in images])
    return images


# Which classes, which split.


def chosen(dataset, reading):
    """Return a Dataset of the classes that a Reading keeps, those that it merges as one."""
    named = list(dataset.classes)
    for group in reading.merge:
        parts = [name.strip() for name in group.split("+")]
        if len(parts) < 2 or len(set(parts)) < len(parts) or not set(parts) <= set(named):
            raise ConfigError(
                f"merge: {group!r} is not two or more of {', '.join(dict.fromkeys(named))} with + between"
            )
        named = [group if name in parts else name for name in named]
    kept = reading.classes or tuple(dict.fromkeys(named))
    if unknown := [name for name in kept if name not in named]:
        raise ConfigError(f"classes: {unknown[0]!r} is none of {', '.join(dict.fromkeys(named))}")
    if len(set(kept)) < max(2, len(kept)):
        raise ConfigError(f"classes: {', '.join(kept)}: keep two or more, each once")
    new = np.array([kept.index(name) if name in kept else -1 for name in named])[dataset.labels]
    rows, labels, soft = dataset.take(new >= 0), new[new >= 0], None
    if dataset.soft is not None:
        soft = rows.soft @ np.array([[name == other for other in kept] for name in named], np.float32)
        soft /= soft.sum(axis=1, keepdims=True)
        labels = soft.argmax(axis=1)  # merged emotions may together have most votes
    return replace(rows, labels=labels, classes=tuple(kept), soft=soft)


def with_validation(splits, path, reading):
    """Return splits of which val is a share of every class of train."""
    if "val" in splits:
        raise ConfigError(f"val_share: {path} has validation rows of its own")
    train, share = splits["train"], reading.val_share or USUAL_SHARE
    taken = np.zeros(len(train), bool)
    for label, name in enumerate(train.classes):
        rows = np.flatnonzero(train.labels == label)
        if len(rows) < 2:
            pictures = "1 training picture" if len(rows) else "no training picture"
            raise DataError(
                f"{path}: class {name!r} has {pictures}, and at least 2 are needed, one of them for validation: add "
                "some, or leave the class out with --classes"
            )
        count = min(max(round(share * len(rows)), 1), len(rows) - 1)
        taken[np.random.default_rng([VALIDATION, reading.seed, label]).permutation(rows)[:count]] = True
    return {**splits, "train": train.take(~taken), "val": replace(train.take(taken), split="val")}
