"""Ensembles of regression trees on pixel differences: sampling the pixels, choosing splits, and walking the trees.

    pixels     pixels[n,p] = patch n at  shape[n, anchor[p]] + S_n offset[p],  rounded;  S_n the rotation and scale that
               bring the mean shape closest to shape n, so that a pixel keeps its place on the face
    question   at a node (a, b, threshold): go right when  pixels[a] - pixels[b] > threshold,  else left
    split      of the proposed questions, the one with the largest  |sum of residuals|^2 / count  over the two sides:
               the same as the smallest sum of squared distances to the side's mean
    leaf       the mean residual there, times the shrinkage
    update     shape_n += S_n (sum of the leaves reached @ basis), for each cascade in turn

Trees are full: a tree of depth d has 2^d - 1 questions, the children of k being 2k+1 and 2k+2, and 2^d leaves. Those
of a tree are stored together, (a, b, threshold) each, so that a walk reads few places of memory.

Source     Kazemi & Sullivan, "One millisecond face alignment with an ensemble of regression trees", CVPR 2014.
"""

import numpy as np

from minifer.faces.kernels.resize import affine_numpy, affine_points_numpy
from minifer.kernels.twin import Twin, serial


def shape_pixels_numpy(patches, shapes, mean, anchor, offset):
    """Return the values of the pixels at places that move with each shape.

    Shapes     patches (N,H,W) uint8   shapes (N,L,2) as x, y   mean (L,2)   anchor (P,)   offset (P,2)   pixels (N,P)
               int16
    """
    cosine, sine = _turn_numpy(shapes, mean)
    x = shapes[:, anchor, 0] + cosine[:, None] * offset[:, 0] - sine[:, None] * offset[:, 1]
    y = shapes[:, anchor, 1] + sine[:, None] * offset[:, 0] + cosine[:, None] * offset[:, 1]
    column = np.clip(np.floor(x + 0.5), 0, patches.shape[2] - 1).astype(np.int64)
    row = np.clip(np.floor(y + 0.5), 0, patches.shape[1] - 1).astype(np.int64)
    return patches[np.arange(len(patches))[:, None], row, column].astype(np.int16)


def best_splits_numpy(pixels, residual, node, first, count, a, b, threshold):
    """Return, for each of `count` nodes of one level, the number of the best of its proposed questions.

    Shapes     pixels (N,P) int16   residual (N,K) float32   node (N,), the samples' nodes, counted from `first`
               a b threshold (count,Q): the proposed questions   best (count,)
    Cost       N*Q*K/2 additions
    """
    best = np.zeros(count, np.int64)
    for k in range(count):
        here = node == first + k
        values, deltas = pixels[here].astype(np.int64), residual[here].astype(np.float64)
        gains = np.zeros(a.shape[1])
        for q in range(a.shape[1]):
            right = values[:, a[k, q]] - values[:, b[k, q]] > threshold[k, q]
            for side in (right, ~right):
                if side.any():
                    gains[q] += (deltas[side].sum(axis=0) ** 2).sum() / side.sum()
        best[k] = gains.argmax()
    return best


def walk_trees_numpy(pixels, questions):
    """Return the leaf that each picture reaches in each tree.

    Shapes     pixels (N,P) int16   questions (M,2^d - 1,3) int16   leaf (N,M), 0 to 2^d - 1
    """
    trees, count = questions.shape[:2]
    leaf = np.zeros((len(pixels), trees), np.int64)
    everything = np.arange(len(pixels))[:, None]
    for _ in range((count + 1).bit_length() - 1):
        a, b, threshold = np.moveaxis(questions[np.arange(trees), leaf], -1, 0)
        leaf = 2 * leaf + 1 + (pixels[everything, a] - pixels[everything, b] > threshold)
    return leaf - count


def sum_leaves_numpy(leaf, value):
    """Return the sum of the leaves reached: the update of one cascade, in units of the quantised leaves.

    Shapes     leaf (N,M)   value (M,2^d,K) int8   total (N,K) int32
    """
    return value[np.arange(leaf.shape[1]), leaf].sum(axis=1, dtype=np.int32)


def run_cascades_numpy(picture, matrix, size, mean, anchor, offset, questions, leaves, basis):
    """Return the shape that T cascades of M trees find in a patch of a picture, starting from the mean shape; it lies
    in the picture.

    The patch is size x size pixels:  patch = affine(picture, matrix, size, size), rounded to whole numbers.

    Shapes     picture (H,W)   matrix (2,3)   mean (L,2)   anchor (T,P)   offset (T,P,2)   questions (T,M,2^d - 1,3)
               leaves (T,M,2^d,K) int8   basis (T,K,2L)   shape (L,2)
    """
    patch = (affine_numpy(picture, matrix, size, size) + np.float32(0.5)).astype(np.uint8)
    shape = mean
    for t in range(len(anchor)):
        pixels = shape_pixels_numpy(patch[None], shape[None], mean, anchor[t], offset[t])
        total = sum_leaves_numpy(walk_trees_numpy(pixels, questions[t]), leaves[t])
        move = (total[0] @ basis[t]).reshape(shape.shape)
        cosine, sine = (part[0] for part in _turn_numpy(shape[None], mean))
        x = cosine * move[:, 0] - sine * move[:, 1]
        y = sine * move[:, 0] + cosine * move[:, 1]
        shape = shape + np.stack([x, y], axis=-1)
    return affine_points_numpy(shape, matrix)


def _turn_numpy(shapes, mean):
    centred = mean - mean.mean(axis=0)
    moved = shapes - shapes.mean(axis=1, keepdims=True)
    norm = (centred**2).sum()
    cosine = (moved * centred).sum(axis=(1, 2)) / norm
    sine = (moved[:, :, 1] * centred[:, 0] - moved[:, :, 0] * centred[:, 1]).sum(axis=1) / norm
    return cosine, sine


# The compiled twins.


@serial
def _turn(shape, mean):
    mean_x, mean_y = mean[:, 0].mean(), mean[:, 1].mean()
    shape_x, shape_y = shape[:, 0].mean(), shape[:, 1].mean()
    cosine, sine, norm = 0.0, 0.0, 0.0
    for k in range(mean.shape[0]):
        u, v = mean[k, 0] - mean_x, mean[k, 1] - mean_y
        x, y = shape[k, 0] - shape_x, shape[k, 1] - shape_y
        norm += u * u + v * v
        cosine += x * u + y * v
        sine += y * u - x * v
    return cosine / norm, sine / norm


@serial
def _places(shape, cosine, sine, anchor, offset, height, width):
    """Return the row and the column of each pixel of one shape in a patch of that height and width."""
    rows, columns = np.empty(anchor.shape[0]), np.empty(anchor.shape[0])
    for p in range(anchor.shape[0]):
        k = np.uint16(anchor[p])
        x = shape[k, 0] + cosine * offset[p, 0] - sine * offset[p, 1]
        y = shape[k, 1] + sine * offset[p, 0] + cosine * offset[p, 1]
        rows[p] = np.floor(min(max(y + 0.5, 0.0), height - 1.0))
        columns[p] = np.floor(min(max(x + 0.5, 0.0), width - 1.0))
    return rows, columns


@serial
def shape_pixels_numba(patches, shapes, mean, anchor, offset):
    """As shape_pixels_numpy."""
    count, height, width = patches.shape
    pixels = np.empty((count, anchor.shape[0]), np.int16)
    for n in range(count):
        cosine, sine = _turn(shapes[n], mean)
        rows, columns = _places(shapes[n], cosine, sine, anchor, offset, height, width)
        for p in range(anchor.shape[0]):
            pixels[n, p] = patches[n, np.uint32(rows[p]), np.uint32(columns[p])]
    return pixels


@serial
def _picture_pixels(picture, matrix, size, shape, cosine, sine, anchor, offset):
    """As shape_pixels_numba, in a patch that is never cut out: only the pixels asked for are interpolated."""
    pixels = np.empty((1, anchor.shape[0]), np.int16)
    last_row, last_column = picture.shape[0] - 1, picture.shape[1] - 1
    rows, columns = _places(shape, cosine, sine, anchor, offset, size, size)
    for p in range(anchor.shape[0]):
        i, j = rows[p], columns[p]
        rows[p] = min(max(matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2], 0.0), float(last_row))
        columns[p] = min(max(matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2], 0.0), float(last_column))
    for p in range(anchor.shape[0]):
        i, j = np.uint32(rows[p]), np.uint32(columns[p])
        i1, j1 = min(i + np.uint32(1), np.uint32(last_row)), min(j + np.uint32(1), np.uint32(last_column))
        down, right = np.float32(rows[p] - i), np.float32(columns[p] - j)
        first, second = np.float32(picture[i, j]), np.float32(picture[i, j1])
        third, fourth = np.float32(picture[i1, j]), np.float32(picture[i1, j1])
        upper, lower = first + right * (second - first), third + right * (fourth - third)
        pixels[0, p] = int(upper + down * (lower - upper) + np.float32(0.5))
    return pixels


@serial
def best_splits_numba(pixels, residual, node, first, count, a, b, threshold):
    """As best_splits_numpy; one pass over the samples sums what goes right for all questions of their node."""
    questions, depth = a.shape[1], residual.shape[1]
    total = np.zeros((count, depth), np.float32)
    members = np.zeros(count, np.int64)
    right = np.zeros((count, questions, depth), np.float32)
    right_members = np.zeros((count, questions), np.int64)
    for n in range(pixels.shape[0]):
        k = node[n] - first
        values, delta = pixels[n], residual[n]
        members[k] += 1
        total[k] += delta
        for q in range(questions):
            if values[a[k, q]] - values[b[k, q]] > threshold[k, q]:
                right_members[k, q] += 1
                into = right[k, q]
                for c in range(depth):
                    into[c] += delta[c]
    best = np.zeros(count, np.int64)
    for k in range(count):
        best_gain = -1.0
        for q in range(questions):
            gain_right, gain_left = 0.0, 0.0
            for c in range(depth):
                gain_right += right[k, q, c] ** 2
                gain_left += (total[k, c] - right[k, q, c]) ** 2
            gain = gain_right / max(right_members[k, q], 1) + gain_left / max(members[k] - right_members[k, q], 1)
            if gain > best_gain:
                best[k], best_gain = q, gain
    return best


@serial
def walk_trees_numba(pixels, questions):
    """As walk_trees_numpy: all trees take a step before any takes the next, since one step of a tree must wait for the
    one before. Unsigned numbers spare Numba the question whether an index counts from the end.
    """
    trees, count = questions.shape[:2]
    leaf = np.empty((pixels.shape[0], trees), np.int64)
    node = np.empty(trees, np.uint32)
    for n in range(pixels.shape[0]):
        values, first = pixels[n], 0
        node[:] = 0
        while first < count:
            for m in range(trees):
                question = questions[m, node[m]]
                right = values[np.uint16(question[0])] - values[np.uint16(question[1])] > question[2]
                node[m] = 2 * node[m] + 1 + right
            first = 2 * first + 1
        for m in range(trees):
            leaf[n, m] = node[m] - count
    return leaf


@serial
def sum_leaves_numba(leaf, value):
    """As sum_leaves_numpy; four leaves at a time read and write the sums once."""
    trees, directions = value.shape[0], value.shape[2]
    total = np.zeros((leaf.shape[0], directions), np.int32)
    for n in range(leaf.shape[0]):
        row = total[n]
        for m in range(0, trees - 3, 4):
            v0, v1 = value[m, np.uint32(leaf[n, m])], value[m + 1, np.uint32(leaf[n, m + 1])]
            v2, v3 = value[m + 2, np.uint32(leaf[n, m + 2])], value[m + 3, np.uint32(leaf[n, m + 3])]
            for c in range(directions):
                row[c] += (np.int32(v0[c]) + np.int32(v1[c])) + (np.int32(v2[c]) + np.int32(v3[c]))
        for m in range(trees // 4 * 4, trees):
            for c in range(directions):
                row[c] += value[m, leaf[n, m], c]
    return total


@serial
def run_cascades_numba(picture, matrix, size, mean, anchor, offset, questions, leaves, basis):
    """As run_cascades_numpy, all in one compiled call: what predicts."""
    shape, move = mean.copy(), np.empty(2 * mean.shape[0])
    for t in range(anchor.shape[0]):
        cosine, sine = _turn(shape, mean)
        pixels = _picture_pixels(picture, matrix, size, shape, cosine, sine, anchor[t], offset[t])
        total = sum_leaves_numba(walk_trees_numba(pixels, questions[t]), leaves[t])[0]
        move[:] = 0
        for c in range(total.shape[0]):
            for k in range(move.shape[0]):
                move[k] += total[c] * basis[t, c, k]
        for k in range(mean.shape[0]):
            shape[k, 0] += cosine * move[2 * k] - sine * move[2 * k + 1]
            shape[k, 1] += sine * move[2 * k] + cosine * move[2 * k + 1]
    for k in range(mean.shape[0]):  # as affine_points_numpy
        x, y = shape[k, 0] - 0.5, shape[k, 1] - 0.5
        shape[k, 0] = matrix[1, 0] * y + matrix[1, 1] * x + matrix[1, 2] + 0.5
        shape[k, 1] = matrix[0, 0] * y + matrix[0, 1] * x + matrix[0, 2] + 0.5
    return shape


shape_pixels = Twin(shape_pixels_numpy, shape_pixels_numba)
best_splits = Twin(best_splits_numpy, best_splits_numba)
walk_trees = Twin(walk_trees_numpy, walk_trees_numba)
sum_leaves = Twin(sum_leaves_numpy, sum_leaves_numba)
run_cascades = Twin(run_cascades_numpy, run_cascades_numba)
