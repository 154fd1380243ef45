"""Depthwise convolution: every channel is filtered by its own kernel, no channel sees another.

    y[n,i,j,c]      = sum_uv  x[n, i*s+u-top, j*s+v-left, c] * weight[u,v,c]        (0 outside the picture)
    dx[n,p,q,c]     = sum_uv dy[n, (p+top-u)/s, (q+left-v)/s, c] * weight[u,v,c]    (where s divides both)
    dweight[u,v,c]  = sum_nij x[n, i*s+u-top, j*s+v-left, c] * dy[n,i,j,c]

padding = (top, bottom, left, right). The NumPy references pad a copy; the Numba twins clip their loops instead, so that
no padded copy is ever made. Channels are innermost: neighbours in memory, hence lanes of one vector.

Cost N*OH*OW*C*KH*KW multiply-adds for each of the three.   Source: Howard et al., MobileNets, 2017, section 3.1.
"""

import numpy as np
from numba import njit, prange

from minifer.kernels.twin import Twin

BLOCKS = 16  # a weight gradient sums over the batch in this many parts, whatever the thread count


def _padded(x, padding):
    top, bottom, left, right = padding
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))


def _output_size(size, kernel, stride, before, after):
    return (size + before + after - kernel) // stride + 1


def _taps(x_padded, u, v, stride, rows, columns):
    """Return the strided view of x_padded that tap (u, v) of the kernel meets."""
    return x_padded[:, u : u + stride * rows : stride, v : v + stride * columns : stride]


def depthwise_forward_numpy(x, weight, stride, padding):
    """y (N,OH,OW,C) for x (N,H,W,C), weight (KH,KW,C)."""
    kh, kw, _ = weight.shape
    oh = _output_size(x.shape[1], kh, stride, *padding[:2])
    ow = _output_size(x.shape[2], kw, stride, *padding[2:])
    x_padded = _padded(x, padding)
    return sum(_taps(x_padded, u, v, stride, oh, ow) * weight[u, v] for u in range(kh) for v in range(kw))


def depthwise_grad_x_numpy(dy, weight, stride, padding, height, width):
    """Return dx (N,H,W,C) for dy (N,OH,OW,C)."""
    kh, kw, channels = weight.shape
    top, _, left, _ = padding
    dx_padded = _padded(np.zeros((len(dy), height, width, channels), dy.dtype), padding)
    for u in range(kh):
        for v in range(kw):
            taps = _taps(dx_padded, u, v, stride, *dy.shape[1:3])
            taps += dy * weight[u, v]
    return np.ascontiguousarray(dx_padded[:, top : top + height, left : left + width])


def depthwise_grad_weight_numpy(x, dy, stride, padding, kh, kw):
    """Return dweight (KH,KW,C)."""
    x_padded = _padded(x, padding)
    oh, ow = dy.shape[1:3]
    dweight = np.empty((kh, kw, x.shape[3]), x.dtype)
    for u in range(kh):
        for v in range(kw):
            dweight[u, v] = (_taps(x_padded, u, v, stride, oh, ow) * dy).sum(axis=(0, 1, 2))
    return dweight


@njit(parallel=True, cache=True, error_model="numpy")
def depthwise_forward_numba(x, weight, stride, padding):
    """y (N,OH,OW,C): one row of outputs per task; away from the border all nine taps of a 3x3 kernel in one pass."""
    batch, height, width, channels = x.shape
    kh, kw, _ = weight.shape
    top, bottom, left, right = padding
    oh = (height + top + bottom - kh) // stride + 1
    ow = (width + left + right - kw) // stride + 1
    y = np.empty((batch, oh, ow, channels), x.dtype)
    for row in prange(batch * oh):
        n, i = row // oh, row % oh
        p = i * stride - top
        for j in range(ow):
            q = j * stride - left
            out = y[n, i, j]
            if kh == 3 and kw == 3 and p >= 0 and q >= 0 and p + 3 <= height and q + 3 <= width:
                for c in range(channels):
                    out[c] = (
                        x[n, p, q, c] * weight[0, 0, c]
                        + x[n, p, q + 1, c] * weight[0, 1, c]
                        + x[n, p, q + 2, c] * weight[0, 2, c]
                        + x[n, p + 1, q, c] * weight[1, 0, c]
                        + x[n, p + 1, q + 1, c] * weight[1, 1, c]
                        + x[n, p + 1, q + 2, c] * weight[1, 2, c]
                        + x[n, p + 2, q, c] * weight[2, 0, c]
                        + x[n, p + 2, q + 1, c] * weight[2, 1, c]
                        + x[n, p + 2, q + 2, c] * weight[2, 2, c]
                    )
                continue
            out[:] = 0
            for u in range(max(0, -p), min(kh, height - p)):
                for v in range(max(0, -q), min(kw, width - q)):
                    for c in range(channels):
                        out[c] += x[n, p + u, q + v, c] * weight[u, v, c]
    return y


@njit(parallel=True, cache=True, error_model="numpy")
def depthwise_grad_x_numba(dy, weight, stride, padding, height, width):
    """Return dx (N,H,W,C): each entry gathers the outputs it took part in, so that no two tasks write to one place."""
    batch, oh, ow, channels = dy.shape
    kh, kw, _ = weight.shape
    top, _, left, _ = padding
    dx = np.empty((batch, height, width, channels), dy.dtype)
    for row in prange(batch * height):
        n, p = row // height, row % height
        for q in range(width):
            out = dx[n, p, q]
            i, j = p + top - 2, q + left - 2
            if stride == 1 and kh == 3 and kw == 3 and i >= 0 and j >= 0 and i + 3 <= oh and j + 3 <= ow:
                for c in range(channels):
                    out[c] = (
                        dy[n, i, j, c] * weight[2, 2, c]
                        + dy[n, i, j + 1, c] * weight[2, 1, c]
                        + dy[n, i, j + 2, c] * weight[2, 0, c]
                        + dy[n, i + 1, j, c] * weight[1, 2, c]
                        + dy[n, i + 1, j + 1, c] * weight[1, 1, c]
                        + dy[n, i + 1, j + 2, c] * weight[1, 0, c]
                        + dy[n, i + 2, j, c] * weight[0, 2, c]
                        + dy[n, i + 2, j + 1, c] * weight[0, 1, c]
                        + dy[n, i + 2, j + 2, c] * weight[0, 0, c]
                    )
                continue
            out[:] = 0
            for u in range((p + top) % stride, kh, stride):
                i = (p + top - u) // stride
                if i < 0 or i >= oh:
                    continue
                for v in range((q + left) % stride, kw, stride):
                    j = (q + left - v) // stride
                    if j < 0 or j >= ow:
                        continue
                    for c in range(channels):
                        out[c] += dy[n, i, j, c] * weight[u, v, c]
    return dx


@njit(parallel=True, cache=True, error_model="numpy")
def depthwise_grad_weight_numba(x, dy, stride, padding, kh, kw):
    """Return dweight (KH,KW,C): a fixed number of blocks of pictures, summed in order, so the bits never change."""
    batch, height, width, channels = x.shape
    oh, ow = dy.shape[1:3]
    top, _, left, _ = padding
    blocks = min(BLOCKS, batch)
    parts = np.zeros((blocks, kh, kw, channels), x.dtype)
    for block in prange(blocks):
        part = parts[block]
        for n in range(batch * block // blocks, batch * (block + 1) // blocks):
            for i in range(oh):
                p = i * stride - top
                for j in range(ow):
                    q = j * stride - left
                    for u in range(max(0, -p), min(kh, height - p)):
                        for v in range(max(0, -q), min(kw, width - q)):
                            for c in range(channels):
                                part[u, v, c] += x[n, p + u, q + v, c] * dy[n, i, j, c]
    dweight = parts[0].copy()
    for block in range(1, blocks):
        dweight += parts[block]
    return dweight


depthwise_forward = Twin(depthwise_forward_numpy, depthwise_forward_numba)
depthwise_grad_x = Twin(depthwise_grad_x_numpy, depthwise_grad_x_numba)
depthwise_grad_weight = Twin(depthwise_grad_weight_numpy, depthwise_grad_weight_numba)
