"""Orientation histograms round the points of a shape, and the linear step they feed.

    gradient     magnitude and orientation (0 to 8, in steps of 20 degrees, sign ignored) of every pixel of a patch
    descriptor   cells x cells cells of `cell` pixels (an even number), centred on a point; in each, a histogram of
                 the orientations of every second pixel in every second row, weighted by magnitude
                 d /= |d|;  d = min(d, clip);  d /= |d|
    step         shape += (descriptors of all points @ weight) @ basis + bias

This is HOG (kernels/hog.py) with the cells placed by the shape instead of by a grid.

Source     Xiong & De la Torre, "Supervised descent method and its applications to face alignment", CVPR 2013.
"""

import numba
import numpy as np

from minifer.kernels.twin import Twin

_FLAGS = {"cache": True, "error_model": "numpy", "nogil": True}


def patch_gradients_numpy(patches):
    """Return magnitude and orientation of the gradient at every pixel; 0 on the border.

    Shapes     patches (N,H,W) uint8   magnitude (N,H,W) float32   orientation (N,H,W) uint8, 0 to 8
    """
    values = patches.astype(np.float64)
    gx, gy = np.zeros_like(values), np.zeros_like(values)
    gx[:, 1:-1, 1:-1] = values[:, 1:-1, 2:] - values[:, 1:-1, :-2]
    gy[:, 1:-1, 1:-1] = values[:, 2:, 1:-1] - values[:, :-2, 1:-1]
    angle = np.rad2deg(np.arctan2(gy, gx)) % 180
    return np.hypot(gx, gy).astype(np.float32), np.minimum(angle // 20, 8).astype(np.uint8)


def point_descriptors_numpy(magnitude, orientation, shapes, cell, cells, clip):
    """Return the descriptors of all points of each shape, one row a shape. Places outside a patch have no gradient.

    Shapes     magnitude orientation (N,H,W)   shapes (N,L,2) as x, y   descriptors (N, L * cells * cells * 9) float32
    Cost       N*L * (cell * cells)^2 / 4 additions
    """
    side = cell * cells
    place = np.arange(0, side, 2)
    count, height, width = magnitude.shape
    rows = []
    for n in range(count):
        for x, y in shapes[n]:
            i, j = (np.int64(np.floor(centre - side / 2 + 0.5)) + place for centre in (y, x))
            i_inside, j_inside = (i >= 0) & (i < height), (j >= 0) & (j < width)
            here = np.ix_(i[i_inside], j[j_inside])
            index = ((place // cell)[i_inside, None] * cells + (place // cell)[j_inside]) * 9 + orientation[n][here]
            d = np.bincount(index.ravel(), magnitude[n][here].ravel(), 9 * cells * cells)
            d = np.minimum(d / np.sqrt((d**2).sum() + 1e-3), clip)
            rows.append(d / np.sqrt((d**2).sum() + 1e-6))
    return np.array(rows, np.float32).reshape(count, -1)


def linear_step_numpy(descriptors, weight):
    """Return descriptors @ weight, the weight in small integers.

    Shapes     descriptors (N,D) float32   weight (D,K) int8   sums (N,K) float32
    Cost       N*D*K multiply-adds
    """
    return descriptors @ weight.astype(np.float32)


@numba.njit(**_FLAGS)
def patch_gradients_numba(patches):
    """As patch_gradients_numpy; the orientation is counted as in kernels/hog.py."""
    count, height, width = patches.shape
    magnitude = np.zeros((count, height, width), np.float32)
    orientation = np.zeros((count, height, width), np.uint8)
    angles = np.arange(1, 9) * (np.pi / 9)
    cosine, sine = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    values = np.empty((3, width), np.float32)
    for n in range(count):
        for i in range(1, height - 1):
            for u in range(3):
                for j in range(width):
                    values[u, j] = patches[n, i - 1 + u, j]
            up, row, down = values[0], values[1], values[2]
            for j in range(1, width - 1):
                gy, gx = down[j] - up[j], row[j + 1] - row[j - 1]
                magnitude[n, i, j] = np.sqrt(gx * gx + gy * gy)
                sign = np.float32(-1 if gy < 0 or (gy == 0 and gx < 0) else 1)
                gy, gx = sign * gy, sign * gx
                o = np.int32(0)
                for k in range(8):
                    o += np.int32(gy * cosine[k] >= gx * sine[k])
                orientation[n, i, j] = o
    return magnitude, orientation


@numba.njit(**_FLAGS)
def point_descriptors_numba(magnitude, orientation, shapes, cell, cells, clip):
    """As point_descriptors_numpy."""
    count, height, width = magnitude.shape
    depth, side = 9 * cells * cells, cell * cells
    descriptors = np.zeros((count, shapes.shape[1] * depth), np.float32)
    for n in range(count):
        for p in range(shapes.shape[1]):
            d = descriptors[n, p * depth : (p + 1) * depth]
            top = int(np.floor(shapes[n, p, 1] - side / 2 + 0.5))
            left = int(np.floor(shapes[n, p, 0] - side / 2 + 0.5))
            for u in range(cells):
                for i in range(max(top + u * cell, (top + u * cell) & 1), min(top + (u + 1) * cell, height), 2):
                    strengths, bins = magnitude[n, i], orientation[n, i]
                    for v in range(cells):
                        histogram = d[(u * cells + v) * 9 : (u * cells + v + 1) * 9]
                        start = left + v * cell
                        for j in range(max(start, start & 1), min(start + cell, width), 2):
                            histogram[bins[j]] += strengths[j]
            square = np.float32(1e-3)
            for c in range(depth):
                square += d[c] * d[c]
            scale = np.float32(1) / np.sqrt(square)
            square = np.float32(1e-6)
            for c in range(depth):
                d[c] = min(d[c] * scale, np.float32(clip))
                square += d[c] * d[c]
            scale = np.float32(1) / np.sqrt(square)
            for c in range(depth):
                d[c] *= scale
    return descriptors


@numba.njit(**_FLAGS)
def linear_step_numba(descriptors, weight):
    """As linear_step_numpy; the sums of one row stay in registers and cache while the weights pass by."""
    sums = np.zeros((descriptors.shape[0], weight.shape[1]), np.float32)
    for n in range(descriptors.shape[0]):
        row = sums[n]
        for d in range(0, weight.shape[0] - 2, 3):
            x0, x1, x2 = descriptors[n, d], descriptors[n, d + 1], descriptors[n, d + 2]
            w0, w1, w2 = weight[d], weight[d + 1], weight[d + 2]
            for k in range(weight.shape[1]):
                row[k] += (x0 * np.float32(w0[k]) + x1 * np.float32(w1[k])) + x2 * np.float32(w2[k])
        for d in range(weight.shape[0] // 3 * 3, weight.shape[0]):
            for k in range(weight.shape[1]):
                row[k] += descriptors[n, d] * np.float32(weight[d, k])
    return sums


patch_gradients = Twin(patch_gradients_numpy, patch_gradients_numba)
point_descriptors = Twin(point_descriptors_numpy, point_descriptors_numba)
linear_step = Twin(linear_step_numpy, linear_step_numba)
