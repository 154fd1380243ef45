"""Batches: a data set in the order and the form in which a network reads it."""

import numpy as np

from minifer.data.augment import augment_batch, mixup_weights
from minifer.data.dataset import to_float
from minifer.errors import ConfigError

# The first word of a generator's seed keeps what is drawn for one purpose apart from what is drawn for another.
ORDER, PARTNERS, SAMPLE = 1, 2, 3


class Batches:
    """The steps of every epoch over a Dataset, each (x, targets).

    Order and augmentation are functions of (seed, epoch, step): nothing has to be saved in order to resume.

    augmentation   an Augmentation, or None for the plain pictures
    targets        (N,K) float32 soft labels of all rows, in place of the data set's labels
    mixup          alpha of Beta(alpha, alpha): each picture is mixed with another one of the data set, and so are
                   their targets (Zhang et al., mixup, 2017). 0 mixes nothing
    Shapes         x (n,H,W,1) float32 in [-1, 1]; targets (n,) int64 labels, or (n,K) float32 soft labels
    Raises         ConfigError when batch_size is below 1, seed is negative or the data set is empty
    """

    def __init__(self, dataset, batch_size=32, seed=0, shuffle=True, augmentation=None, targets=None, mixup=0.0):
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}, choose 1 or more")
        if seed < 0:
            raise ConfigError(f"seed is {seed}, choose 0 or more")
        if not len(dataset):
            raise ConfigError("the data set has no rows, so there is no batch to make")
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.shuffle, self.augmentation, self.mixup = shuffle, augmentation, mixup
        self.targets = dataset.labels if targets is None else targets
        self._partners_of = self._partners = None

    def __len__(self):
        """Steps per epoch; the last one is short when the batch size does not divide the rows."""
        return (len(self.dataset) + self.batch_size - 1) // self.batch_size

    def order(self, number):
        """Return the rows in the order of epoch number, (N,) int64."""
        rows = np.arange(len(self.dataset))
        return np.random.default_rng([ORDER, self.seed, number]).permutation(rows) if self.shuffle else rows

    def epoch(self, number, start=0):
        """Yield (x, targets) of epoch number from step start on, as an epoch run from step 0 would."""
        for rows in self.steps(number, start):
            yield self.read(rows, number)

    def steps(self, number, start=0):
        """Yield the rows of each step of epoch number from step start on."""
        order = self.order(number)
        for step in range(start, len(self)):
            yield order[step * self.batch_size : (step + 1) * self.batch_size]

    def partners(self, number):
        """Return (N,) int64: the row that each row is mixed with in epoch number. Each row is the partner of one."""
        if self._partners_of != number:
            self._partners_of = number
            self._partners = np.random.default_rng([PARTNERS, self.seed, number]).permutation(len(self.dataset))
        return self._partners

    def read(self, rows, number):
        """Return (x, targets) of some rows as epoch number shows them, which does not depend on what else is read."""
        if not self.mixup:
            return self._read_unmixed(rows, number)
        (x, targets), (y, others) = (self._read_unmixed(r, number) for r in (rows, self.partners(number)[rows]))
        if targets.ndim == 1:
            one_hot = np.eye(len(self.dataset.classes), dtype=np.float32)
            targets, others = one_hot[targets], one_hot[others]
        weight = mixup_weights(self.seed, number, rows, self.mixup)[:, None]
        return _between(x, y, weight[:, :, None, None]), _between(targets, others, weight)

    def _read_unmixed(self, rows, number):
        chosen, targets = self.dataset.take(rows), self.targets[rows]
        if self.augmentation is None:
            return to_float(chosen.images, chosen.frames), targets
        return augment_batch(chosen.images, rows, self.seed, number, self.augmentation, chosen.frames), targets


def _between(a, b, weight):
    """Return (1 - weight) * a + weight * b."""
    return a + weight * (b - a)
