"""Ordinary convolution, as im2col: gather every window as a row, and the convolution is one matrix product.

    patches[(n,i,j), (u,v,c)] = x[n, i*s+u-top, j*s+v-left, c]           (0 outside the picture)
    y       = patches @ weight        with weight (KH,KW,C,F) read as (KH*KW*C, F)
    dweight = patches.T @ dy
    dx      = the windows of dy @ weight.T added back to where they came from

Only the stem of a MobileNet is an ordinary convolution; the two gathering kernels are here, the products are those of
kernels/pointwise.py.
"""

import numpy as np
from numba import prange

from minifer.kernels.depthwise import offset_lists
from minifer.kernels.twin import Twin, parallel

CHUNKS = 4  # pieces of a picture, for the threads to share


def gather_patches_numpy(x, kh, kw, stride, padding):
    """Return patches (N*OH*OW, KH*KW*C) of x (N,H,W,C); padding = (top, bottom, left, right)."""
    top, bottom, left, right = padding
    x_padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x_padded, (kh, kw), axis=(1, 2))[:, ::stride, ::stride]
    return np.ascontiguousarray(windows.transpose(0, 1, 2, 4, 5, 3)).reshape(-1, kh * kw * x.shape[3])


def scatter_patches_numpy(patches, batch, height, width, channels, kh, kw, stride, padding):
    """Return (N,H,W,C) with every window of patches added where gather_patches found it."""
    top, bottom, left, right = padding
    oh = (height + top + bottom - kh) // stride + 1
    ow = (width + left + right - kw) // stride + 1
    windows = patches.reshape(batch, oh, ow, kh, kw, channels)
    x_padded = np.zeros((batch, height + top + bottom, width + left + right, channels), patches.dtype)
    for u in range(kh):
        for v in range(kw):
            x_padded[:, u : u + stride * oh : stride, v : v + stride * ow : stride] += windows[:, :, :, u, v]
    return np.ascontiguousarray(x_padded[:, top : top + height, left : left + width])


@parallel
def _gather_patches(x, starts, sources, taps, batch, positions, channels, patches):
    size = x.size // batch
    for task in prange(batch * CHUNKS):
        n, chunk = task // CHUNKS, task % CHUNKS
        for i in range(positions * chunk // CHUNKS, positions * (chunk + 1) // CHUNKS):
            patch = patches[n * positions + i]
            if (starts[i + 1] - starts[i]) * channels < patch.size:
                patch[:] = 0
            for t in range(starts[i], starts[i + 1]):
                at, tap = n * size + sources[t], taps[t]
                if channels == 1:  # a loop over one channel takes longer than its one turn
                    patch[tap] = x[at]
                    continue
                for c in range(channels):
                    patch[tap + c] = x[at + c]


def gather_patches_numba(x, kh, kw, stride, padding):
    """Return patches; which entry of the picture goes where is listed once for all pictures (kernels/depthwise.py)."""
    batch, height, width, channels = x.shape
    oh = (height + padding[0] + padding[1] - kh) // stride + 1
    ow = (width + padding[2] + padding[3] - kw) // stride + 1
    lists = offset_lists("output", oh, x.shape[1:], oh, ow, kh, kw, stride, tuple(padding))
    patches = np.empty((batch * oh * ow, kh * kw * channels), x.dtype)
    _gather_patches(np.ascontiguousarray(x).reshape(-1), *lists, batch, oh * ow, channels, patches)
    return patches


@parallel
def scatter_patches_numba(patches, batch, height, width, channels, kh, kw, stride, padding):
    """Return (N,H,W,C), one picture per task."""
    top, bottom, left, right = padding
    oh = (height + top + bottom - kh) // stride + 1
    ow = (width + left + right - kw) // stride + 1
    x = np.zeros((batch, height, width, channels), patches.dtype)
    for n in prange(batch):
        for i in range(oh):
            for j in range(ow):
                patch = patches[(n * oh + i) * ow + j]
                for u in range(max(0, top - i * stride), min(kh, height + top - i * stride)):
                    for v in range(max(0, left - j * stride), min(kw, width + left - j * stride)):
                        for c in range(channels):
                            x[n, i * stride + u - top, j * stride + v - left, c] += patch[(u * kw + v) * channels + c]
    return x


gather_patches = Twin(gather_patches_numpy, gather_patches_numba)
scatter_patches = Twin(scatter_patches_numpy, scatter_patches_numba)
