"""Test-time averaging: a picture is shown several times, mirrored and a little larger and smaller."""

import itertools

import numpy as np

from minifer.data.augment import Augmentation, affine_maps
from minifer.kernels.augment import augment

ZOOM = 0.07  # each picture is shown as it is, smaller by this share, and larger by it


def views(images):
    """Yield the six views of pictures, as the network reads them: as they are or mirrored, in three sizes.

    The first is the picture itself.

    Shapes     images (N,H,W) uint8   each view (N,H,W,1) float32 in [-1, 1]
    """
    count, height, width = images.shape
    images, zeros = np.ascontiguousarray(images), np.zeros(count, np.float32)
    for size, mirrored in itertools.product((0.5, 0.0, 1.0), (False, True)):
        # What would be drawn at random for training, chosen: 0.5 is the middle of a range, so no change.
        draws = np.tile([0.0 if mirrored else 1.0, 0.5, 0.5, 0.5, size], (count, 1))
        maps = affine_maps(draws, height, width, Augmentation(flip=True, zoom=ZOOM))
        yield augment(images, maps, zeros + 1, zeros, np.zeros((count, 4), np.int64), zeros)
