"""Pictures in memory: what every reader of this folder returns and every other part of minifer takes."""

from dataclasses import dataclass

import numpy as np

from minifer.errors import DataError

# The codes 0 to 6 of fer2013.csv. A folder listing sorts neutral before sad and surprise: never number folders.
CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Grey pictures, their labels, and a name for every row.

    split      "train", "val" or "test" where it is known, so that what is for training only can refuse the others
    Shapes     images (N,H,W) uint8   labels (N,) int64, indices into classes   names (N,) str
    Raises     DataError when the arrays do not fit each other
    """

    images: np.ndarray
    labels: np.ndarray
    names: np.ndarray
    classes: tuple = CLASSES
    split: str = ""

    def __post_init__(self):
        if self.images.ndim != 3 or self.images.dtype != np.uint8:
            raise DataError(f"images must be (N, H, W) uint8, got {self.images.shape} {self.images.dtype}")
        if not len(self.images) == len(self.labels) == len(self.names):
            raise DataError(
                f"{len(self.images)} images, {len(self.labels)} labels and {len(self.names)} names: one of each per row"
            )
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise DataError(f"labels must be 0 to {len(self.classes) - 1}, one for each of {', '.join(self.classes)}")

    def __len__(self):
        return len(self.labels)

    def take(self, indices):
        """Return a Dataset of the rows at indices (integers, a slice or a boolean mask), in that order."""
        return Dataset(self.images[indices], self.labels[indices], self.names[indices], self.classes, self.split)

    def counts(self):
        """Return {class name: number of rows}, zeros included."""
        numbers = np.bincount(self.labels, minlength=len(self.classes))
        return {name: int(number) for name, number in zip(self.classes, numbers, strict=True)}


def to_float(images):
    """Return what a network reads: images / 127.5 - 1, with a channel axis.

    This is THE preprocessing: training, evaluation, prediction and the exported models all assume it. Augmentation
    with everything turned off gives the same numbers bit for bit.

    Shapes     images (N,H,W) uint8 -> (N,H,W,1) float32 in [-1, 1]
    """
    return (np.divide(images, np.float32(127.5), dtype=np.float32) - np.float32(1))[..., np.newaxis]
