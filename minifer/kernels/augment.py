"""Augmentation of a batch: every output pixel looks up where it comes from, once.

    (p, q)     = maps[n] @ (i, j, 1), clipped to the picture (so the border is replicated)
    s          = bilinear(images[n], p, q) / 127.5 - 1
    y[n,i,j]   = fill[n] inside boxes[n], else clip(contrast[n] * s + offset[n], -1, 1)

One sampling for flip, shift, rotation and zoom together blurs once instead of four times. The kernels draw no random
numbers: what they are given decides everything, so pictures can be worked on in any order by any number of threads.

Shapes     images (N,H,W) uint8   maps (N,2,3) float64   contrast, offset, fill (N,) float32
           boxes (N,4) int64: rows from boxes[n,0] to below boxes[n,1], columns from boxes[n,2] to below boxes[n,3]
           y (N,H,W,1) float32 in [-1, 1]
Cost       about 20 operations per pixel
"""

import numpy as np
from numba import njit, prange

from minifer.kernels.twin import Twin


def augment_numpy(images, maps, contrast, offset, boxes, fill):
    """Return y (N,H,W,1) float32."""
    count, height, width = images.shape
    n = np.arange(count)[:, None, None]
    i, j = np.arange(height)[None, :, None], np.arange(width)[None, None, :]

    def along(axis, size):
        """Return the two neighbouring pixels along an axis of the source, and the weight of the second."""
        m = maps[:, axis, :, None, None]
        position = np.clip(m[:, 0] * i + m[:, 1] * j + m[:, 2], 0, size - 1)
        before = position.astype(np.int64)
        return before, np.minimum(before + 1, size - 1), (position - before).astype(np.float32)

    up, down, weight_p = along(0, height)
    left, right, weight_q = along(1, width)
    pixels = images.astype(np.float32)
    upper = pixels[n, up, left] + weight_q * (pixels[n, up, right] - pixels[n, up, left])
    lower = pixels[n, down, left] + weight_q * (pixels[n, down, right] - pixels[n, down, left])
    sampled = (upper + weight_p * (lower - upper)) / np.float32(127.5) - np.float32(1)
    y = np.clip(contrast[:, None, None] * sampled + offset[:, None, None], -1, 1)
    top, bottom, start, end = (boxes[:, k, None, None] for k in range(4))
    erased = (top <= i) & (i < bottom) & (start <= j) & (j < end)
    return np.where(erased, fill[:, None, None], y)[..., None]


@njit(parallel=True, cache=True, error_model="numpy")
def augment_numba(images, maps, contrast, offset, boxes, fill):
    """Return y (N,H,W,1) float32: one picture per task."""
    count, height, width = images.shape
    y = np.empty((count, height, width, 1), np.float32)
    for n in prange(count):
        for i in range(height):
            for j in range(width):
                p = min(max(maps[n, 0, 0] * i + maps[n, 0, 1] * j + maps[n, 0, 2], 0.0), height - 1.0)
                q = min(max(maps[n, 1, 0] * i + maps[n, 1, 1] * j + maps[n, 1, 2], 0.0), width - 1.0)
                up, left = int(p), int(q)
                down, right = min(up + 1, height - 1), min(left + 1, width - 1)
                weight_p, weight_q = np.float32(p - up), np.float32(q - left)
                a, b = np.float32(images[n, up, left]), np.float32(images[n, up, right])
                c, d = np.float32(images[n, down, left]), np.float32(images[n, down, right])
                upper, lower = a + weight_q * (b - a), c + weight_q * (d - c)
                sampled = (upper + weight_p * (lower - upper)) / np.float32(127.5) - np.float32(1)
                value = contrast[n] * sampled + offset[n]
                y[n, i, j, 0] = min(max(value, np.float32(-1)), np.float32(1))
        for i in range(boxes[n, 0], boxes[n, 1]):
            for j in range(boxes[n, 2], boxes[n, 3]):
                y[n, i, j, 0] = fill[n]
    return y


augment = Twin(augment_numpy, augment_numba)
