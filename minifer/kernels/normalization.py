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

from minifer.kernels.denormals import flush_denormals, restore
from minifer.kernels.normalized import grad_normalized, read_normalized, sum_kept, sum_moments
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
def _batch_moments(x, rows, channels, pivot, mean, var):
    blocks = max(1, min(BLOCKS, rows // BLOCK_ROWS))
    sums = np.zeros((blocks, 2, channels), np.float64)
    for block in prange(blocks):
        control = flush_denormals()
        last = rows * (block + 1) // blocks
        for start in range(rows * block // blocks, last, FEW):
            sum_moments(x, start * channels, channels, pivot, sums[block], min(FEW, last - start), channels)
        restore(control)
    _add_blocks(sums)
    for c in range(channels):
        d = sums[0, 0, c] / rows
        mean[c] = d + pivot[c]
        var[c] = max(sums[0, 1, c] / rows - d * d, 0.0)


def batch_moments_numba(x):
    """Return mean and (biased) variance (C,) from sums about the first row, which keeps them from cancelling."""
    mean, var = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    _batch_moments(x.reshape(-1), *x.shape, x[0].copy(), mean, var)
    return mean, var


@parallel
def _normalize(x, rows, channels, norm, low, high, y):
    blocks = max(1, min(BLOCKS, rows // BLOCK_ROWS))
    for block in prange(blocks):
        control = flush_denormals()
        last = rows * (block + 1) // blocks
        for start in range(rows * block // blocks, last, FEW):
            place = start * channels
            read_normalized(x, place, channels, y, place, channels, norm, low, high, min(FEW, last - start), channels)
        restore(control)


def normalize_numba(x, mean, inv_std, gamma, beta, low, high):
    """y in one pass; a NaN passes through instead of being clipped away."""
    y, real = np.empty_like(x), x.dtype.type
    _normalize(x.reshape(-1), *x.shape, np.stack((mean, gamma * inv_std, beta)), real(low), real(high), y.reshape(-1))
    return y


@parallel
def _kept_sums(dy, x, rows, channels, norm, low, high, out):
    blocks = max(1, min(BLOCKS, rows // BLOCK_ROWS))
    sums = np.zeros((blocks, 2, channels), np.float64)
    for block in prange(blocks):
        control = flush_denormals()
        last = rows * (block + 1) // blocks
        for start in range(rows * block // blocks, last, FEW):
            place = start * channels
            sum_kept(
                dy, place, channels, x, place, channels, norm, low, high, sums[block], min(FEW, last - start), channels
            )
        restore(control)
    _add_blocks(sums)
    for part in range(2):
        for c in range(channels):
            out[part, c] = sums[0, part, c]


def kept_sums_numba(dy, x, norm, low, high):
    """Return sum dz and sum dz * (x - mean) as (2, C), for norm (3 or more, C): mean, scale, beta."""
    sums, real = np.empty((2, x.shape[1]), x.dtype), x.dtype.type
    _kept_sums(dy.reshape(-1), x.reshape(-1), *x.shape, norm, real(low), real(high), sums)
    return sums


def normalize_sums_numba(dy, x, mean, inv_std, gamma, beta, low, high):
    """Return dgamma, dbeta (C,)."""
    dbeta, product = kept_sums_numba(dy, x, np.stack((mean, gamma * inv_std, beta)), low, high)
    return product * inv_std, dbeta


@parallel
def _normalize_grad_x(dy, x, rows, channels, norm, low, high, dx):
    blocks = max(1, min(BLOCKS, rows // BLOCK_ROWS))
    for block in prange(blocks):
        control = flush_denormals()
        last = rows * (block + 1) // blocks
        for start in range(rows * block // blocks, last, FEW):
            place = start * channels
            grad_normalized(
                dy, x, place, channels, dx, place, channels, norm, low, high, min(FEW, last - start), channels
            )
        restore(control)


def normalize_grad_x_numba(dy, x, mean, inv_std, gamma, beta, low, high, dgamma, dbeta):
    """Return dx in one pass: dx = scale * dz - offset - (x - mean) * slope with numbers of each channel."""
    dx, real = np.empty_like(x), x.dtype.type
    scale, rows = gamma * inv_std, real(len(x))
    norm = np.stack((mean, scale, beta, scale * inv_std * dgamma / rows, scale * dbeta / rows))
    _normalize_grad_x(dy.reshape(-1), x.reshape(-1), *x.shape, norm, real(low), real(high), dx.reshape(-1))
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
        control = flush_denormals()
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
        restore(control)
    return y, x_hat, inv_std


@parallel
def layer_norm_grad_x_numba(dy, x_hat, inv_std, gamma):
    """Return dx; one row per task."""
    rows, width = dy.shape
    dx = np.empty_like(dy)
    for m in prange(rows):
        control = flush_denormals()
        mean_g, mean_gx = 0.0, 0.0
        for d in range(width):
            g = dy[m, d] * gamma[d]
            mean_g += g
            mean_gx += g * x_hat[m, d]
        mean_g /= width
        mean_gx /= width
        for d in range(width):
            dx[m, d] = inv_std[m] * (dy[m, d] * gamma[d] - mean_g - x_hat[m, d] * mean_gx)
        restore(control)
    return dx


layer_norm_forward = Twin(layer_norm_forward_numpy, layer_norm_forward_numba)
layer_norm_grad_x = Twin(layer_norm_grad_x_numpy, layer_norm_grad_x_numba)
