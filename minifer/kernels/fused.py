"""Convolution and batch normalization together: every map is read and written once, for all that happens to it.

Layer by layer a normalized map is read and written eight times in a step, at the speed of memory. Here a map between
two convolutions is kept as the first one made it, v, and its normalization is a promise that its reader keeps:

    x = clip((v - mean) * scale + beta, low, high)        scale = gamma * inv_std        (or x = v: nothing is promised)

    forward     reads v, computes y = convolution(x), and sums y's statistics while y is in the cache
    backward    reads dz, the gradient of what y's own reader made of it, computes
                dy = scale * dz - offset - (y - mean) * slope       (of y's normalization; dz = 0 where clipped)
                dx, dweight                                         as in kernels/pointwise.py and kernels/depthwise.py
                sum dx, sum dx * (v - mean)                         where x is not clipped: of v's normalization

Both go through the maps in pieces that stay in a core's second-level cache: a few rows of a product
(kernels/fused_pointwise.py), one picture of a depthwise convolution (kernels/fused_depthwise.py). Here is what the two
share, and what begins and ends a normalization.

A normalization is an array (5, C): mean, scale, beta, slope, offset, or of no rows where there is none. Sums are made
of a fixed number of pieces, in float64 but within a piece, and added in order: the same bits for every number of
threads. Equations: kernels/normalization.py.
"""

import numpy as np
from numba import prange

from minifer.kernels.denormals import flush_denormals, restore
from minifer.kernels.normalization import kept_sums_numba
from minifer.kernels.normalized import add_normalized, read_normalized
from minifer.kernels.twin import Twin, parallel, serial

BLOCKS = 16  # pieces of a map, for the threads to share
SOME = 48  # positions that are worked on at a time: they stay in the first-level cache


def read_numpy(v, norm, low, high):
    """Return x for v (..., C)."""
    return v if len(norm) == 0 else np.clip((v - norm[0]) * norm[1] + norm[2], low, high).astype(v.dtype)


def moments_numpy(y):
    """Return mean and variance (2, C)."""
    rows = y.reshape(-1, y.shape[-1]).astype(np.float64)
    return np.stack([rows.mean(axis=0), rows.var(axis=0)]).astype(y.dtype)


def grad_numpy(dz, y, norm, low, high):
    """Return dy."""
    mean, scale, beta, slope, offset = norm
    z = (y - mean) * scale + beta
    return (scale * np.where((z > low) & (z < high), dz, 0) - offset - (y - mean) * slope).astype(y.dtype)


def kept_sums_numpy(dx, v, norm, low, high):
    """Return sum dx, sum dx * (v - mean) where x is not clipped (2, C)."""
    if len(norm) == 0:
        return np.zeros((2, norm.shape[1]), v.dtype)
    z = (v - norm[0]) * norm[1] + norm[2]
    kept = np.where((z > low) & (z < high), dx, 0).astype(np.float64)
    axes = tuple(range(v.ndim - 1))
    return np.stack([kept.sum(axis=axes), (kept * (v - norm[0])).sum(axis=axes)]).astype(v.dtype)


def normalize_add_numpy(v, norm, low, high, shortcut, shortcut_norm):
    """Return clip((v - mean) * scale + beta) + shortcut, the latter without clipping, for v, shortcut (M, C)."""
    return read_numpy(v, norm, low, high) + read_numpy(shortcut, shortcut_norm, -np.inf, np.inf)


# How the pieces' sums are put together: called from Python, between the kernels of the two other files.


@serial
def merge_moments(sums, pivots, counts):
    """Return mean and variance (2, C) of all rows from the pieces' sums (.., 2, C) about their pivots (.., C)."""
    channels, total = pivots.shape[1], counts.sum()
    moments = np.empty((2, channels), pivots.dtype)
    mean, square = np.zeros(channels, np.float64), np.zeros(channels, np.float64)
    for piece in range(counts.size):
        for c in range(channels):
            mean[c] += (sums[piece, 0, c] + counts[piece] * pivots[piece, c]) / total
    for piece in range(counts.size):
        for c in range(channels):
            own = sums[piece, 0, c] / counts[piece]
            away = own + pivots[piece, c] - mean[c]
            square[c] += sums[piece, 1, c] - own * sums[piece, 0, c] + counts[piece] * away * away
    for c in range(channels):
        moments[0, c] = mean[c]
        moments[1, c] = max(square[c] / total, 0.0)
    return moments


@serial
def add_pieces(parts, out):
    """Write the sum of the pieces (.., I, C) into out (I, C), added in order and row by row."""
    for piece in range(1, parts.shape[0]):
        for i in range(parts.shape[1]):
            for c in range(parts.shape[2]):
                parts[0, i, c] += parts[piece, i, c]
    for i in range(parts.shape[1]):
        for c in range(parts.shape[2]):
            out[i, c] = parts[0, i, c]


@parallel
def _normalize_add(v, norm, low, high, shortcut, shortcut_norm, rows, channels, y):
    blocks = min(BLOCKS, rows)
    infinite = y.dtype.type(np.inf)
    for block in prange(blocks):
        control = flush_denormals()
        last = rows * (block + 1) // blocks
        for start in range(rows * block // blocks, last, SOME):
            count, place = min(SOME, last - start), start * channels
            lazy = shortcut_norm.shape[0] > 0
            if lazy:
                read_normalized(
                    shortcut, place, channels, y, place, channels, shortcut_norm, -infinite, infinite, count, channels
                )
            add_normalized(
                v, place, channels, y if lazy else shortcut, place, channels, y, norm, low, high, count, channels
            )
        restore(control)


def normalize_add_numba(v, norm, low, high, shortcut, shortcut_norm):
    """Return what a residual block ends with, in one pass."""
    y, real = np.empty_like(v), v.dtype.type
    _normalize_add(
        v.reshape(-1), norm, real(low), real(high), shortcut.reshape(-1), shortcut_norm, *v.shape, y.reshape(-1)
    )
    return y


def begin_norm_numpy(mean, var, gamma, beta, eps, share, running_mean, running_var):
    """Return the normalization (5, C), of which the last two rows are still to come, and inv_std (C,).

    share      of the batch in the running statistics, which are moved IN PLACE
    """
    running_mean += share * (mean - running_mean)
    running_var += share * (var - running_var)
    inv_std = 1 / np.sqrt(var + eps)
    return np.stack([mean, gamma * inv_std, beta, 0 * mean, 0 * mean]).astype(gamma.dtype), inv_std.astype(gamma.dtype)


def end_norm_numpy(norm, inv_std, sums, rows):
    """Return dgamma, dbeta from the sums of a map's normalization; write slope and offset into norm IN PLACE."""
    dbeta, dgamma = sums[0], sums[1] * inv_std
    norm[3], norm[4] = norm[1] * inv_std * dgamma / rows, norm[1] * dbeta / rows
    return dgamma, dbeta


@serial
def begin_norm_numba(mean, var, gamma, beta, eps, share, running_mean, running_var):
    """Return the normalization and inv_std: a dozen operations of NumPy on so few numbers take ten times as long."""
    real = gamma.dtype.type
    norm, inv_std = np.zeros((5, gamma.size), gamma.dtype), np.empty_like(gamma)
    eps, share, one = real(eps), real(share), real(1)
    for c in range(gamma.size):
        running_mean[c] += share * (mean[c] - running_mean[c])
        running_var[c] += share * (var[c] - running_var[c])
        inv_std[c] = one / np.sqrt(var[c] + eps)
        norm[0, c], norm[1, c], norm[2, c] = mean[c], gamma[c] * inv_std[c], beta[c]
    return norm, inv_std


@serial
def end_norm_numba(norm, inv_std, sums, rows):
    """Return dgamma, dbeta; write slope and offset."""
    dgamma, dbeta = np.empty_like(inv_std), np.empty_like(inv_std)
    share = inv_std.dtype.type(1) / inv_std.dtype.type(rows)
    for c in range(inv_std.size):
        dbeta[c], dgamma[c] = sums[0, c], sums[1, c] * inv_std[c]
        norm[3, c], norm[4, c] = norm[1, c] * inv_std[c] * dgamma[c] * share, norm[1, c] * dbeta[c] * share
    return dgamma, dbeta


begin_norm = Twin(begin_norm_numpy, begin_norm_numba)
end_norm = Twin(end_norm_numpy, end_norm_numba)
kept_sums = Twin(kept_sums_numpy, kept_sums_numba)
normalize_add = Twin(normalize_add_numpy, normalize_add_numba)
