"""Pointwise (1x1) convolution: at every position one matrix product over the channels, nine tenths of a MobileNet.

    y[m,f]       = sum_c  x[m,c] * weight[c,f]            m runs over all N*H*W positions
    dx[m,c]      = sum_f dy[m,f] * weight[c,f]
    dweight[c,f] = sum_m  x[m,c] * dy[m,f]

Four rungs of a ladder compute the same sums: the NumPy reference, naive loops, loops with the channels innermost, and
the register-blocked product of kernels/matmul.py. The first and the last are the twins that layers use; the two in
the middle show where the time goes.
"""

import numpy as np
from numba import prange

from minifer.kernels import matmul
from minifer.kernels.twin import Twin, parallel

MANY_WEIGHTS = 128 * 256  # of a layer: above that the sums of dweight leave the cache, and products pay for packing


def pointwise_forward_numpy(x, weight):
    """y = x @ weight for x (M, C), weight (C, F)."""
    return x @ weight


def pointwise_grad_x_numpy(dy, weight):
    """Return dx = dy @ weight.T for dy (M, F)."""
    return dy @ weight.T


def pointwise_grad_weight_numpy(x, dy, out=None):
    """Return dweight = x.T @ dy for x (M, C), dy (M, F), in `out` if it is given: the only large gradient there is."""
    return np.matmul(x.T, dy, out=out)


def pointwise_forward_numba(x, weight):
    """y = x @ weight in register tiles."""
    return matmul.multiply(x, weight)


def pointwise_grad_x_numba(dy, weight):
    """Return dx = dy @ weight.T in register tiles."""
    return matmul.multiply_transposed_right(dy, weight)


def pointwise_grad_weight_numba(x, dy, out=None):
    """Return dweight = x.T @ dy in register tiles, in `out` if it is given."""
    return matmul.multiply_transposed_left(x, dy, out)


@parallel
def pointwise_forward_naive(x, weight):
    """Second rung: one sum after another. It walks down a column of weight, a cache line per step, one lane at work."""
    rows, channels, filters = x.shape[0], x.shape[1], weight.shape[1]
    y = np.empty((rows, filters), x.dtype)
    for m in prange(rows):
        for f in range(filters):
            total = x.dtype.type(0)
            for c in range(channels):
                total += x[m, c] * weight[c, f]
            y[m, f] = total
    return y


@parallel
def pointwise_forward_channels_innermost(x, weight):
    """Third rung: the output channels innermost, so that neighbours in memory are neighbours in a vector.

    Four rows and four steps of the sum at a time: each weight loaded serves four rows, each sum stored has four terms.
    """
    rows, channels, filters = x.shape[0], x.shape[1], weight.shape[1]
    y = np.zeros((rows, filters), x.dtype)
    for block in prange((rows + 3) // 4):
        m = 4 * block
        if m + 4 <= rows and channels % 4 == 0:
            y0, y1, y2, y3 = y[m], y[m + 1], y[m + 2], y[m + 3]
            for c in range(0, channels, 4):
                for f in range(filters):
                    w0, w1, w2, w3 = weight[c, f], weight[c + 1, f], weight[c + 2, f], weight[c + 3, f]
                    y0[f] += x[m, c] * w0 + x[m, c + 1] * w1 + x[m, c + 2] * w2 + x[m, c + 3] * w3
                    y1[f] += x[m + 1, c] * w0 + x[m + 1, c + 1] * w1 + x[m + 1, c + 2] * w2 + x[m + 1, c + 3] * w3
                    y2[f] += x[m + 2, c] * w0 + x[m + 2, c + 1] * w1 + x[m + 2, c + 2] * w2 + x[m + 2, c + 3] * w3
                    y3[f] += x[m + 3, c] * w0 + x[m + 3, c + 1] * w1 + x[m + 3, c + 2] * w2 + x[m + 3, c + 3] * w3
        else:
            for r in range(m, min(m + 4, rows)):
                for c in range(channels):
                    for f in range(filters):
                        y[r, f] += x[r, c] * weight[c, f]
    return y


pointwise_forward = Twin(pointwise_forward_numpy, pointwise_forward_numba)
pointwise_grad_x = Twin(pointwise_grad_x_numpy, pointwise_grad_x_numba)
pointwise_grad_weight = Twin(pointwise_grad_weight_numpy, pointwise_grad_weight_numba)
