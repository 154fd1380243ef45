"""Depthwise convolution with the batch normalization on both sides of it: see kernels/fused.py.

    forward     y = depthwise(x), and y's mean and variance                          x = the normalized v
    backward    dx, dweight, and the sums of up to two normalizations whose maps x was made of

One picture at a time is normalized into a cache, filtered as in kernels/depthwise.py, and summed over.
"""

import numpy as np
from numba import prange

from minifer.kernels.denormals import flush_denormals, restore
from minifer.kernels.depthwise import (
    depthwise_forward_numpy,
    depthwise_grad_weight_numpy,
    depthwise_grad_x_numpy,
    offset_lists,
)
from minifer.kernels.fused import (
    BLOCKS,
    SOME,
    add_pieces,
    grad_numpy,
    kept_sums_numpy,
    merge_moments,
    moments_numpy,
    read_numpy,
)
from minifer.kernels.fused_window import window_backward, window_forward
from minifer.kernels.normalized import grad_normalized, read_normalized, sum_kept, sum_moments
from minifer.kernels.rows import multiply_rows
from minifer.kernels.twin import Twin, parallel
from minifer.kernels.window import keeps_size


def fused_depthwise_forward_numpy(v, norm, low, high, weight, stride, padding, dilation):
    """Return y (N,OH,OW,C) and its moments (2, C) for v (N,H,W,C), weight (KH,KW,C)."""
    y = depthwise_forward_numpy(read_numpy(v, norm, low, high), weight, stride, padding, dilation)
    return y, moments_numpy(y)


def fused_depthwise_backward_numpy(
    dz, y, y_norm, y_low, y_high, v, norm, low, high, weight, stride, padding, dilation, more, more_stride,
    of, of_norm, of_low, of_high, also, also_norm,
):  # fmt: skip
    """Return dx (N,H,W,C), dweight and the sums (2, C) of two normalizations.

    more, more_stride    (N,H,W,C) with every more_stride-th row and column, or empty: what is added to dx
    of, of_norm, ...     a map that x is the normalized value of, or was added up from; of_norm is empty without one
    also, also_norm      another one, which is not clipped
    """
    dy = grad_numpy(dz, y, y_norm, y_low, y_high)
    x = read_numpy(v, norm, low, high)
    dweight = depthwise_grad_weight_numpy(x, dy, stride, padding, *weight.shape[:2], dilation)
    dx = depthwise_grad_x_numpy(dy, weight, stride, padding, *v.shape[1:3], dilation)
    if more.size:
        dx[:, ::more_stride, ::more_stride] += more
    of_sums = kept_sums_numpy(dx, of, of_norm, of_low, of_high)
    return dx, dweight, of_sums, kept_sums_numpy(dx, also, also_norm, -np.inf, np.inf)


@parallel
def _depthwise_forward(
    v, norm, low, high, weight, starts, sources, taps, batch, channels, oh, ow, y, sums, pivots, counts
):
    blocks, size = counts.size, v.size // batch
    for block in prange(blocks):
        control = flush_denormals()
        first, last = batch * block // blocks, batch * (block + 1) // blocks
        counts[block] = (last - first) * oh * ow
        lazy = norm.shape[0] > 0
        picture = np.empty(size if lazy else 1, y.dtype)
        for n in range(first, last):
            if lazy:
                for start in range(0, size // channels, SOME):
                    rows, place = min(SOME, size // channels - start), start * channels
                    read_normalized(
                        v, n * size + place, channels, picture, place, channels, norm, low, high, rows, channels
                    )
            for start in range(0, oh * ow, SOME):
                stop, place = min(start + SOME, oh * ow), (n * oh * ow + start) * channels
                for pixel in range(start, stop):
                    multiply_rows(
                        y, place + (pixel - start) * channels, picture if lazy else v, 0 if lazy else n * size, sources,
                        weight, 0, taps, starts[pixel], starts[pixel + 1], channels, False,
                    )  # fmt: skip
                if n == first and start == 0:
                    for c in range(channels):
                        pivots[block, c] = y[place + c]
                sum_moments(y, place, channels, pivots[block], sums[block], stop - start, channels)
        restore(control)


def fused_depthwise_forward_numba(v, norm, low, high, weight, stride, padding, dilation):
    """Return y and its moments."""
    batch, height, width, channels = v.shape
    kh, kw, _ = weight.shape
    window_h, window_w = dilation * (kh - 1) + 1, dilation * (kw - 1) + 1
    oh = (height + padding[0] + padding[1] - window_h) // stride + 1
    ow = (width + padding[2] + padding[3] - window_w) // stride + 1
    y, blocks, real = np.empty((batch, oh, ow, channels), v.dtype), min(BLOCKS, batch), v.dtype.type
    sums, pivots = np.zeros((blocks, 2, channels), np.float64), np.empty((blocks, channels), v.dtype)
    counts = np.empty(blocks, np.int64)
    given = (v.reshape(-1), norm, real(low), real(high), weight.reshape(-1))
    written = (y.reshape(-1), sums, pivots, counts)
    if keeps_size((kh, kw), stride, padding, dilation, (height, width)):
        window_forward(*given, *v.shape, *written)
    else:
        lists = offset_lists("output", oh, v.shape[1:], oh, ow, kh, kw, stride, padding, dilation)
        _depthwise_forward(*given, *lists, batch, channels, oh, ow, *written)
    return y, merge_moments(sums, pivots, counts)


@parallel
def _depthwise_backward(
    dz, y, y_norm, y_low, y_high, v, norm, low, high, weight, x_starts, x_sources, x_taps,
    tap_starts, tap_x, tap_dy, bands, taps, batch, height, width, channels, more, more_stride,
    of, of_norm, of_low, of_high, also, also_norm, dx, parts, sums,
):  # fmt: skip
    blocks, size, y_size = parts.shape[0], v.size // batch, y.size // batch
    more_width = (width + more_stride - 1) // more_stride
    more_size = (height + more_stride - 1) // more_stride * more_width * channels
    infinite = y.dtype.type(np.inf)
    for block in prange(blocks):
        control = flush_denormals()
        lazy = norm.shape[0] > 0
        picture, dy = np.empty(size if lazy else 1, y.dtype), np.empty(y_size, y.dtype)
        part = parts[block].reshape(-1)
        for n in range(batch * block // blocks, batch * (block + 1) // blocks):
            for start in range(0, y_size // channels, SOME):
                rows, place = min(SOME, y_size // channels - start), start * channels
                grad_normalized(
                    dz, y, n * y_size + place, channels, dy, place, channels, y_norm, y_low, y_high, rows, channels
                )
            if lazy:
                for start in range(0, size // channels, SOME):
                    rows, place = min(SOME, size // channels - start), start * channels
                    read_normalized(
                        v, n * size + place, channels, picture, place, channels, norm, low, high, rows, channels
                    )
            for band in range(bands):
                for tap in range(taps):
                    group = band * taps + tap
                    multiply_rows(
                        part, tap * channels, picture if lazy else v, 0 if lazy else n * size, tap_x,
                        dy, 0, tap_dy, tap_starts[group], tap_starts[group + 1], channels, True,
                    )  # fmt: skip
            for start in range(0, height * width, SOME):
                stop, place = min(start + SOME, height * width), (n * height * width + start) * channels
                for pixel in range(start, stop):
                    at = place + (pixel - start) * channels
                    multiply_rows(
                        dx, at, dy, 0, x_sources, weight, 0, x_taps, x_starts[pixel], x_starts[pixel + 1], channels,
                        False,
                    )  # fmt: skip
                    p, q = pixel // width, pixel % width
                    if more.size > 0 and p % more_stride == 0 and q % more_stride == 0:
                        first = n * more_size + (p // more_stride * more_width + q // more_stride) * channels
                        target, source = dx[at : at + channels], more[first : first + channels]
                        for c in range(channels):
                            target[c] += source[c]
                if of_norm.shape[0] > 0:
                    sum_kept(
                        dx, place, channels, of, place, channels, of_norm, of_low, of_high, sums[0, block],
                        stop - start, channels,
                    )  # fmt: skip
                if also_norm.shape[0] > 0:
                    sum_kept(
                        dx, place, channels, also, place, channels, also_norm, -infinite, infinite, sums[1, block],
                        stop - start, channels,
                    )  # fmt: skip
        restore(control)


def fused_depthwise_backward_numba(
    dz, y, y_norm, y_low, y_high, v, norm, low, high, weight, stride, padding, dilation, more, more_stride,
    of, of_norm, of_low, of_high, also, also_norm,
):  # fmt: skip
    """Return dx, dweight and the sums of two normalizations."""
    batch, height, width, channels = v.shape
    _, oh, ow, _ = y.shape
    kh, kw, _ = weight.shape
    slide = keeps_size((kh, kw), stride, padding, dilation, (height, width))
    dx, dweight = np.empty_like(v), np.empty((kh * kw, channels), v.dtype)
    blocks, real, totals = min(BLOCKS, batch), v.dtype.type, np.empty((2, 2, channels), v.dtype)
    parts, sums = np.zeros((blocks, kh * kw, channels), v.dtype), np.zeros((2, blocks, 2, channels), np.float64)
    given = (
        dz.reshape(-1), y.reshape(-1), y_norm, real(y_low), real(y_high), v.reshape(-1), norm, real(low), real(high),
    )  # fmt: skip
    rest = (
        *v.shape, more.reshape(-1), more_stride, of.reshape(-1), of_norm, real(of_low), real(of_high),
        also.reshape(-1), also_norm, dx.reshape(-1), parts, sums,
    )  # fmt: skip
    if slide:
        window_backward(*given, np.ascontiguousarray(weight[::-1, ::-1]).reshape(-1), *rest)
    else:
        geometry = (v.shape[1:], oh, ow, kh, kw, stride, padding, dilation)
        rows = max(1, 8192 // (ow * channels))  # as in kernels/depthwise.py: a band stays in the first-level cache
        by_input, by_tap = offset_lists("input", oh, *geometry), offset_lists("tap", rows, *geometry)
        bands = -(-oh // rows)
        _depthwise_backward(*given, weight.reshape(-1), *by_input, *by_tap, bands, kh * kw, *rest)
    for pieces, total in ((sums[0], totals[0]), (sums[1], totals[1]), (parts, dweight)):
        add_pieces(pieces, total)
    dweight = np.ascontiguousarray(dweight[::-1]) if slide else dweight
    return dx, dweight.reshape(weight.shape), *totals


fused_depthwise_forward = Twin(fused_depthwise_forward_numpy, fused_depthwise_forward_numba)
fused_depthwise_backward = Twin(fused_depthwise_backward_numpy, fused_depthwise_backward_numba)
