"""Global average pooling: y[n,c] = 1/(H*W) sum_ij x[n,i,j,c], hence dx[n,i,j,c] = dy[n,c] / (H*W)."""

import numpy as np
from numba import prange

from minifer.kernels.denormals import flush_denormals, restore
from minifer.kernels.twin import Twin, parallel


def global_average_numpy(x):
    """y (N, C) for x (N, H, W, C)."""
    return x.mean(axis=(1, 2))


def global_average_grad_x_numpy(dy, height, width):
    """Return dx (N, H, W, C)."""
    share = dy / dy.dtype.type(height * width)
    return np.ascontiguousarray(np.broadcast_to(share[:, None, None, :], (len(dy), height, width, dy.shape[1])))


@parallel
def global_average_numba(x):
    """y; one picture per task."""
    batch, height, width, channels = x.shape
    y = np.zeros((batch, channels), x.dtype)
    share = x.dtype.type(1) / x.dtype.type(height * width)
    for n in prange(batch):
        control = flush_denormals()
        for i in range(height):
            for j in range(width):
                for c in range(channels):
                    y[n, c] += x[n, i, j, c]
        for c in range(channels):
            y[n, c] *= share
        restore(control)
    return y


@parallel
def global_average_grad_x_numba(dy, height, width):
    """Return dx; one picture per task."""
    batch, channels = dy.shape
    dx = np.empty((batch, height, width, channels), dy.dtype)
    size = dy.dtype.type(height * width)
    for n in prange(batch):
        control = flush_denormals()
        for i in range(height):
            for j in range(width):
                for c in range(channels):
                    dx[n, i, j, c] = dy[n, c] / size
        restore(control)
    return dx


global_average = Twin(global_average_numpy, global_average_numba)
global_average_grad_x = Twin(global_average_grad_x_numpy, global_average_grad_x_numba)
