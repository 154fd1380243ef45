"""A picture at many sizes: a window of fixed size then finds faces of every size."""

import numpy as np

from minifer.faces.kernels.resize import bilinear, halve
from minifer.files.images import check_image


class Picture:
    """A picture that was checked once, and its octaves, made when first asked for and kept.

    Detector, landmarks and crop each take one in place of an array, so that on the way through all of them a picture is
    checked and halved once.

    Shapes     grey (H,W) uint8
    """

    def __init__(self, grey):
        self.grey = np.ascontiguousarray(grey)
        self._octaves = []

    @classmethod
    def of(cls, image):
        """Return the Picture of an array, or of Pillow's (see files.images.check_image); a Picture stays as it is.

        Raises     DataError when image is no picture
        """
        return image if isinstance(image, cls) else cls(check_image(image))

    @property
    def shape(self):
        """(H, W)."""
        return self.grey.shape

    def octaves(self, smallest):
        """Return octaves(self.grey, smallest)."""
        found = self._octaves
        if not found or min(found[-1].shape) >= 2 * smallest:
            self._octaves = found = [*found[:-1], *octaves(found[-1] if found else self.grey, smallest)]
        return [part for k, part in enumerate(found) if k == 0 or min(part.shape) >= smallest]


def octaves(image, smallest):
    """Return the picture and its halves, down to the last whose sides are both at least `smallest`.

    All of one type, so that each kernel that reads them is compiled once.

    Shapes     image (H,W) uint8 or float32   pictures: list of (H/2^k, W/2^k) float32
    """
    pictures = [np.ascontiguousarray(image, np.float32)]
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
