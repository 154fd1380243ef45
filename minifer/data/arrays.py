"""Pictures and labels in an .npz of one's own: X and y, or x_train, y_train, x_val, y_val, x_test, y_test.

They may also be called images or data, and labels or targets, in small letters or large ones. Labels are whole numbers
or texts; an array called classes names the classes that numbers 0, 1, ... stand for, or orders those of texts.
"""

import numpy as np

from minifer.data.limits import check_several, check_spelling
from minifer.errors import DataError
from minifer.files.images import grey_values

PICTURES, LABELS, NAMES = ("x", "images", "data"), ("y", "labels", "targets"), ("classes",)
SUFFIXES = {"train": ("_train", ""), "val": ("_val", "_valid"), "test": ("_test",)}
LARGEST = np.iinfo(np.int64).max  # of a label


def read_arrays(file):
    """Return ({split: (pictures, labels)}, names of the classes) of an open Npz.

    Shapes     pictures (N,H,W) or (N,H,W,3) uint8   labels (N,) int64
    Raises     DataError where an array is missing, may be another one, or does not fit the others
    """
    names = array_names(file)
    for x, y in names.values():
        check_shapes(file, x, y)
    classes, labels = classes_and_labels(file, {split: read_labels(file, y) for split, (_, y) in names.items()})
    return {split: (read_pictures(file, x), labels[split]) for split, (x, _) in names.items()}, classes


def wrong(file, what, remedy):
    """Raise DataError for something that an Npz holds."""
    raise DataError(f"{file.path}: {what}: {remedy}")


def array_names(file):
    """Return {split: (name of the pictures, name of the labels)}."""
    found = {}
    for split, suffixes in SUFFIXES.items():
        pairs = [[name_of(file, usual, suffix) for usual in (PICTURES, LABELS)] for suffix in suffixes]
        pairs = [pair for pair in pairs if None not in pair]
        if len(pairs) > 1:
            wrong(file, f"{pairs[0][0]} and {pairs[1][0]} may both be the {split} pictures", "leave one of them out")
        if pairs:
            found[split] = pairs[0]
    if "train" not in found:
        held = ", ".join(list(file.headers)[:8]) + ", ..." * (len(file.headers) > 8)
        wrong(file, f"it holds the arrays {held or 'none'}, not X and y or x_train and y_train", "call them so")
    return found


def name_of(file, usual, suffix=""):
    """Return the name of the one array that is called as usual, or None."""
    found = [name for name in file.headers if name.lower() in [each + suffix for each in usual]]
    if len(found) > 1:
        wrong(file, f"{' and '.join(found)} may both be the array that is meant", "leave all but one out")
    return found[0] if found else None


def check_shapes(file, x, y):
    """Raise DataError unless two arrays, of which only the headers are read, are pictures and a label for each."""
    pictures, labels = file.headers[x].shape, file.headers[y].shape
    if len(pictures) != 3 and pictures[3:] not in ((1,), (3,)):
        remedy = f"give {x}.reshape(-1, height, width) of flat rows, {x}.transpose(0, 2, 3, 1) of channels first"
        wrong(file, f"{x} has shape {pictures} instead of (N, H, W) or (N, H, W, 3)", remedy)
    if 0 in pictures:
        wrong(file, f"{x} has shape {pictures}: it holds no picture", f"fill it, or leave {x} and {y} out")
    if labels[1:] not in ((), (1,)) or not labels:
        remedy = f"one label for each picture; of one-hot rows give {y}.argmax(axis=1)"
        wrong(file, f"{y} has shape {labels} instead of (N,)", remedy)
    if pictures[0] != labels[0]:
        wrong(file, f"{pictures[0]} pictures in {x}, {labels[0]} labels in {y}", "give one label for each picture")


def read_labels(file, y):
    """Return the labels (N,) of an array: int64 or texts."""
    labels = file.read(y).reshape(-1)
    if labels.dtype.kind == "U":
        return labels
    if labels.dtype.kind not in "iu":
        whole = (labels == np.rint(labels.astype(float))).all()
        remedy = f"give {y}.astype(int)" if whole else "give the number or the name of each picture's class"
        wrong(file, f"{y} holds {labels.dtype}, and labels are whole numbers or texts", remedy)
    if labels.max() > LARGEST:
        wrong(file, f"{y} holds {labels.max()}", "number the classes from 0")
    return labels.astype(np.int64)


def classes_and_labels(file, labels):
    """Return the names of the classes, and {split: labels (N,) int64} that count in them, of labels as they were read.

    Without an array of classes they are the labels that there are, in their order.
    """
    if len({each.dtype.kind for each in labels.values()}) > 1:
        wrong(file, "labels are numbers in one split and texts in another", "give one kind")
    values, name = np.unique(np.concatenate(list(labels.values()))), name_of(file, NAMES)
    classes = tuple(map(str, values if name is None else read_classes(file, name)))
    check_several(classes, file.path)
    if name is not None and values.dtype.kind == "i":
        if not 0 <= values.min() <= values.max() < len(classes):
            held = f"labels are {values.min()} to {values.max()}, and there are {len(classes)} classes"
            wrong(file, held, f"number the classes from 0, or leave {name} out")
    else:
        place = {text: number for number, text in enumerate(classes)}
        if unknown := [value for value in values if str(value) not in place]:
            wrong(file, f"the label {str(unknown[0])!r} is not in {name}", "add or correct it")
        numbers = np.array([place[str(value)] for value in values])
        labels = {split: numbers[np.searchsorted(values, each)] for split, each in labels.items()}
    check_spelling({split: {classes[label] for label in np.unique(each)} for split, each in labels.items()}, file.path)
    return classes, labels


def read_classes(file, name):
    """Return the names of the classes, or numbers that are taken for names, (K,)."""
    header = file.headers[name]
    if len(header.shape) != 1 or header.dtype.kind not in "iuU" or not header.shape[0]:
        held = f"{name} holds {header.dtype} of shape {header.shape} instead of (K,) names"
        wrong(file, held, "give one for each class")
    return file.read(name)


def read_pictures(file, x):
    """Return pictures (N,H,W) or (N,H,W,3) uint8."""
    images = grey_values(file.read(x), f"{file.path}: {x}")
    return images[..., 0] if images.shape[3:] == (1,) else images
