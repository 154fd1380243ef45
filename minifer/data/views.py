"""Test-time averaging: a picture is shown as it is and mirrored."""

from minifer.data.dataset import to_float


def views(images):
    """Yield two views of pictures, as the network reads them: as they are, and mirrored left and right.

    Neither is interpolated: turned and zoomed views are softer than what BatchNorm's statistics were measured on.

    Shapes     images (N,H,W) uint8   each view (N,H,W,1) float32 in [-1, 1]
    """
    yield to_float(images)
    yield to_float(images[:, :, ::-1])
