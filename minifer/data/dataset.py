"""Pictures in memory: what every reader of this folder returns and every other part of minifer takes."""

from dataclasses import dataclass

import numpy as np

from minifer.errors import DataError
from minifer.kernels.augment import augment

# The codes 0 to 6 of fer2013.csv. A folder listing sorts neutral before sad and surprise: never number folders.
CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Grey pictures, their labels, and a name for every row.

    split      "train", "val" or "test" where it is known, so that what is for training only can refuse the others
    frames     where the face lies in each picture (see faces.registration), or None for the pictures as they are
    Shapes     images (N,H,W) uint8   labels (N,) int64, indices into classes   names (N,) str   frames (N,2,3) float64
    Raises     DataError when the arrays do not fit each other
    """

    images: np.ndarray
    labels: np.ndarray
    names: np.ndarray
    classes: tuple = CLASSES
    split: str = ""
    frames: np.ndarray | None = None

    def __post_init__(self):
        if self.images.ndim != 3 or self.images.dtype != np.uint8:
            raise DataError(f"images must be (N, H, W) uint8, got {self.images.shape} {self.images.dtype}")
        if not len(self.images) == len(self.labels) == len(self.names):
            raise DataError(
                f"{len(self.images)} images, {len(self.labels)} labels and {len(self.names)} names: one of each per row"
            )
        if self.frames is not None and self.frames.shape != (len(self.images), 2, 3):
            raise DataError(f"{len(self.images)} images need frames of shape (N, 2, 3), got {self.frames.shape}")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise DataError(f"labels must be 0 to {len(self.classes) - 1}, one for each of {', '.join(self.classes)}")

    def __len__(self):
        return len(self.labels)

    def take(self, indices):
        """Return a Dataset of the rows at indices (integers, a slice or a boolean mask), in that order."""
        frames = None if self.frames is None else self.frames[indices]
        return Dataset(
            self.images[indices], self.labels[indices], self.names[indices], self.classes, self.split, frames
        )

    def counts(self):
        """Return {class name: number of rows}, zeros included."""
        numbers = np.bincount(self.labels, minlength=len(self.classes))
        return {name: int(number) for name, number in zip(self.classes, numbers, strict=True)}


def to_float(images, frames=None, side=None):
    """Return what a network reads: images / 127.5 - 1, with a channel axis, each sampled along its frame if it has one.

    This is THE preprocessing: training, evaluation, prediction and the exported models all assume it. Augmentation
    with everything turned off gives the same numbers bit for bit.

    side       of the squares that are sampled along frames; None keeps the pictures' shape
    Shapes     images (N,H,W) uint8   frames (N,2,3), see faces.registration   returned: (N,H,W,1) float32 in [-1, 1]
    """
    if frames is None:
        return (np.divide(images, np.float32(127.5), dtype=np.float32) - np.float32(1))[..., np.newaxis]
    count, height, width = images.shape
    none, zero = np.zeros((count, 4), np.int64), np.zeros(count, np.float32)
    images, frames = np.ascontiguousarray(images), np.ascontiguousarray(frames)
    return augment(images, side or height, side or width, frames, zero + 1, zero, none, zero)
