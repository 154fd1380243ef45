"""Orientation histograms round the points of a shape, and the linear step they feed.

    descriptor   cells x cells cells of `cell` pixels, centred on a point; in each, a histogram of 9 gradient orientations;
                 d /= |d|;  d = min(d, clip);  d /= |d|
    step         shape += descriptors of all points @ weight * unit + bias

This is HOG (kernels/hog.py) with the cells placed by the shape instead of by a grid.

Source     Xiong & De la Torre, "Supervised descent method and its applications to face alignment", CVPR 2013.
"""

import numba
import numpy as np

from minifer.kernels.twin import Twin

_FLAGS = {"cache": True, "error_model": "numpy", "nogil": True}


def point_descriptors_numpy(patches, shapes, cell, cells, clip):
    """Return the descriptors of all points of each shape, one row a shape.

    Shapes     patches (N,H,W) uint8   shapes (N,L,2) as x, y   descriptors (N, L * cells * cells * 9) float32
    Cost       N * (30 H W  +  L * (cell * cells)^2) operations
    """
    side = cell * cells
    rows = []
    for patch, shape in zip(patches.astype(np.float64), shapes, strict=True):
        padded = np.pad(patch, 1, mode="edge")
        gy, gx = padded[2:, 1:-1] - padded[:-2, 1:-1], padded[1:-1, 2:] - padded[1:-1, :-2]
        magnitude = np.hypot(gx, gy)
        orientation = np.minimum(np.rad2deg(np.arctan2(gy, gx)) % 180 // 20, 8).astype(np.int64)
        for x, y in shape:
            i = np.clip(np.floor(y - side / 2 + 0.5) + np.arange(side), 0, patch.shape[0] - 1).astype(np.int64)
            j = np.clip(np.floor(x - side / 2 + 0.5) + np.arange(side), 0, patch.shape[1] - 1).astype(np.int64)
            place = np.arange(side) // cell
            index = (place[:, None] * cells + place) * 9 + orientation[np.ix_(i, j)]
            d = np.bincount(index.ravel(), magnitude[np.ix_(i, j)].ravel(), 9 * cells * cells)
            d = np.minimum(d / np.sqrt((d**2).sum() + 1e-3), clip)
            rows.append(d / np.sqrt((d**2).sum() + 1e-6))
    return np.array(rows, np.float32).reshape(len(patches), -1)


def linear_step_numpy(descriptors, weight, unit, bias):
    """Return how far each coordinate moves.

    Shapes     descriptors (N,D) float32   weight (D,K) int8   unit bias (K,) float32   moves (N,K) float32
    Cost       N*D*K multiply-adds
    """
    return (descriptors @ weight.astype(np.float32)) * unit + bias


@numba.njit(**_FLAGS)
def point_descriptors_numba(patches, shapes, cell, cells, clip):
    """As point_descriptors_numpy."""
    count, height, width = patches.shape
    depth, side = 9 * cells * cells, cell * cells
    descriptors = np.zeros((count, shapes.shape[1] * depth), np.float32)
    angles = np.arange(1, 9) * (np.pi / 9)
    cosine, sine = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    magnitude = np.empty((height, width), np.float32)
    orientation = np.empty((height, width), np.int64)
    for n in range(count):
        patch = patches[n].astype(np.float32)
        for i in range(height):
            up, row, down = patch[max(i - 1, 0)], patch[i], patch[min(i + 1, height - 1)]
            for j in range(width):
                gy, gx = down[j] - up[j], row[min(j + 1, width - 1)] - row[max(j - 1, 0)]
                magnitude[i, j] = np.sqrt(gx * gx + gy * gy)
                sign = np.float32(-1 if gy < 0 or (gy == 0 and gx < 0) else 1)
                gy, gx = sign * gy, sign * gx
                o = 0
                for k in range(8):
                    o += gy * cosine[k] >= gx * sine[k]
                orientation[i, j] = o
        for p in range(shapes.shape[1]):
            d = descriptors[n, p * depth : (p + 1) * depth]
            top = int(np.floor(shapes[n, p, 1] - side / 2 + 0.5))
            left = int(np.floor(shapes[n, p, 0] - side / 2 + 0.5))
            for u in range(side):
                i = min(max(top + u, 0), height - 1)
                for v in range(cells):
                    place = (u // cell * cells + v) * 9
                    for j in range(left + v * cell, left + (v + 1) * cell):
                        j = min(max(j, 0), width - 1)  # noqa: PLW2901
                        d[place + orientation[i, j]] += magnitude[i, j]
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
def linear_step_numba(descriptors, weight, unit, bias):
    """As linear_step_numpy."""
    moves = np.zeros((descriptors.shape[0], weight.shape[1]), np.float32)
    for n in range(descriptors.shape[0]):
        move = moves[n]
        for d in range(weight.shape[0]):
            value, row = descriptors[n, d], weight[d]
            for k in range(weight.shape[1]):
                move[k] += value * row[k]
        for k in range(weight.shape[1]):
            move[k] = move[k] * unit[k] + bias[k]
    return moves


point_descriptors = Twin(point_descriptors_numpy, point_descriptors_numba)
linear_step = Twin(linear_step_numpy, linear_step_numba)
