"""Resizing a grey picture: exact halving by averages, and bilinear interpolation between neighbouring pixels.

    halve      y[i,j] = (x[2i,2j] + x[2i,2j+1] + x[2i+1,2j] + x[2i+1,2j+1]) / 4
    bilinear   y[i,j] = sum of the four pixels of x round (a, b), weighted by nearness,
               a = (i + 1/2) * H/OH - 1/2, clamped to the picture; b alike
    affine     the same interpolation at (a, b) = matrix @ (i, j, 1): rotations, shears, mirrored and shifted patches

Bilinear alone skips pixels when it shrinks by more than two, so a pyramid halves first and interpolates the rest.
"""

import numba
import numpy as np

from minifer.kernels.twin import Twin

_FLAGS = {"cache": True, "error_model": "numpy", "nogil": True}


def halve_numpy(x):
    """Return the picture at half its size; an odd last row or column is left out.

    Shapes     x (H,W) float32   y (H//2,W//2)
    """
    x = x[: x.shape[0] // 2 * 2, : x.shape[1] // 2 * 2]
    return (x[::2, ::2] + x[::2, 1::2] + x[1::2, ::2] + x[1::2, 1::2]) * np.float32(0.25)


def bilinear_numpy(x, height, width):
    """Return the picture interpolated to (height, width).

    Shapes     x (H,W) float32   y (height,width)
    """
    a, b = _source(x.shape[0], height), _source(x.shape[1], width)
    i, j = a.astype(np.int64), b.astype(np.int64)
    i1, j1 = np.minimum(i + 1, x.shape[0] - 1), np.minimum(j + 1, x.shape[1] - 1)
    down, right = (a - i).astype(np.float32)[:, None], (b - j).astype(np.float32)
    rows = x[i] + down * (x[i1] - x[i])
    return rows[:, j] + right * (rows[:, j1] - rows[:, j])


def _source(size, new_size):
    return np.clip((np.arange(new_size) + 0.5) * (size / new_size) - 0.5, 0, size - 1)


def affine_numpy(x, matrix, height, width):
    """Return a patch of the picture: y[i,j] = x at row a and column b, (a, b) = matrix @ (i, j, 1), edges repeated.

    Shapes     x (H,W) float32   matrix (2,3) float64   y (height,width)
    """
    i, j = np.mgrid[:height, :width].astype(np.float64)
    a = np.clip(matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2], 0, x.shape[0] - 1)
    b = np.clip(matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2], 0, x.shape[1] - 1)
    i, j = a.astype(np.int64), b.astype(np.int64)
    i1, j1 = np.minimum(i + 1, x.shape[0] - 1), np.minimum(j + 1, x.shape[1] - 1)
    down, right = (a - i).astype(np.float32), (b - j).astype(np.float32)
    upper = x[i, j] + right * (x[i, j1] - x[i, j])
    lower = x[i1, j] + right * (x[i1, j1] - x[i1, j])
    return upper + down * (lower - upper)


@numba.njit(**_FLAGS)
def halve_numba(x):
    """As halve_numpy."""
    height, width = x.shape[0] // 2, x.shape[1] // 2
    y = np.empty((height, width), np.float32)
    quarter = np.float32(0.25)
    for i in range(height):
        upper, lower, row = x[2 * i], x[2 * i + 1], y[i]
        for j in range(width):
            row[j] = (upper[2 * j] + upper[2 * j + 1] + lower[2 * j] + lower[2 * j + 1]) * quarter
    return y


@numba.njit(**_FLAGS)
def bilinear_numba(x, height, width):
    """As bilinear_numpy: first the blend of two rows, then of two pixels of it."""
    y = np.empty((height, width), np.float32)
    last_row, last_column = x.shape[0] - 1, x.shape[1] - 1
    left, right = np.empty(width, np.int64), np.empty(width, np.int64)
    part = np.empty(width, np.float32)
    for j in range(width):
        b = min(max((j + 0.5) * ((last_column + 1) / width) - 0.5, 0.0), float(last_column))
        left[j] = int(b)
        right[j] = min(left[j] + 1, last_column)
        part[j] = b - left[j]
    blend = np.empty(last_column + 1, np.float32)
    for i in range(height):
        a = min(max((i + 0.5) * ((last_row + 1) / height) - 0.5, 0.0), float(last_row))
        upper, lower = x[int(a)], x[min(int(a) + 1, last_row)]
        down = np.float32(a - int(a))
        for j in range(last_column + 1):
            blend[j] = upper[j] + down * (lower[j] - upper[j])
        for j in range(width):
            y[i, j] = blend[left[j]] + part[j] * (blend[right[j]] - blend[left[j]])
    return y


@numba.njit(**_FLAGS)
def affine_numba(x, matrix, height, width):
    """As affine_numpy; a patch whose corners all lie inside the picture needs no check at each pixel."""
    y = np.empty((height, width), np.float32)
    last_row, last_column = x.shape[0] - 1, x.shape[1] - 1
    inside = True
    for i in (0, height - 1):
        for j in (0, width - 1):
            a = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2]
            b = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2]
            inside = inside and 0 <= a < last_row and 0 <= b < last_column
    for i in range(height):
        first_a, first_b = matrix[0, 0] * i + matrix[0, 2], matrix[1, 0] * i + matrix[1, 2]
        for j in range(width):
            a, b = first_a + matrix[0, 1] * j, first_b + matrix[1, 1] * j
            if not inside:
                a, b = min(max(a, 0.0), float(last_row)), min(max(b, 0.0), float(last_column))
            p, q = np.uint32(a), np.uint32(b)
            p1, q1 = p + np.uint32(1), q + np.uint32(1)
            if not inside:
                p1, q1 = min(p1, np.uint32(last_row)), min(q1, np.uint32(last_column))
            down, right = np.float32(a - p), np.float32(b - q)
            upper = x[p, q] + right * (x[p, q1] - x[p, q])
            lower = x[p1, q] + right * (x[p1, q1] - x[p1, q])
            y[i, j] = upper + down * (lower - upper)
    return y


halve = Twin(halve_numpy, halve_numba)
bilinear = Twin(bilinear_numpy, bilinear_numba)
affine = Twin(affine_numpy, affine_numba)
