"""Test-time averaging: a picture is shown as it is and mirrored."""

import numpy as np

from minifer.data.dataset import to_float


def views(images, frames=None):
    """Yield two views of pictures, as the network reads them: as they are, and mirrored left and right.

    Neither is turned or zoomed: such views are softer than what BatchNorm's statistics were measured on.

    Shapes     images (N,H,W) uint8   frames (N,2,3) or None, see to_float   each view (N,H,W,1) float32 in [-1, 1]
    """
    x = to_float(images, frames)
    yield x
    yield np.ascontiguousarray(x[:, :, ::-1])
