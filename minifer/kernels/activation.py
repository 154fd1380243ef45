"""Elementwise activations and the softmax.

clip      y = min(max(x, low), high)             dx = dy where low < x < high, else 0
          ReLU is low 0, high inf; ReLU6 is low 0, high 6. At the two kinks the gradient is taken as 0.
softmax   y[m,c] = exp(x[m,c] - max_c) / sum_c exp(x[m,c] - max_c)
          dx[m,c] = y[m,c] * (dy[m,c] - sum_c dy[m,c] y[m,c])
"""

import numpy as np
from numba import prange

from minifer.kernels.denormals import flush_denormals, restore
from minifer.kernels.twin import Twin, parallel

CHUNK = 4096  # entries per task


def clip_forward_numpy(x, low, high):
    """y for x of one dimension."""
    return np.clip(x, x.dtype.type(low), x.dtype.type(high))


def clip_grad_x_numpy(dy, x, low, high):
    """Return dx for dy, x of one dimension."""
    return np.where((x > low) & (x < high), dy, x.dtype.type(0))


@parallel
def clip_forward_numba(x, low, high):
    """y; a NaN passes through."""
    y = np.empty_like(x)
    low, high = x.dtype.type(low), x.dtype.type(high)
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        x_part, y_part = x[part], y[part]
        for i in range(y_part.size):
            z = low if x_part[i] < low else x_part[i]
            y_part[i] = high if z > high else z
    return y


@parallel
def clip_grad_x_numba(dy, x, low, high):
    """Return dx."""
    dx = np.empty_like(x)
    low, high, zero = x.dtype.type(low), x.dtype.type(high), x.dtype.type(0)
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        dy_part, x_part, dx_part = dy[part], x[part], dx[part]
        for i in range(dx_part.size):
            dx_part[i] = dy_part[i] if low < x_part[i] < high else zero
    return dx


def softmax_forward_numpy(x):
    """y (M, C), each row positive and of sum 1."""
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_grad_x_numpy(dy, y):
    """Return dx (M, C)."""
    return y * (dy - (dy * y).sum(axis=1, keepdims=True))


@parallel
def softmax_forward_numba(x):
    """y; one row per task."""
    rows, width = x.shape
    y = np.empty_like(x)
    for m in prange(rows):
        control = flush_denormals()
        top = x[m, 0]
        for c in range(1, width):
            top = max(top, x[m, c])
        total = x.dtype.type(0)
        for c in range(width):
            y[m, c] = np.exp(x[m, c] - top)
            total += y[m, c]
        for c in range(width):
            y[m, c] /= total
        restore(control)
    return y


@parallel
def softmax_grad_x_numba(dy, y):
    """Return dx; one row per task."""
    rows, width = y.shape
    dx = np.empty_like(y)
    for m in prange(rows):
        control = flush_denormals()
        dot = y.dtype.type(0)
        for c in range(width):
            dot += dy[m, c] * y[m, c]
        for c in range(width):
            dx[m, c] = y[m, c] * (dy[m, c] - dot)
        restore(control)
    return dx


clip_forward = Twin(clip_forward_numpy, clip_forward_numba)
clip_grad_x = Twin(clip_grad_x_numpy, clip_grad_x_numba)
softmax_forward = Twin(softmax_forward_numpy, softmax_forward_numba)
softmax_grad_x = Twin(softmax_grad_x_numpy, softmax_grad_x_numba)
