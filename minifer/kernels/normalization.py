"""Batch and layer normalization; batch normalization clips its output as well, which makes it BatchNorm + ReLU6.

    mean[c] = 1/M sum_m x[m,c]      var[c] = 1/M sum_m (x[m,c] - mean[c])^2      inv_std = 1 / sqrt(var + eps)
    x_hat   = (x - mean) * inv_std
    y       = clip(gamma * x_hat + beta, low, high)          ReLU6 is low 0, high 6; no activation is -inf, inf

    dz      = dy where low < gamma * x_hat + beta < high, else 0
    dbeta   = sum_m dz        dgamma = sum_m dz * x_hat
    dx      = gamma * inv_std * (dz - dbeta/M - x_hat * dgamma/M)        (without the last two terms, if the mean and
                                                                          variance were constants)

x is (M, C): all axes but the last are one. One pass computes the statistics, one the output, two the gradients; what
was clipped is found again from x, so that nothing but x need be kept. Sums over M are made of a fixed number of blocks,
in float64 but for a few rows at a time, added in order: the same bits for every number of threads.

Source: Ioffe & Szegedy, 2015; Ba, Kiros & Hinton, Layer Normalization, 2016.
"""

import numpy as np
from numba import prange

from minifer.kernels.twin import Twin, parallel, serial

BLOCKS = 16  # pieces that the rows are cut into at most, for the threads to share
BLOCK_ROWS = 32  # rows of a piece at least: below that, adding up the pieces would cost more than the pieces
FEW = 32  # rows that are summed in the arrays' own dtype before they join the sum in float64


def batch_moments_numpy(x):
    """Return mean and (biased) variance (C,) over the rows of x (M, C)."""
    return x.mean(axis=0, dtype=np.float64).astype(x.dtype), x.var(axis=0, dtype=np.float64).astype(x.dtype)


def normalize_numpy(x, mean, inv_std, gamma, beta, low, high):
    """y = clip(gamma * (x - mean) * inv_std + beta, low, high)."""
    return np.clip((x - mean) * (gamma * inv_std) + beta, low, high).astype(x.dtype)


def normalize_sums_numpy(dy, x, mean, inv_std, gamma, beta, low, high):
    """Return dgamma, dbeta (C,)."""
    x_hat = (x - mean) * inv_std
    z = (x - mean) * (gamma * inv_std) + beta
    dz = np.where((z > low) & (z < high), dy, 0)
    return (
        (dz * x_hat).sum(axis=0, dtype=np.float64).astype(x.dtype),
        dz.sum(axis=0, dtype=np.float64).astype(x.dtype),
    )


def normalize_grad_x_numpy(dy, x, mean, inv_std, gamma, beta, low, high, dgamma, dbeta):
    """Return dx; pass dgamma = dbeta = 0 where mean and inv_std are constants."""
    x_hat = (x - mean) * inv_std
    z = (x - mean) * (gamma * inv_std) + beta
    dz = np.where((z > low) & (z < high), dy, 0)
    return (gamma * inv_std * (dz - dbeta / len(x) - x_hat * (dgamma / len(x)))).astype(x.dtype)


@serial
def _add_blocks(sums):
    """Add the sums of all blocks to those of the first, in order and row by row: columns would be strided."""
    for block in range(1, sums.shape[0]):
        for part in range(sums.shape[1]):
            for c in range(sums.shape[2]):
                sums[0, part, c] += sums[block, part, c]


@parallel
def batch_moments_numba(x):
    """Return mean and (biased) variance (C,) from sums about the first row, which keeps them from cancelling."""
    rows, channels = x.shape
    blocks = max(1, min(BLOCKS, rows // BLOCK_ROWS))
    sums = np.zeros((blocks, 2, channels), np.float64)
    for block in prange(blocks):
        few_total, few_square = np.zeros(channels, x.dtype), np.zeros(channels, x.dtype)
        first, last = rows * block // blocks, rows * (block + 1) // blocks
        for start in range(first, last, FEW):
            for m in range(start, min(start + FEW, last)):
                for c in range(channels):
                    d = x[m, c] - x[0, c]
                    few_total[c] += d
                    few_square[c] += d * d
            for c in range(channels):
                sums[block, 0, c] += few_total[c]
                sums[block, 1, c] += few_square[c]
                few_total[c] = few_square[c] = 0
    _add_blocks(sums)
    mean, var = np.empty(channels, x.dtype), np.empty(channels, x.dtype)
    for c in range(channels):
        d = sums[0, 0, c] / rows
        mean[c] = d + x[0, c]
        var[c] = max(sums[0, 1, c] / rows - d * d, 0.0)
    return mean, var


@parallel
def normalize_numba(x, mean, inv_std, gamma, beta, low, high):
    """y in one pass."""
    rows, channels = x.shape
    y = np.empty_like(x)
    scale = gamma * inv_std
    low, high = x.dtype.type(low), x.dtype.type(high)
    blocks = max(1, min(BLOCKS, rows // BLOCK_ROWS))
    for block in prange(blocks):
        for m in range(rows * block // blocks, rows * (block + 1) // blocks):
            for c in range(channels):
                z = (x[m, c] - mean[c]) * scale[c] + beta[c]
                # Written so that a NaN passes through instead of being clipped away.
                z = low if z < low else z
                y[m, c] = high if z > high else z
    return y


@parallel
def normalize_sums_numba(dy, x, mean, inv_std, gamma, beta, low, high):
    """Return dgamma, dbeta (C,)."""
    rows, channels = x.shape
    scale = gamma * inv_std
    low, high = x.dtype.type(low), x.dtype.type(high)
    zero = x.dtype.type(0)
    blocks = max(1, min(BLOCKS, rows // BLOCK_ROWS))
    sums = np.zeros((blocks, 2, channels), np.float64)
    for block in prange(blocks):
        few_gamma, few_beta = np.zeros(channels, x.dtype), np.zeros(channels, x.dtype)
        first, last = rows * block // blocks, rows * (block + 1) // blocks
        for start in range(first, last, FEW):
            for m in range(start, min(start + FEW, last)):
                for c in range(channels):
                    d = x[m, c] - mean[c]
                    z = d * scale[c] + beta[c]
                    dz = dy[m, c] if low < z < high else zero
                    few_gamma[c] += dz * d
                    few_beta[c] += dz
            for c in range(channels):
                sums[block, 0, c] += few_gamma[c]
                sums[block, 1, c] += few_beta[c]
                few_gamma[c] = few_beta[c] = zero
    _add_blocks(sums)
    dgamma, dbeta = np.empty(channels, x.dtype), np.empty(channels, x.dtype)
    for c in range(channels):
        dgamma[c] = sums[0, 0, c] * inv_std[c]
        dbeta[c] = sums[0, 1, c]
    return dgamma, dbeta


@parallel
def normalize_grad_x_numba(dy, x, mean, inv_std, gamma, beta, low, high, dgamma, dbeta):
    """Return dx in one pass: dx = a * dz + b * x + d with three numbers a, b, d per channel."""
    rows, channels = x.shape
    dx = np.empty_like(x)
    scale = gamma * inv_std
    low, high = x.dtype.type(low), x.dtype.type(high)
    zero = x.dtype.type(0)
    slope = scale * inv_std * dgamma / x.dtype.type(rows)
    offset = scale * dbeta / x.dtype.type(rows)
    blocks = max(1, min(BLOCKS, rows // BLOCK_ROWS))
    for block in prange(blocks):
        for m in range(rows * block // blocks, rows * (block + 1) // blocks):
            for c in range(channels):
                d = x[m, c] - mean[c]
                z = d * scale[c] + beta[c]
                dz = dy[m, c] if low < z < high else zero
                dx[m, c] = scale[c] * dz - offset[c] - d * slope[c]
    return dx


batch_moments = Twin(batch_moments_numpy, batch_moments_numba)
normalize = Twin(normalize_numpy, normalize_numba)
normalize_sums = Twin(normalize_sums_numpy, normalize_sums_numba)
normalize_grad_x = Twin(normalize_grad_x_numpy, normalize_grad_x_numba)


def layer_norm_forward_numpy(x, gamma, beta, eps):
    """Return y, x_hat (M, D) and inv_std (M,): every row normalized by its own mean and variance."""
    centred = x - x.mean(axis=1, keepdims=True)
    inv_std = (1 / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + eps)).astype(x.dtype)
    x_hat = centred * inv_std
    return x_hat * gamma + beta, x_hat, inv_std[:, 0]


def layer_norm_grad_x_numpy(dy, x_hat, inv_std, gamma):
    """dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat)) with g = dy * gamma, means over the row."""
    g = dy * gamma
    return inv_std[:, None] * (g - g.mean(axis=1, keepdims=True) - x_hat * (g * x_hat).mean(axis=1, keepdims=True))


@parallel
def layer_norm_forward_numba(x, gamma, beta, eps):
    """Return y, x_hat, inv_std; one row per task."""
    rows, width = x.shape
    y, x_hat, inv_std = np.empty_like(x), np.empty_like(x), np.empty(rows, x.dtype)
    for m in prange(rows):
        mean = 0.0
        for d in range(width):
            mean += x[m, d]
        mean /= width
        var = 0.0
        for d in range(width):
            var += (x[m, d] - mean) ** 2
        inv_std[m] = 1 / np.sqrt(var / width + eps)
        for d in range(width):
            x_hat[m, d] = (x[m, d] - mean) * inv_std[m]
            y[m, d] = x_hat[m, d] * gamma[d] + beta[d]
    return y, x_hat, inv_std


@parallel
def layer_norm_grad_x_numba(dy, x_hat, inv_std, gamma):
    """Return dx; one row per task."""
    rows, width = dy.shape
    dx = np.empty_like(dy)
    for m in prange(rows):
        mean_g, mean_gx = 0.0, 0.0
        for d in range(width):
            g = dy[m, d] * gamma[d]
            mean_g += g
            mean_gx += g * x_hat[m, d]
        mean_g /= width
        mean_gx /= width
        for d in range(width):
            dx[m, d] = inv_std[m] * (dy[m, d] * gamma[d] - mean_g - x_hat[m, d] * mean_gx)
    return dx


layer_norm_forward = Twin(layer_norm_forward_numpy, layer_norm_forward_numba)
layer_norm_grad_x = Twin(layer_norm_grad_x_numpy, layer_norm_grad_x_numba)
