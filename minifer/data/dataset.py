"""Pictures in memory: what every reader of this folder returns and every other part of minifer takes."""

import hashlib
from dataclasses import dataclass

import numpy as np

from minifer.errors import DataError, ShapeError
from minifer.files.images import grey_values, luminance
from minifer.kernels.augment import augment

# The codes 0 to 6 of fer2013.csv. A folder listing sorts neutral before sad and surprise: never number folders.
CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
SIZE = 48  # of FER2013's pictures, both ways
MOST_ROWS = 100_000  # that are read; FER2013 has 35,887, and while they are parted by split there are three of each


@dataclass(frozen=True, eq=False)
class Dataset:
    """Pictures, their labels, and a name for every row; there may be no row.

    split      "train", "val" or "test" where it is known, so that what is for training only can refuse the others
    frames     where the face lies in each picture (see faces.registration), or None for the pictures as they are
    soft       what training aims at in place of the labels, a probability for each class; None for the labels
    names      None: the numbers of the rows
    Shapes     images (N,H,W) uint8, in colour (N,H,W,3)   labels (N,) int64, indices into classes   names (N,) str
               frames (N,2,3) float64, of grey pictures   soft (N,K) float32
    Raises     DataError when the arrays do not fit each other
    """

    images: np.ndarray
    labels: np.ndarray
    names: np.ndarray | None = None
    classes: tuple = CLASSES
    split: str = ""
    frames: np.ndarray | None = None
    soft: np.ndarray | None = None

    def __post_init__(self):
        images, labels = map(np.asarray, (self.images, self.labels))
        names = np.asarray(np.arange(len(labels)).astype(str) if self.names is None else self.names)
        known = images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)
        if not known or images.dtype != np.uint8 or not all(images.shape[1:]):
            raise DataError(f"images must be (N, H, W) or (N, H, W, 3) uint8, got {images.shape} {images.dtype}")
        if not images.shape[:1] == labels.shape == names.shape:
            raise DataError(
                f"{len(images)} images, {labels.size} labels and {names.size} names: one of each per row, (N,)"
            )
        if self.frames is not None and (self.frames.shape != (len(images), 2, 3) or images.ndim != 3):
            raise DataError(f"{len(images)} images need frames of shape (N, 2, 3), got {self.frames.shape}")
        labels = labels if len(labels) else labels.astype(np.int64)  # NumPy's empty arrays are floats
        if labels.dtype.kind not in "iu" or (len(labels) and not 0 <= labels.min() <= labels.max() < len(self.classes)):
            raise DataError(f"labels must be 0 to {len(self.classes) - 1}, one for each of {', '.join(self.classes)}")

        if self.soft is not None and self.soft.shape != (len(images), len(self.classes)):
            raise DataError(
                f"soft labels of shape {self.soft.shape} for {len(images)} images, {len(self.classes)} classes"
            )

        for name, values in (("images", images), ("labels", labels.astype(np.int64, copy=False)), ("names", names)):
            object.__setattr__(self, name, values)  # the way of a frozen dataclass

    def __len__(self):
        return len(self.labels)

    @property
    def input_shape(self):
        """What a network reads of one picture: (H,W,C)."""
        if self.frames is None:
            return (*self.images.shape[1:], 1)[:3]
        side = face_side(self.images.shape[1])
        return side, side, 1

    @property
    def grey(self):
        """The pictures as grey values (N,H,W) uint8."""
        return self.images if self.images.ndim == 3 else luminance(self.images)

    def take(self, indices):
        """Return a Dataset of the rows at indices (integers, a slice or a boolean mask), in that order."""
        if not isinstance(indices, slice) and not np.size(indices):
            indices = slice(0)  # NumPy's empty arrays are floats, which are no indices
        frames, soft = (None if rows is None else rows[indices] for rows in (self.frames, self.soft))
        rows = self.images[indices], self.labels[indices], self.names[indices]
        return Dataset(*rows, self.classes, self.split, frames, soft)

    def stamp(self):
        """Return a hash of pictures and labels in their order: another one when anything is corrected."""
        found = hashlib.sha256(f"{self.images.shape} {self.classes}".encode())
        found.update(np.ascontiguousarray(self.images))
        found.update(np.ascontiguousarray(self.labels))
        if self.soft is not None:
            found.update(np.ascontiguousarray(self.soft))
        return found.hexdigest()[:16]

    def counts(self):
        """Return {class name: number of rows}, zeros included."""
        numbers = np.bincount(self.labels, minlength=len(self.classes))
        return {name: int(number) for name, number in zip(self.classes, numbers, strict=True)}


def check_images(images):
    """Return what a caller passed to a network as pictures: (N,H,W) uint8, or as a network reads them.

    Shapes     (N,H,W) or (N,H,W,1), any numbers that tell what is white (see files.images) -> (N,H,W) uint8;
               (N,H,W,3) likewise -> (N,H,W,3) uint8; (N,H,W,C) floats are taken for what to_float returns and stay
    Raises     ShapeError, or DataError when what is white is in doubt; floats of more than 2 are not from -1 to 1
    """
    images = np.asarray(images)
    if images.ndim not in (3, 4) or images.shape[3:] not in ((), (1,), (3,)):
        raise ShapeError(f"pictures are an array of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3), got {images.shape}")
    if images.ndim == 4 and images.dtype.kind == "f":
        if not np.abs(images).max(initial=0) <= 2:  # a sampled picture may reach beyond 1 a little
            raise DataError("a network reads numbers from -1 to 1: give (N, H, W) uint8, or to_float of it")
        return images
    shape = images.shape[:3] if images.shape[3:] == (1,) else images.shape
    return grey_values(images.reshape(shape), "the pictures")


def face_side(side):
    """Return the side of the square that is sampled along the frame of a picture of this side: five sixths of it.

    As fine as the picture, without the rim beyond brows, cheeks and chin.
    """
    return max(side * 5 // 6, 1)


def picture_side(side):
    """Return the smallest side of a picture whose face_side is this one."""
    return -(-side * 6 // 5)


def to_float(images, frames=None, side=None):
    """Return what a network reads: images / 127.5 - 1, with a channel axis, each sampled along its frame if it has one.

    This is THE preprocessing: training, evaluation, prediction and the exported models all assume it. Augmentation
    with everything turned off gives the same numbers bit for bit.

    side       of the squares that are sampled along frames; None is face_side of the pictures' own
    Shapes     images (N,H,W) uint8 -> (N,H,W,1) float32 in [-1, 1], with frames (N,2,3) -> (N,side,side,1), see
               faces.registration; images (N,H,W,3) uint8 -> (N,H,W,3); floats (N,H,W,C) are what it has returned
               already, and stay
    """
    if images.ndim == 4 and images.dtype != np.uint8:
        return images
    if frames is None:
        scaled = np.divide(images, np.float32(127.5), dtype=np.float32) - np.float32(1)
        return scaled if images.ndim == 4 else scaled[..., np.newaxis]
    count, side = len(images), side or face_side(images.shape[1])
    none, zero = np.zeros((count, 4), np.int64), np.zeros(count, np.float32)
    images, frames = np.ascontiguousarray(images), np.ascontiguousarray(frames)
    return augment(images, side, side, frames, zero + 1, zero, none, zero)
