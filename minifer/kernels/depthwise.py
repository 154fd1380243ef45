"""Depthwise convolution: every channel is filtered by its own kernel, no channel sees another.

    y[n,i,j,c]      = sum_uv  x[n, i*s+u*d-top, j*s+v*d-left, c] * weight[u,v,c]    (0 outside the picture)
    dx[n,p,q,c]     = sum_uv dy[n, (p+top-u*d)/s, (q+left-v*d)/s, c] * weight[u,v,c]    (where s divides both)
    dweight[u,v,c]  = sum_nij x[n, i*s+u*d-top, j*s+v*d-left, c] * dy[n,i,j,c]

padding = (top, bottom, left, right); d is the dilation, how far apart the taps lie: 1 for neighbours. The NumPy
references pad a copy; the Numba twins leave out what lies outside, so that no padded copy is ever made. Channels are
innermost: neighbours in memory, hence lanes of one vector.

Cost N*OH*OW*C*KH*KW multiply-adds for each of the three.   Source: Howard et al., MobileNets, 2017, section 3.1.
"""

import functools

import numpy as np
from numba import prange

from minifer.kernels.denormals import flush_denormals, restore
from minifer.kernels.rows import multiply_rows
from minifer.kernels.twin import Twin, parallel, serial
from minifer.kernels.window import TAPS, ZEROS, filter_row, keeps_size, slides, sum_row, three_rows

MANY = 32  # pictures: pieces of work enough for the threads
BLOCKS = 16  # a weight gradient sums over the batch in this many parts, whatever the thread count


def _padded(x, padding):
    top, bottom, left, right = padding
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))


def _output_size(size, kernel, stride, before, after, dilation):
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1


def _taps(x_padded, u, v, stride, rows, columns):
    """Return the strided view of x_padded that the tap u rows and v columns into the window meets."""
    return x_padded[:, u : u + stride * rows : stride, v : v + stride * columns : stride]


def depthwise_forward_numpy(x, weight, stride, padding, dilation=1):
    """y (N,OH,OW,C) for x (N,H,W,C), weight (KH,KW,C)."""
    kh, kw, _ = weight.shape
    oh = _output_size(x.shape[1], kh, stride, *padding[:2], dilation)
    ow = _output_size(x.shape[2], kw, stride, *padding[2:], dilation)
    x_padded, d = _padded(x, padding), dilation
    return sum(_taps(x_padded, u * d, v * d, stride, oh, ow) * weight[u, v] for u in range(kh) for v in range(kw))


def depthwise_grad_x_numpy(dy, weight, stride, padding, height, width, dilation=1):
    """Return dx (N,H,W,C) for dy (N,OH,OW,C)."""
    kh, kw, channels = weight.shape
    top, _, left, _ = padding
    dx_padded = _padded(np.zeros((len(dy), height, width, channels), dy.dtype), padding)
    for u in range(kh):
        for v in range(kw):
            taps = _taps(dx_padded, u * dilation, v * dilation, stride, *dy.shape[1:3])
            taps += dy * weight[u, v]
    return np.ascontiguousarray(dx_padded[:, top : top + height, left : left + width])


def depthwise_grad_weight_numpy(x, dy, stride, padding, kh, kw, dilation=1):
    """Return dweight (KH,KW,C)."""
    x_padded = _padded(x, padding)
    oh, ow = dy.shape[1:3]
    dweight = np.empty((kh, kw, x.shape[3]), x.dtype)
    for u in range(kh):
        for v in range(kw):
            taps = _taps(x_padded, u * dilation, v * dilation, stride, oh, ow)
            dweight[u, v] = (taps * dy).sum(axis=(0, 1, 2))
    return dweight


# The compiled twins. Which numbers are multiplied depends on the geometry alone, so each pass first lists them, once
# for all pictures and channels: pairs of offsets, for every place that receives a sum. What lies outside the picture
# is not in the list. The sums themselves are then all of one form (kernels/rows.py), channels innermost. What most
# layers are, 3x3 on maps that are not tiny, needs no lists: kernels/window.py.


@serial
def _pairs(oh, ow, height, width, kh, kw, stride, top, left, dilation, channels):
    """Return all (output pixel, input pixel, tap) that belong together: three arrays of offsets, in entries."""
    most = oh * ow * kh * kw
    outputs, inputs, taps = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    count = 0
    for i in range(oh):
        for j in range(ow):
            for u in range(kh):
                p = i * stride + u * dilation - top
                for v in range(kw):
                    q = j * stride + v * dilation - left
                    if 0 <= p < height and 0 <= q < width:
                        outputs[count] = (i * ow + j) * channels
                        inputs[count] = (p * width + q) * channels
                        taps[count] = (u * kw + v) * channels
                        count += 1
    return outputs[:count], inputs[:count], taps[:count]


@serial
def _grouped(key, groups, channels, a, b):
    """Return (starts, a, b): the pairs of offsets a, b sorted by key (a counting sort), and where each group starts."""
    starts = np.zeros(groups + 1, np.int64)
    for k in key:
        starts[k // channels + 1] += 1
    starts = np.cumsum(starts)
    at = starts[:-1].copy()
    a_sorted, b_sorted = np.empty_like(a), np.empty_like(b)
    for t in range(key.size):
        group = key[t] // channels
        a_sorted[at[group]], b_sorted[at[group]] = a[t], b[t]
        at[group] += 1
    return starts, a_sorted, b_sorted


@serial
def _parts_of_picture(batch):
    """Return into how many parts a picture is cut for the threads: one where there are many pictures."""
    return max(1, min(8, MANY // max(1, batch)))


@parallel
def _gather(source, pixels, weight, starts, source_offsets, weight_offsets, batch, channels):
    """Return (N * pixels * C): for every pixel the sum of source * weight over its pairs."""
    out = np.empty(batch * pixels * channels, source.dtype)
    source_size = source.size // batch
    chunks = min(pixels, _parts_of_picture(batch))
    for task in prange(batch * chunks):
        control = flush_denormals()
        n, chunk = task // chunks, task % chunks
        for pixel in range(pixels * chunk // chunks, pixels * (chunk + 1) // chunks):
            multiply_rows(
                out, (n * pixels + pixel) * channels, source, n * source_size, source_offsets,
                weight, 0, weight_offsets, starts[pixel], starts[pixel + 1], channels, False,
            )  # fmt: skip
        restore(control)
    return out


@functools.lru_cache(maxsize=128)  # a network asks for the same few lists at every step
def offset_lists(by, rows_of_band, x_shape, oh, ow, kh, kw, stride, padding, dilation=1):
    """Return (starts, two lists of offsets): the pairs grouped by "output", by "input", or by "tap" within bands."""
    height, width, channels = x_shape
    top, _, left, _ = padding
    outputs, inputs, taps = _pairs(oh, ow, height, width, kh, kw, stride, top, left, dilation, channels)
    if by == "output":
        return _grouped(outputs, oh * ow, channels, inputs, taps)
    if by == "input":
        return _grouped(inputs, height * width, channels, outputs, taps)
    key = outputs // (rows_of_band * ow * channels) * (kh * kw * channels) + taps
    return _grouped(key, -(-oh // rows_of_band) * kh * kw, channels, inputs, outputs)


@parallel
def _filter_rows(source, weight, batch, height, width, channels):
    """Return (N * H * W * C): the sum over a window of 3x3 round every pixel, see kernels/window.py."""
    out, line = np.empty_like(source), width * channels
    chunks = min(height, _parts_of_picture(batch))
    for task in prange(batch * chunks):
        control = flush_denormals()
        n, chunk = task // chunks, task % chunks
        zeros = np.zeros(ZEROS, source.dtype)
        for row in range(height * chunk // chunks, height * (chunk + 1) // chunks):
            first, second, third = three_rows(row - 1, height, n * height * line, line, height)
            filter_row(out, second, source, first, second, third, zeros, weight, width, channels)
        restore(control)
    return out


def depthwise_forward_numba(x, weight, stride, padding, dilation=1):
    """y (N,OH,OW,C): every output gathers the inputs under its window."""
    batch, height, width, channels = x.shape
    kh, kw, _ = weight.shape
    if keeps_size((kh, kw), stride, padding, dilation, (height, width)):
        return _filter_rows(x.reshape(-1), weight.reshape(-1), *x.shape).reshape(x.shape)
    oh = _output_size(height, kh, stride, *padding[:2], dilation)
    ow = _output_size(width, kw, stride, *padding[2:], dilation)
    lists = offset_lists("output", oh, x.shape[1:], oh, ow, kh, kw, stride, padding, dilation)
    y = _gather(x.reshape(-1), oh * ow, weight.reshape(-1), *lists, batch, channels)
    return y.reshape(batch, oh, ow, channels)


def depthwise_grad_x_numba(dy, weight, stride, padding, height, width, dilation=1):
    """Return dx (N,H,W,C): every input gathers the outputs it took part in, so no two tasks write to one place."""
    batch, oh, ow, channels = dy.shape
    kh, kw, _ = weight.shape
    if keeps_size((kh, kw), stride, padding, dilation, (height, width)):
        turned = np.ascontiguousarray(weight[::-1, ::-1])
        return _filter_rows(dy.reshape(-1), turned.reshape(-1), *dy.shape).reshape(dy.shape)
    lists = offset_lists("input", oh, (height, width, channels), oh, ow, kh, kw, stride, padding, dilation)
    dx = _gather(dy.reshape(-1), height * width, weight.reshape(-1), *lists, batch, channels)
    return dx.reshape(batch, height, width, channels)


@parallel
def _sum_over_positions(x, dy, starts, x_offsets, dy_offsets, bands, taps, batch, channels):
    """Return (BLOCKS, taps * C): the sums of x * dy over the positions of each tap, for every block of pictures."""
    blocks = min(BLOCKS, batch)
    parts = np.zeros((blocks, taps * channels), x.dtype)
    parts_flat = parts.reshape(-1)
    x_size, dy_size = x.size // batch, dy.size // batch
    for block in prange(blocks):
        control = flush_denormals()
        for n in range(batch * block // blocks, batch * (block + 1) // blocks):
            for band in range(bands):
                for tap in range(taps):
                    group = band * taps + tap
                    multiply_rows(
                        parts_flat, (block * taps + tap) * channels, x, n * x_size, x_offsets,
                        dy, n * dy_size, dy_offsets, starts[group], starts[group + 1], channels, True,
                    )  # fmt: skip
        restore(control)
    return parts


@parallel
def _sum_over_rows(x, dy, batch, height, width, channels, top, left, stride, oh, ow):
    """Return (BLOCKS, TAPS * C): the same for windows of 3x3, see kernels/window.py."""
    blocks, line, dy_line = min(BLOCKS, batch), width * channels, ow * channels
    parts = np.zeros((blocks, TAPS * channels), x.dtype)
    for block in prange(blocks):
        control = flush_denormals()
        zeros, part = np.zeros(ZEROS, x.dtype), parts[block]
        for n in range(batch * block // blocks, batch * (block + 1) // blocks):
            for row in range(oh):
                first, second, third = three_rows(row * stride - top, height, n * height * line, line, height)
                sum_row(
                    x, first, second, third, zeros, width, left, stride, dy, (n * oh + row) * dy_line, part, 0, ow,
                    channels,
                )  # fmt: skip
        restore(control)
    return parts


def depthwise_grad_weight_numba(x, dy, stride, padding, kh, kw, dilation=1):
    """Return dweight (KH,KW,C): a fixed number of blocks of pictures, summed in order, so the bits never change."""
    batch, oh, ow, channels = dy.shape
    if slides((kh, kw), stride, dilation, x.shape[1:3]):
        geometry = (padding[0], padding[2], stride, oh, ow)
        parts = _sum_over_rows(x.reshape(-1), dy.reshape(-1), *x.shape, *geometry)
        return np.add.reduce(parts, axis=0).reshape(kh, kw, channels)
    # All taps pass over a band of rows before the next band is read, while it is still in a near cache.
    rows = max(1, 8192 // (ow * channels))
    bands = -(-oh // rows)
    lists = offset_lists("tap", rows, x.shape[1:], oh, ow, kh, kw, stride, padding, dilation)
    parts = _sum_over_positions(x.reshape(-1), dy.reshape(-1), *lists, bands, kh * kw, batch, channels)
    return np.add.reduce(parts, axis=0).reshape(kh, kw, channels)


depthwise_forward = Twin(depthwise_forward_numpy, depthwise_forward_numba)
depthwise_grad_x = Twin(depthwise_grad_x_numpy, depthwise_grad_x_numba)
depthwise_grad_weight = Twin(depthwise_grad_weight_numpy, depthwise_grad_weight_numba)
