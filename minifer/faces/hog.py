"""HOG features of a picture: scikit-image's, from compiled kernels, once per picture instead of once per window."""

import numpy as np

from minifer.errors import ShapeError
from minifer.faces.kernels.hog import hog_blocks, hog_cells

EPS, CLIP = 1e-5, 0.2


def block_features(image, cell):
    """Return the block-normalised histograms of oriented gradients of a picture.

    Equal to skimage.feature.hog(image, 9, (cell, cell), (2, 2), "L2-Hys", feature_vector=False) with its last three
    axes made one. uint8 is computed in float32, which finds the right bin for every gradient of whole numbers; float32
    stays float32, all else becomes float64.

    Shapes     image (H,W)   features (H//cell - 1, W//cell - 1, 36)
    Raises     ShapeError when the picture is not (H,W) or smaller than a block of 2x2 cells
    """
    image = np.asarray(image)
    if image.ndim != 2 or min(image.shape) < 2 * cell:
        raise ShapeError(f"HOG needs a grey picture of at least {2 * cell} x {2 * cell} pixels, got {image.shape}")
    if image.dtype == np.uint8:
        image = image.astype(np.float32)
    elif image.dtype not in (np.float32, np.float64):
        image = image.astype(np.float64)
    return hog_blocks(hog_cells(np.ascontiguousarray(image), cell), EPS, CLIP)
