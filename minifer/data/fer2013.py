"""FER2013 from whatever was downloaded: load(path) looks at what is there and returns the official splits.

A first read takes some seconds and is kept as one uncompressed file in the user's cache folder (MINIFER_CACHE, else
the system's usual place), so that the next takes a fraction of one.
"""

import hashlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from minifer.data.dataset import CLASSES, Dataset
from minifer.data.layouts import OtherArrays, read_source
from minifer.errors import DataError
from minifer.files import replacing
from minifer.files.archives import file_member, open_source
from minifer.files.cache import cache_folder
from minifer.files.npz import Npz, write_npz

SPLITS = ("train", "val", "test")
# What an .npz of ours holds: N pictures of H x W, K classes.
ARRAYS = {"images": "u1 N H W", "labels": "iu N", "splits": "U N", "names": "U N", "classes": "U K"}
REMEDY = "write it again with minifer prepare, or data of your own with numpy.savez"  # an .npz that is wrong
MOST_NPZ_BYTES = 400 << 20  # while its rows are parted by split there are twice as many; FER2013 has 90 million
CACHE_VERSION = 2  # raise it when the same source is to be read differently


def load(path):
    """Return {split: Dataset} of the splits that are there: train (Training), val (PublicTest), test (PrivateTest).

    path       fer2013.csv or icml_face_data.csv; a folder or an archive that holds one of them, or pictures in
               folders such as train/angry (see data.layouts); or an .npz written by save_npz
    Raises     DataError, one line that names the file, the place in it and the remedy
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder: check the path (FER2013 is its csv, zip or folder)")
    try:
        if is_npz(path):
            return read_npz(path)
        return _load_cached(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def load_split(path, split):
    """Return the Dataset of one split; DataError says which ones are there when it is not."""
    splits = load(path)
    if split not in splits:
        raise DataError(f"{path}: no split {split!r}: it has {', '.join(splits)}")
    return splits[split]


# Our own file: the four arrays and the class names.


def save_npz(path, splits, **extra):
    """Write {split: Dataset} as one .npz; load reads it back and ignores the extra arrays.

    Layout     images (N,H,W) uint8   labels (N,) int64   splits (N,) str   names (N,) str   classes (K,) str
    Raises     DataError when there is no row
    """
    parts = list(splits.values())
    if not sum(map(len, parts)):
        raise DataError(f"{path}: there are no rows to write")
    arrays = {
        "images": np.concatenate([part.images for part in parts]),
        "labels": np.concatenate([part.labels for part in parts]),
        "names": np.concatenate([part.names for part in parts]),
        "splits": np.repeat(list(splits), [len(part) for part in parts]),
        "classes": np.array(parts[0].classes),
    }
    with replacing(path) as file:
        write_npz(file, {**arrays, **extra})


def is_npz(path):
    """Whether a file is a zip of .npy members."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        if file.read(2) != b"PK":
            return False
    with suppress(DataError), open_source(path) as source:
        return any(name.endswith(".npy") for name in source.members)
    return False


def read_npz(path):
    """Read what save_npz wrote. Labels follow the class names, whatever order the file lists them in."""
    with Npz(path, DataError, REMEDY, MOST_NPZ_BYTES) as file:
        if missing := [name for name in ARRAYS if name not in file.headers]:
            raise OtherArrays(
                f"{path}: no array {missing[0]} is in it, so it is not of minifer prepare: FER2013 is needed here, its "
                "csv, zip or folder"
            )
        arrays = file.arrays(ARRAYS)
        if not arrays["images"].size:
            file.refuse("it holds no pictures")
    classes, labels = arrays["classes"].tolist(), arrays["labels"]
    if unknown := sorted(set(classes) - set(CLASSES)):
        raise DataError(f"{path}: unknown class {unknown[0]!r}: expected {', '.join(CLASSES)}")
    if labels.dtype.kind not in "iu" or not np.isin(labels, np.arange(len(classes))).all():
        raise DataError(f"{path}: labels must be integers 0 to {len(classes) - 1}: write it again")
    if unknown := sorted(set(arrays["splits"].tolist()) - set(SPLITS)):
        raise DataError(f"{path}: unknown split {unknown[0]!r}: expected {', '.join(SPLITS)}")
    arrays["labels"] = np.array([CLASSES.index(name) for name in classes], np.int64)[labels]
    try:
        return by_split(arrays)
    except (DataError, IndexError) as error:
        raise DataError(f"{path}: {error}") from error


def by_split(arrays):
    """Part the arrays of all rows into {split: Dataset}."""
    rows = Dataset(arrays["images"], arrays["labels"], arrays["names"])
    masks = {split: arrays["splits"] == split for split in SPLITS}
    return {split: replace(rows.take(mask), split=split) for split, mask in masks.items() if mask.any()}


# Everything else is read once and then found in the cache.


def _load_cached(path):
    fingerprint = _fingerprint(path)
    cached = cache_folder() / f"fer2013-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}.npz"
    # A cache that is stale, damaged or not there is no reason to stop: read the source again.
    with suppress(DataError, OSError):
        with Npz(cached) as file:
            fresh = file.arrays({"fingerprint": "U"})["fingerprint"] == fingerprint
        if fresh:
            return read_npz(cached)
    with open_source(path) as source:
        splits = by_split(read_source(source))
    with suppress(OSError):
        cached.parent.mkdir(parents=True, exist_ok=True)
        save_npz(cached, splits, fingerprint=np.array(fingerprint))
    return splits


def _fingerprint(path):
    """Return a hash that changes when the source does: of its files' names, sizes and stamps (see file_member)."""
    members = [file_member(path.name, path)]
    if path.is_dir():
        with open_source(path) as source:
            members = source.members.values()
    files = [(member.name, member.size, member.stamp) for member in members]
    return hashlib.sha256(repr((CACHE_VERSION, files)).encode("utf-8", "backslashreplace")).hexdigest()
