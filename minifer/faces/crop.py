"""Cut a face out of a picture for the classifier: the landmarks' region with a margin, on a square, never stretched."""

import numpy as np

from minifer.errors import ShapeError
from minifer.faces.boxes import roll_of_landmarks
from minifer.faces.kernels.resize import affine
from minifer.faces.pyramid import Picture, resized

SIDE = 48  # of FER2013's pictures
MARGIN = 0.12  # of the larger side of the landmarks' region, added all round


def crop_face(image, points, margin=MARGIN, level=False, side=SIDE, colour=False):
    """Return the region of the landmarks with a margin, fitted into a square of `side` pixels.

    The region's aspect ratio is kept: its longer side fills the square, the shorter one is padded with black. What lies
    outside the picture is black too. With level=True the face is first turned until its eyes are level.

    Shapes     image (H,W) uint8   points (L,2) as x, y; (68,2) for level   crop (side,side) uint8; with colour
               (H,W,3) -> (side,side,3)
    """
    if colour:
        return by_channel(image, lambda channel: crop_face(channel, points, margin, level, side))
    picture = Picture.of(image)
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or (level and len(points) != 68) or not np.isfinite(points).all():
        raise ShapeError(f"landmarks are an array of shape (68, 2), got {points.shape}")
    angle = roll_of_landmarks(points) if level else 0.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])  # from crop to picture
    upright = points @ turn
    first, last = upright.min(axis=0), upright.max(axis=0)
    spare = margin * (last - first).max()
    first, last = first - spare, last + spare
    scale = max((last - first).max(), 1e-6) / side
    width, height = np.clip(np.rint((last - first) / scale), 1, side).astype(int)
    return paste(_cut(picture, (first + last) / 2 @ turn.T, turn * scale, height, width), side)


def _cut(picture, centre, turn, height, width):
    """Return (height, width) pixels of a picture round centre (x, y); turn maps steps in the cut to the picture."""
    pictures = picture.octaves(8)
    scale = np.hypot(*turn[:, 0])
    k = min(max(int(np.ceil(np.log2(scale / 1.6))), 0), len(pictures) - 1)
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    matrix = np.column_stack([turn[::-1, ::-1] / 2**k, np.zeros(2)])
    matrix[:, 2] = centre[::-1] / 2**k - 0.5 - matrix[:, :2] @ middle
    cut = affine(pictures[k], matrix, height, width)
    rows, columns = (matrix[:, :2] @ np.mgrid[:height, :width].reshape(2, -1) + matrix[:, 2:]).reshape(2, height, width)
    inside = (np.abs(2 * rows + 1 - pictures[k].shape[0]) <= pictures[k].shape[0]) & (
        np.abs(2 * columns + 1 - pictures[k].shape[1]) <= pictures[k].shape[1]
    )
    return np.rint(np.where(inside, cut, 0)).astype(np.uint8)


def fit_square(image, side=SIDE, colour=False):
    """Return a whole picture fitted into a square of `side` pixels: aspect ratio kept, padded with black.

    Shapes     image (H,W) uint8   square (side,side) uint8; with colour (H,W,3) -> (side,side,3)
    """
    if colour:
        return by_channel(image, lambda channel: fit_square(channel, side))
    picture = Picture.of(image)
    scale = side / max(picture.shape)
    height, width = (max(round(n * scale), 1) for n in picture.shape)
    return paste(np.rint(resized(picture.octaves(8), height, width)).astype(np.uint8), side)


def by_channel(image, cut):
    """Return what a function makes of red, green and blue of a picture (H,W,3), as channels again."""
    return np.stack([cut(np.ascontiguousarray(image[..., channel])) for channel in range(3)], axis=-1)


def paste(image, side):
    """Return a picture of at most side x side in the middle of a black square.

    Shapes     image (H,W) uint8   square (side,side) uint8
    """
    square = np.zeros((side, side), np.uint8)
    top, left = (side - image.shape[0]) // 2, (side - image.shape[1]) // 2
    square[top : top + image.shape[0], left : left + image.shape[1]] = image
    return square
