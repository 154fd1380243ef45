"""Resizing a grey picture: exact halving by averages, and bilinear interpolation between neighbouring pixels.

    halve      y[i,j] = (x[2i,2j] + x[2i,2j+1] + x[2i+1,2j] + x[2i+1,2j+1]) / 4
    bilinear   y[i,j] = sum of the four pixels of x round (a, b), weighted by nearness,
               a = (i + 1/2) * H/OH - 1/2, clamped to the picture; b alike
    bordered   y = x in whole numbers, its edge repeated outwards
    affine     the same interpolation at (a, b) = matrix @ (i, j, 1): rotations, shears, mirrored and shifted patches

Bilinear alone skips pixels when it shrinks by more than two, so a pyramid halves first and interpolates the rest.
Pictures are uint8 or float32; what comes out is float32.
"""

import numpy as np

from minifer.kernels.twin import Twin, serial


def halve_numpy(x):
    """Return the picture at half its size; an odd last row or column is left out.

    Shapes     x (H,W)   y (H//2,W//2) float32
    """
    x = x.astype(np.float32)[: x.shape[0] // 2 * 2, : x.shape[1] // 2 * 2]
    return (x[::2, ::2] + x[::2, 1::2] + x[1::2, ::2] + x[1::2, 1::2]) * np.float32(0.25)


def bilinear_numpy(x, height, width):
    """Return the picture interpolated to (height, width).

    Shapes     x (H,W)   y (height,width) float32
    """
    x = x.astype(np.float32)
    a, b = _source(x.shape[0], height), _source(x.shape[1], width)
    i, j = a.astype(np.int64), b.astype(np.int64)
    i1, j1 = np.minimum(i + 1, x.shape[0] - 1), np.minimum(j + 1, x.shape[1] - 1)
    down, right = (a - i).astype(np.float32)[:, None], (b - j).astype(np.float32)
    rows = x[i] + down * (x[i1] - x[i])
    return rows[:, j] + right * (rows[:, j1] - rows[:, j])


def _source(size, new_size):
    return np.clip((np.arange(new_size) + 0.5) * (size / new_size) - 0.5, 0, size - 1)


def bordered_numpy(x, border):
    """Return the picture in whole numbers with its edge repeated `border` pixels outwards.

    Shapes     x (H,W) float32   y (H + 2 border, W + 2 border) float32
    """
    return np.pad(np.rint(x), border, mode="edge")


def affine_numpy(x, matrix, height, width):
    """Return a patch of the picture: y[i,j] = x at row a and column b, (a, b) = matrix @ (i, j, 1), edges repeated.

    Shapes     x (H,W)   matrix (2,3) float64   y (height,width) float32
    """
    x = x.astype(np.float32)
    i, j = np.mgrid[:height, :width].astype(np.float64)
    a = np.clip(matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2], 0, x.shape[0] - 1)
    b = np.clip(matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2], 0, x.shape[1] - 1)
    i, j = a.astype(np.int64), b.astype(np.int64)
    i1, j1 = np.minimum(i + 1, x.shape[0] - 1), np.minimum(j + 1, x.shape[1] - 1)
    down, right = (a - i).astype(np.float32), (b - j).astype(np.float32)
    upper = x[i, j] + right * (x[i, j1] - x[i, j])
    lower = x[i1, j] + right * (x[i1, j1] - x[i1, j])
    return upper + down * (lower - upper)


def affine_points_numpy(points, matrix):
    """Return where points of an affine patch lie in its picture. The first pixel's middle is at (1/2, 1/2) in both.

    Shapes     points (L,2) as x, y   matrix (2,3)   returned: (L,2)
    """
    return (points[:, ::-1] - 0.5) @ matrix[::-1, :2].T + matrix[::-1, 2] + 0.5


@serial
def halve_numba(x):
    """As halve_numpy: first the sums of two rows, then of two columns of those."""
    height, width = x.shape[0] // 2, x.shape[1] // 2
    y = np.empty((height, width), np.float32)
    both = np.empty(2 * width, np.float32)
    for i in range(height):
        upper, lower = x[2 * i], x[2 * i + 1]
        for j in range(2 * width):
            both[j] = np.float32(upper[j]) + np.float32(lower[j])
        for j in range(width):
            y[i, j] = (both[2 * j] + both[2 * j + 1]) * np.float32(0.25)
    return y


@serial
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
            blend[j] = np.float32(upper[j]) + down * (np.float32(lower[j]) - np.float32(upper[j]))
        for j in range(width):
            y[i, j] = blend[left[j]] + part[j] * (blend[right[j]] - blend[left[j]])
    return y


@serial
def bordered_numba(x, border):
    """As bordered_numpy."""
    height, width = x.shape
    y = np.empty((height + 2 * border, width + 2 * border), x.dtype)
    for i in range(height + 2 * border):
        row, out = x[min(max(i - border, 0), height - 1)], y[i]
        for j in range(width):
            out[border + j] = np.rint(row[j])
        for j in range(border):
            out[j], out[border + width + j] = out[border], out[border + width - 1]
    return y


@serial
def affine_numba(x, matrix, height, width):
    """As affine_numpy, a row at a time in three loops: the first and the last compute many columns at once, which jumps
    through the picture, those of the loop between them, would not allow.
    """
    y = np.empty((height, width), np.float32)
    pixels, last_row, last_column = x.ravel(), float(x.shape[0] - 1), float(x.shape[1] - 1)
    most_p, most_q = max(last_row - 1, 0.0), max(last_column - 1, 0.0)  # on the edge itself the nearness is 1
    below, beside = np.uint32(x.shape[1] if last_row > 0 else 0), np.uint32(1 if last_column > 0 else 0)
    corner, around = np.empty(width, np.uint32), np.empty((4, width), np.float32)
    down, right = np.empty(width, np.float32), np.empty(width, np.float32)
    for i in range(height):
        first_a, first_b = matrix[0, 0] * i + matrix[0, 2], matrix[1, 0] * i + matrix[1, 2]
        for j in range(width):
            a = min(max(first_a + matrix[0, 1] * j, 0.0), last_row)
            b = min(max(first_b + matrix[1, 1] * j, 0.0), last_column)
            p, q = np.int32(min(a, most_p)), np.int32(min(b, most_q))
            corner[j] = p * np.int32(x.shape[1]) + q
            down[j], right[j] = a - p, b - q
        for j in range(width):
            k = corner[j]
            around[0, j], around[1, j] = pixels[k], pixels[k + beside]
            around[2, j], around[3, j] = pixels[k + below], pixels[k + below + beside]
        for j in range(width):
            upper = around[0, j] + right[j] * (around[1, j] - around[0, j])
            lower = around[2, j] + right[j] * (around[3, j] - around[2, j])
            y[i, j] = upper + down[j] * (lower - upper)
    return y


halve = Twin(halve_numpy, halve_numba)
bilinear = Twin(bilinear_numpy, bilinear_numba)
bordered = Twin(bordered_numpy, bordered_numba)
affine = Twin(affine_numpy, affine_numba)
