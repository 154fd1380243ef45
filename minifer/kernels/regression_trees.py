"""Ensembles of regression trees on pixel differences: sampling the pixels, choosing splits, and walking the trees.

    pixels     pixels[n,p] = patch n at  shape[n, anchor[p]] + S_n offset[p],  rounded;  S_n the rotation and scale that
               bring the mean shape closest to shape n, so that a pixel keeps its place on the face
    question   at a node (a, b, threshold): go right when  pixels[a] - pixels[b] > threshold,  else left
    split      of the proposed questions, the one with the largest  |sum of residuals|^2 / count  over the two sides:
               the same as the smallest sum of squared distances to the side's mean
    leaf       the mean residual there, times the learning rate
    update     shape_n += S_n (sum of the leaves reached @ basis), for each cascade in turn

Trees are full: a tree of depth d has 2^d - 1 questions, the children of k being 2k+1 and 2k+2, and 2^d leaves.

Source     Kazemi & Sullivan, "One millisecond face alignment with an ensemble of regression trees", CVPR 2014.
"""

import numba
import numpy as np

from minifer.kernels.twin import Twin

_FLAGS = {"cache": True, "error_model": "numpy", "nogil": True}


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


def walk_trees_numpy(pixels, a, b, threshold):
    """Return the leaf that each picture reaches in each tree.

    Shapes     pixels (N,P) int16   a b threshold (M,2^d - 1)   leaf (N,M), 0 to 2^d - 1
    """
    trees, questions = a.shape
    leaf = np.zeros((len(pixels), trees), np.int64)
    everything, each = np.arange(len(pixels))[:, None], np.arange(trees)
    values = pixels.astype(np.int64)
    for _ in range((questions + 1).bit_length() - 1):
        asked_a, asked_b = a[each, leaf], b[each, leaf]
        right = values[everything, asked_a] - values[everything, asked_b] > threshold[each, leaf]
        leaf = 2 * leaf + 1 + right
    return leaf - questions


def sum_leaves_numpy(leaf, value):
    """Return the sum of the leaves reached: the update of one cascade, in units of the quantised leaves.

    Shapes     leaf (N,M)   value (M,2^d,K) int8   total (N,K) int32
    """
    return value[np.arange(leaf.shape[1]), leaf].sum(axis=1, dtype=np.int32)


def run_cascades_numpy(patches, mean, anchor, offset, a, b, threshold, leaves, basis):
    """Return the shapes that T cascades of M trees find, starting from the mean shape.

    Shapes     patches (N,H,W) uint8   mean (L,2)   anchor (T,P)   offset (T,P,2)   a b threshold (T,M,2^d - 1)
               leaves (T,M,2^d,K) int8   basis (T,K,2L)   shapes (N,L,2)
    """
    shapes = np.repeat(mean[None], len(patches), axis=0)
    for t in range(len(anchor)):
        pixels = shape_pixels_numpy(patches, shapes, mean, anchor[t], offset[t])
        total = sum_leaves_numpy(walk_trees_numpy(pixels, a[t], b[t], threshold[t]), leaves[t])
        move = (total @ basis[t]).reshape(shapes.shape)
        cosine, sine = _turn_numpy(shapes, mean)
        x = cosine[:, None] * move[:, :, 0] - sine[:, None] * move[:, :, 1]
        y = sine[:, None] * move[:, :, 0] + cosine[:, None] * move[:, :, 1]
        shapes = shapes + np.stack([x, y], axis=-1)
    return shapes


def _turn_numpy(shapes, mean):
    centred = mean - mean.mean(axis=0)
    moved = shapes - shapes.mean(axis=1, keepdims=True)
    norm = (centred**2).sum()
    cosine = (moved * centred).sum(axis=(1, 2)) / norm
    sine = (moved[:, :, 1] * centred[:, 0] - moved[:, :, 0] * centred[:, 1]).sum(axis=1) / norm
    return cosine, sine


# The compiled twins.


@numba.njit(**_FLAGS)
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


@numba.njit(**_FLAGS)
def shape_pixels_numba(patches, shapes, mean, anchor, offset):
    """As shape_pixels_numpy."""
    count, height, width = patches.shape
    pixels = np.empty((count, anchor.shape[0]), np.int16)
    for n in range(count):
        shape, patch = shapes[n], patches[n]
        cosine, sine = _turn(shape, mean)
        for p in range(anchor.shape[0]):
            x = shape[anchor[p], 0] + cosine * offset[p, 0] - sine * offset[p, 1]
            y = shape[anchor[p], 1] + sine * offset[p, 0] + cosine * offset[p, 1]
            column = int(min(max(np.floor(x + 0.5), 0.0), width - 1.0))
            row = int(min(max(np.floor(y + 0.5), 0.0), height - 1.0))
            pixels[n, p] = patch[row, column]
    return pixels


@numba.njit(**_FLAGS)
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


@numba.njit(**_FLAGS)
def walk_trees_numba(pixels, a, b, threshold):
    """As walk_trees_numpy."""
    trees, questions = a.shape
    leaf = np.empty((pixels.shape[0], trees), np.int64)
    for n in range(pixels.shape[0]):
        values = pixels[n]
        for m in range(trees):
            k = 0
            while k < questions:
                k = 2 * k + 1 + (values[a[m, k]] - values[b[m, k]] > threshold[m, k])
            leaf[n, m] = k - questions
    return leaf


@numba.njit(**_FLAGS)
def sum_leaves_numba(leaf, value):
    """As sum_leaves_numpy."""
    total = np.zeros((leaf.shape[0], value.shape[2]), np.int32)
    for n in range(leaf.shape[0]):
        row = total[n]
        for m in range(leaf.shape[1]):
            reached = value[m, leaf[n, m]]
            for c in range(value.shape[2]):
                row[c] += reached[c]
    return total


@numba.njit(**_FLAGS)
def run_cascades_numba(patches, mean, anchor, offset, a, b, threshold, leaves, basis):
    """As run_cascades_numpy, all in one compiled call: what predicts."""
    landmarks = mean.shape[0]
    shapes = np.empty((patches.shape[0], landmarks, 2))
    for n in range(patches.shape[0]):
        shapes[n] = mean
    for t in range(anchor.shape[0]):
        pixels = shape_pixels_numba(patches, shapes, mean, anchor[t], offset[t])
        total = sum_leaves_numba(walk_trees_numba(pixels, a[t], b[t], threshold[t]), leaves[t])
        for n in range(patches.shape[0]):
            move = np.zeros(2 * landmarks)
            for c in range(total.shape[1]):
                for k in range(2 * landmarks):
                    move[k] += total[n, c] * basis[t, c, k]
            cosine, sine = _turn(shapes[n], mean)
            for k in range(landmarks):
                shapes[n, k, 0] += cosine * move[2 * k] - sine * move[2 * k + 1]
                shapes[n, k, 1] += sine * move[2 * k] + cosine * move[2 * k + 1]
    return shapes


shape_pixels = Twin(shape_pixels_numpy, shape_pixels_numba)
best_splits = Twin(best_splits_numpy, best_splits_numba)
walk_trees = Twin(walk_trees_numpy, walk_trees_numba)
sum_leaves = Twin(sum_leaves_numpy, sum_leaves_numba)
run_cascades = Twin(run_cascades_numpy, run_cascades_numba)
