"""Pooling over K x K windows: the largest value, or the mean, of the pixels of a window that lie in the picture.

max       y[n,i,j,c] = max over u, v of  x[n, i*s+u-top, j*s+v-left, c]    tap[n,i,j,c] = u*K + v, the first if several
          dx[n, i*s+u-top, j*s+v-left, c] += dy[n,i,j,c]                   at that tap
average   y[n,i,j,c] = 1/size[i,j] * sum over u, v of the same x             size: pixels of the window in the picture
          dx[...] += dy[n,i,j,c] / size[i,j]                                 at all of them

What lies outside the picture is never the largest and is not averaged, as in TensorFlow. Windows may overlap.
"""

import numpy as np
from numba import prange

from minifer.kernels.denormals import flush_denormals, restore
from minifer.kernels.twin import Twin, parallel, serial


def _windows(height, width, kernel, stride, top, left, oh, ow):
    """Yield (tap, outputs' rows and columns, inputs' rows and columns) of each tap where it meets the picture."""
    for u in range(kernel):
        for v in range(kernel):
            rows = np.arange(oh) * stride + u - top
            columns = np.arange(ow) * stride + v - left
            i, j = np.flatnonzero((rows >= 0) & (rows < height)), np.flatnonzero((columns >= 0) & (columns < width))
            if len(i) and len(j):
                yield u * kernel + v, np.ix_(i, j), np.ix_(rows[i], columns[j])


def max_pool_forward_numpy(x, kernel, stride, top, left, oh, ow):
    """Return y and tap (N,OH,OW,C), tap int64, for x (N,H,W,C)."""
    batch, height, width, channels = x.shape
    y = np.full((batch, oh, ow, channels), -np.inf, x.dtype)
    tap = np.full(y.shape, -1, np.int64)
    for number, (i, j), (r, s) in _windows(height, width, kernel, stride, top, left, oh, ow):
        seen = x[:, r, s]
        larger = (seen > y[:, i, j]) | np.isnan(seen) | (tap[:, i, j] < 0)
        tap[:, i, j] = np.where(larger, number, tap[:, i, j])
        y[:, i, j] = np.where(larger, seen, y[:, i, j])
    return y, tap


def max_pool_grad_x_numpy(dy, tap, kernel, stride, top, left, height, width):
    """Return dx (N,H,W,C) for dy and tap (N,OH,OW,C)."""
    batch, oh, ow, channels = dy.shape
    dx = np.zeros((batch, height, width, channels), dy.dtype)
    for number, (i, j), (r, s) in _windows(height, width, kernel, stride, top, left, oh, ow):
        dx[:, r, s] += np.where(tap[:, i, j] == number, dy[:, i, j], dy.dtype.type(0))
    return dx


def _sizes(height, width, kernel, stride, top, left, oh, ow, dtype):
    size = np.zeros((oh, ow, 1), dtype)
    for _, (i, j), _ in _windows(height, width, kernel, stride, top, left, oh, ow):
        size[i, j] += 1
    return size


def average_pool_forward_numpy(x, kernel, stride, top, left, oh, ow):
    """y (N,OH,OW,C) for x (N,H,W,C)."""
    batch, height, width, channels = x.shape
    y = np.zeros((batch, oh, ow, channels), x.dtype)
    for _, (i, j), (r, s) in _windows(height, width, kernel, stride, top, left, oh, ow):
        y[:, i, j] += x[:, r, s]
    return y / _sizes(height, width, kernel, stride, top, left, oh, ow, x.dtype)


def average_pool_grad_x_numpy(dy, kernel, stride, top, left, height, width):
    """Return dx (N,H,W,C) for dy (N,OH,OW,C)."""
    batch, oh, ow, channels = dy.shape
    share = dy / _sizes(height, width, kernel, stride, top, left, oh, ow, dy.dtype)
    dx = np.zeros((batch, height, width, channels), dy.dtype)
    for _, (i, j), (r, s) in _windows(height, width, kernel, stride, top, left, oh, ow):
        dx[:, r, s] += share[:, i, j]
    return dx


@serial
def _span(place, stride, before, kernel, size):
    """Return the first row (or column) of a window that lies in the picture, and the one after the last."""
    first = place * stride - before
    return max(first, 0), min(first + kernel, size)


@parallel
def max_pool_forward_numba(x, kernel, stride, top, left, oh, ow):
    """Twin of max_pool_forward_numpy: one row of the output per task, channels innermost."""
    batch, height, width, channels = x.shape
    y = np.empty((batch, oh, ow, channels), x.dtype)
    tap = np.empty((batch, oh, ow, channels), np.int64)
    for task in prange(batch * oh):
        control = flush_denormals()
        n, i = task // oh, task % oh
        first, last = _span(i, stride, top, kernel, height)
        for j in range(ow):
            left_most, right_most = _span(j, stride, left, kernel, width)
            start = (first - i * stride + top) * kernel + left_most - j * stride + left
            for c in range(channels):
                y[n, i, j, c], tap[n, i, j, c] = x[n, first, left_most, c], start
            for p in range(first, last):
                for q in range(left_most, right_most):
                    number = (p - i * stride + top) * kernel + q - j * stride + left
                    for c in range(channels):
                        seen = x[n, p, q, c]
                        if seen > y[n, i, j, c] or np.isnan(seen):  # a NaN passes, as it does elsewhere
                            y[n, i, j, c], tap[n, i, j, c] = seen, number
        restore(control)
    return y, tap


@parallel
def max_pool_grad_x_numba(dy, tap, kernel, stride, top, left, height, width):
    """Twin of max_pool_grad_x_numpy: one picture per task, since windows overlap."""
    batch, oh, ow, channels = dy.shape
    dx = np.zeros((batch, height, width, channels), dy.dtype)
    for n in prange(batch):
        control = flush_denormals()
        for i in range(oh):
            for j in range(ow):
                for c in range(channels):
                    u, v = tap[n, i, j, c] // kernel, tap[n, i, j, c] % kernel
                    dx[n, i * stride + u - top, j * stride + v - left, c] += dy[n, i, j, c]
        restore(control)
    return dx


@parallel
def average_pool_forward_numba(x, kernel, stride, top, left, oh, ow):
    """Twin of average_pool_forward_numpy: one row of the output per task."""
    batch, height, width, channels = x.shape
    y = np.zeros((batch, oh, ow, channels), x.dtype)
    for task in prange(batch * oh):
        control = flush_denormals()
        n, i = task // oh, task % oh
        first, last = _span(i, stride, top, kernel, height)
        for j in range(ow):
            left_most, right_most = _span(j, stride, left, kernel, width)
            for p in range(first, last):
                for q in range(left_most, right_most):
                    for c in range(channels):
                        y[n, i, j, c] += x[n, p, q, c]
            size = x.dtype.type((last - first) * (right_most - left_most))
            for c in range(channels):
                y[n, i, j, c] /= size
        restore(control)
    return y


@parallel
def average_pool_grad_x_numba(dy, kernel, stride, top, left, height, width):
    """Twin of average_pool_grad_x_numpy: one picture per task."""
    batch, oh, ow, channels = dy.shape
    dx = np.zeros((batch, height, width, channels), dy.dtype)
    for n in prange(batch):
        control = flush_denormals()
        for i in range(oh):
            first, last = _span(i, stride, top, kernel, height)
            for j in range(ow):
                left_most, right_most = _span(j, stride, left, kernel, width)
                size = dy.dtype.type((last - first) * (right_most - left_most))
                for p in range(first, last):
                    for q in range(left_most, right_most):
                        for c in range(channels):
                            dx[n, p, q, c] += dy[n, i, j, c] / size
        restore(control)
    return dx


max_pool_forward = Twin(max_pool_forward_numpy, max_pool_forward_numba)
max_pool_grad_x = Twin(max_pool_grad_x_numpy, max_pool_grad_x_numba)
average_pool_forward = Twin(average_pool_forward_numpy, average_pool_forward_numba)
average_pool_grad_x = Twin(average_pool_grad_x_numpy, average_pool_grad_x_numba)
