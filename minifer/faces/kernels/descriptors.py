"""Orientation histograms round the points of a shape, and the linear steps they feed.

    gradient     magnitude and orientation (0 to 8, in steps of 20 degrees, sign ignored) of every pixel of a patch
    descriptor   3x3 cells of cell x cell pixels (an even number), centred on a point; in each, a histogram of the
                 orientations of every second pixel in every second row, weighted by magnitude
                 d /= |d|;  d = min(d, clip);  d /= |d|
    step         shape += (descriptors of all points @ weight^T) @ basis + bias

This is HOG (faces/kernels/hog.py) with the cells placed by the shape instead of by a grid.

Source     Xiong & De la Torre, "Supervised descent method and its applications to face alignment", CVPR 2013.
"""

import numpy as np

from minifer.faces.kernels.resize import affine_points_numpy
from minifer.kernels.twin import Twin, serial

# No fastmath, here or in any kernel: a sum that the compiler may reorder has other bits in the process that compiled it
# than in the next one, which loads it from the cache. Sums that should be several at once are written so.
LANES = 64


def point_descriptors_numpy(patches, shapes, cell, clip):
    """Return the descriptors of all points of each shape, one row a shape. Places outside a patch have no gradient.

    Shapes     patches (N,H,W) uint8   shapes (N,L,2) as x, y   descriptors (N, L*81) float32
    Cost       N*H*W gradients, N*L * (3 cell)^2 / 4 additions
    """
    side = 3 * cell
    place = np.arange(0, side, 2)
    count, height, width = patches.shape
    magnitude, orientation = _gradients_numpy(patches)
    rows = []
    for n in range(count):
        for x, y in shapes[n]:
            i, j = (np.int64(np.floor(centre - side / 2 + 0.5)) + place for centre in (y, x))
            i_inside, j_inside = (i >= 0) & (i < height), (j >= 0) & (j < width)
            here = np.ix_(i[i_inside], j[j_inside])
            index = 27 * (place // cell)[i_inside, None] + 9 * (place // cell)[j_inside] + orientation[n][here]
            d = np.bincount(index.ravel(), magnitude[n][here].ravel(), 81)
            d = np.minimum(d / np.sqrt((d**2).sum() + 1e-3), clip)
            rows.append(d / np.sqrt((d**2).sum() + 1e-6))
    return np.array(rows, np.float32).reshape(count, 81 * shapes.shape[1])


def linear_step_numpy(descriptors, weight):
    """Return descriptors @ weight^T, the weight in small integers.

    Shapes     descriptors (N,D) float32   weight (K,D) int8   sums (N,K) float32
    Cost       N*D*K multiply-adds
    """
    return descriptors @ weight.T.astype(np.float32)


def run_steps_numpy(patch, matrix, mean, cell, weight, basis, bias, clip):
    """Return the shape that R steps find in a patch of a picture, starting from the mean shape; it lies in the picture.

    The patch is affine(picture, matrix, H, W), of which every value is rounded to a whole number first.

    Shapes     patch (H,W) float32   matrix (2,3)   mean (L,2)   cell (R,)   weight (R,K,D) int8   basis (R,K,2L)
               bias (R,2L)   shape (L,2)
    """
    patch, shape = np.floor(patch + np.float32(0.5)).astype(np.uint8), mean
    for r in range(len(cell)):
        descriptors = point_descriptors_numpy(patch[None], shape[None], int(cell[r]), clip)
        move = linear_step_numpy(descriptors, weight[r])[0] @ basis[r] + bias[r]
        shape = shape + move.reshape(shape.shape)
    return affine_points_numpy(shape, matrix)


def _gradients_numpy(patches):
    values = patches.astype(np.float64)
    gx, gy = np.zeros_like(values), np.zeros_like(values)
    gx[:, 1:-1, 1:-1] = values[:, 1:-1, 2:] - values[:, 1:-1, :-2]
    gy[:, 1:-1, 1:-1] = values[:, 2:, 1:-1] - values[:, :-2, 1:-1]
    angle = np.rad2deg(np.arctan2(gy, gx)) % 180
    return np.hypot(gx, gy).astype(np.float32), np.minimum(angle // 20, 8).astype(np.uint8)


# The compiled twins.


@serial
def _gradients(patch, border):
    """Return magnitude and orientation of a patch, rounded to whole numbers, with a border of zeros; the orientation as
    in faces/kernels/hog.py.
    """
    height, width = patch.shape
    magnitude = np.zeros((height + 2 * border, width + 2 * border), np.float32)
    orientation = np.zeros((height + 2 * border, width + 2 * border), np.uint8)
    angles = np.arange(1, 9) * (np.pi / 9)
    cosine, sine = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    values = np.zeros((height, width + 2), np.float32)  # a column more on each side: whole rows suit vectors best
    for i in range(height):
        for j in range(width):
            values[i, 1 + j] = np.floor(np.float32(patch[i, j]) + np.float32(0.5))
    for i in range(1, height - 1):
        up, row, down = values[i - 1], values[i], values[i + 1]
        strengths, bins = magnitude[border + i, border:], orientation[border + i, border:]
        for j in range(width):
            gy, gx = down[1 + j] - up[1 + j], row[2 + j] - row[j]
            strengths[j] = np.sqrt(gx * gx + gy * gy)
            sign = np.float32(-1 if gy < 0 or (gy == 0 and gx < 0) else 1)
            gy, gx = sign * gy, sign * gx
            o = np.int32(0)
            for k in range(8):
                o += np.int32(gy * cosine[k] >= gx * sine[k])
            bins[j] = o
        strengths[0], strengths[width - 1] = 0, 0
    return magnitude, orientation


@serial
def _square(d):
    """Return the sum of the squares of a descriptor (81,), as three sums at a time."""
    first, second, third = np.float32(0), np.float32(0), np.float32(0)
    for c in range(27):
        first += d[c] * d[c]
        second += d[27 + c] * d[27 + c]
        third += d[54 + c] * d[54 + c]
    return first + second + third


@serial
def _describe(magnitude, orientation, border, shape, cell, clip, descriptors):
    """Write the descriptors (81 L,) of a shape's points.

    Neighbouring pixels often have the same orientation, and what is added to a number must wait for what was added
    before: so the nine cells are filled in turn, a pixel each. Unsigned numbers spare Numba the question whether an
    index counts from the end.
    """
    (height, width), side = magnitude.shape, 3 * cell
    strengths, bins, down, across = magnitude.ravel(), orientation.ravel(), np.uint32(cell * width), np.uint32(cell)
    for p in range(shape.shape[0]):
        d = descriptors[81 * p : 81 * p + 81]
        d[:] = 0
        top = min(max(int(np.floor(shape[p, 1] - side / 2 + 0.5)) + border, 0), height - side)
        left = min(max(int(np.floor(shape[p, 0] - side / 2 + 0.5)) + border, 0), width - side)
        for i in range(top, top + cell, 2):
            for j in range(left, left + cell, 2):
                first = np.uint32(i * width + j)
                for u in range(3):
                    for v in range(3):
                        k = np.uint32(first + np.uint32(u) * down + np.uint32(v) * across)
                        d[np.uint32(27 * u + 9 * v) + bins[k]] += strengths[k]
        scale = np.float32(1) / np.sqrt(_square(d) + np.float32(1e-3))
        for c in range(81):
            d[c] = min(d[c] * scale, np.float32(clip))
        scale = np.float32(1) / np.sqrt(_square(d) + np.float32(1e-6))
        for c in range(81):
            d[c] *= scale


@serial
def point_descriptors_numba(patches, shapes, cell, clip):
    """As point_descriptors_numpy."""
    descriptors = np.empty((patches.shape[0], 81 * shapes.shape[1]), np.float32)
    border = 3 * cell  # no descriptor reaches beyond it
    for n in range(patches.shape[0]):
        magnitude, orientation = _gradients(patches[n], border)
        _describe(magnitude, orientation, border, shapes[n], cell, clip, descriptors[n])
    return descriptors


@serial
def linear_step_numba(descriptors, weight):
    """As linear_step_numpy; LANES sums at a time become vector instructions."""
    depth, directions = descriptors.shape[1], weight.shape[0]
    sums = np.empty((descriptors.shape[0], directions), np.float32)
    lanes = np.empty(LANES, np.float32)
    for n in range(descriptors.shape[0]):
        for k in range(directions):
            lanes[:] = 0
            for first in range(0, depth - 2 * LANES + 1, 2 * LANES):
                x, w = descriptors[n, first : first + 2 * LANES], weight[k, first : first + 2 * LANES]
                for v in range(LANES):
                    lanes[v] += x[v] * np.float32(w[v]) + x[LANES + v] * np.float32(w[LANES + v])
            for d in range(depth // (2 * LANES) * 2 * LANES, depth):
                lanes[d % LANES] += descriptors[n, d] * np.float32(weight[k, d])
            half = LANES
            while half > 1:
                half //= 2
                for v in range(half):
                    lanes[v] += lanes[half + v]
            sums[n, k] = lanes[0]
    return sums


@serial
def run_steps_numba(patch, matrix, mean, cell, weight, basis, bias, clip):
    """As run_steps_numpy, all in one compiled call: what predicts."""
    shape, border = mean.copy(), 3 * cell[0]
    for r in range(1, cell.shape[0]):
        border = max(border, 3 * cell[r])
    magnitude, orientation = _gradients(patch, border)
    descriptors, move = np.empty((1, 81 * mean.shape[0]), np.float32), np.empty(2 * mean.shape[0])
    for r in range(cell.shape[0]):
        _describe(magnitude, orientation, border, shape, cell[r], clip, descriptors[0])
        sums = linear_step_numba(descriptors, weight[r])[0]
        for k in range(move.shape[0]):
            move[k] = bias[r, k]
        for c in range(sums.shape[0]):
            for k in range(move.shape[0]):
                move[k] += sums[c] * basis[r, c, k]
        for k in range(mean.shape[0]):
            shape[k, 0] += move[2 * k]
            shape[k, 1] += move[2 * k + 1]
    for k in range(mean.shape[0]):  # as affine_points_numpy
        x, y = shape[k, 0] - 0.5, shape[k, 1] - 0.5
        shape[k, 0] = matrix[1, 0] * y + matrix[1, 1] * x + matrix[1, 2] + 0.5
        shape[k, 1] = matrix[0, 0] * y + matrix[0, 1] * x + matrix[0, 2] + 0.5
    return shape


point_descriptors = Twin(point_descriptors_numpy, point_descriptors_numba)
linear_step = Twin(linear_step_numpy, linear_step_numba)
run_steps = Twin(run_steps_numpy, run_steps_numba)
