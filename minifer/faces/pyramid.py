"""A picture at many sizes: a window of fixed size then finds faces of every size."""

import numpy as np

from minifer.faces.kernels.resize import bilinear, halve


def octaves(image, smallest):
    """Return the picture and its halves, down to the last whose sides are both at least `smallest`.

    Shapes     image (H,W) uint8 or float32   pictures: list of (H/2^k, W/2^k), the halves float32
    """
    pictures = [np.ascontiguousarray(image)]
    while min(pictures[-1].shape) >= 2 * smallest:
        pictures.append(halve(pictures[-1]))
    return pictures


def resized(pictures, height, width):
    """Return a picture at (height, width), interpolated from the smallest of its octaves that is not smaller.

    Shapes     pictures: from octaves()   picture (height,width) float32
    """
    fitting = [picture for picture in pictures if picture.shape[0] >= height and picture.shape[1] >= width]
    return bilinear(fitting[-1] if fitting else pictures[0], height, width)


def level_sizes(shape, window, largest, scale_step):
    """Return the (height, width) of each level: from `largest` times the picture down to the window's size.

    Each level is smaller than the one before by scale_step.
    """
    sizes, scale = [], largest
    while min(shape) * scale >= window:
        sizes.append((round(shape[0] * scale), round(shape[1] * scale)))
        scale /= scale_step
    return sizes
