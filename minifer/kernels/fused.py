"""Convolution and batch normalization together: every map is read and written once, for all that happens to it.

Layer by layer a normalized map is read and written eight times in a step, at the speed of memory. Here a map between
two convolutions is kept as the first one made it, v, and its normalization is a promise that its reader keeps:

    x = clip((v - mean) * scale + beta, low, high)        scale = gamma * inv_std        (or x = v: nothing is promised)

    forward     reads v, computes y = convolution(x), and sums y's statistics while y is in the cache
    backward    reads dz, the gradient of what y's own reader made of it, computes
                dy = scale * dz - offset - (y - mean) * slope       (of y's normalization; dz = 0 where clipped)
                dx, dweight                                         as in kernels/pointwise.py and kernels/depthwise.py
                sum dx, sum dx * (v - mean)                         where x is not clipped: of v's normalization

Both go through the maps in pieces that stay in a core's second-level cache: a few rows of a product, one picture of a
depthwise convolution. A normalization is an array (5, C): mean, scale, beta, slope, offset, or of no rows where there
is none. Sums are made of a fixed number of pieces, in float64 but within a piece, and added in order: the same bits for
every number of threads. Equations: kernels/normalization.py.
"""

import numpy as np
from numba import prange

from minifer.kernels.depthwise import (
    depthwise_forward_numpy,
    depthwise_grad_weight_numpy,
    depthwise_grad_x_numpy,
    offset_lists,
)
from minifer.kernels.normalization import kept_sums_numba
from minifer.kernels.normalized import (
    add_normalized,
    copy_sum_kept,
    copy_summing,
    grad_normalized,
    read_normalized,
    sum_kept,
    sum_moments,
)
from minifer.kernels.packing import copy_panel, transpose_panel
from minifer.kernels.rows import multiply_rows
from minifer.kernels.tile import PANEL, TILE_ROWS, multiply_tile
from minifer.kernels.twin import Twin, parallel, serial

TASKS = 8  # pieces of a product, for the threads to share
BLOCKS = 16  # pieces of a batch of pictures
ROWS = 96  # rows of a product that are worked on at a time: whole tiles, and two maps of them fit into a cache
SOME = 48  # positions of a picture that are worked on at a time: they stay in the first-level cache
LINE = 64  # bytes of a cache line


def read_numpy(v, norm, low, high):
    """Return x for v (..., C)."""
    return v if len(norm) == 0 else np.clip((v - norm[0]) * norm[1] + norm[2], low, high).astype(v.dtype)


def _moments_numpy(y):
    """Return mean and variance (2, C)."""
    rows = y.reshape(-1, y.shape[-1]).astype(np.float64)
    return np.stack([rows.mean(axis=0), rows.var(axis=0)]).astype(y.dtype)


def _grad_numpy(dz, y, norm, low, high):
    """Return dy."""
    mean, scale, beta, slope, offset = norm
    z = (y - mean) * scale + beta
    return (scale * np.where((z > low) & (z < high), dz, 0) - offset - (y - mean) * slope).astype(y.dtype)


def kept_sums_numpy(dx, v, norm, low, high):
    """Return sum dx, sum dx * (v - mean) where x is not clipped (2, C)."""
    if len(norm) == 0:
        return np.zeros((2, norm.shape[1]), v.dtype)
    z = (v - norm[0]) * norm[1] + norm[2]
    kept = np.where((z > low) & (z < high), dx, 0).astype(np.float64)
    axes = tuple(range(v.ndim - 1))
    return np.stack([kept.sum(axis=axes), (kept * (v - norm[0])).sum(axis=axes)]).astype(v.dtype)


def fused_pointwise_forward_numpy(v, norm, low, high, weight):
    """Return y (M, F) and its moments (2, F) for v (M, C), weight (C, F)."""
    y = read_numpy(v, norm, low, high) @ weight
    return y, _moments_numpy(y)


def fused_pointwise_backward_numpy(dz, y, y_norm, y_low, y_high, v, norm, low, high, weight, dweight):
    """Return dx (M, C) and the sums (2, C) of v's normalization; write dweight (C, F)."""
    dy = _grad_numpy(dz, y, y_norm, y_low, y_high)
    dweight[...] = read_numpy(v, norm, low, high).T @ dy
    dx = dy @ weight.T
    return dx, kept_sums_numpy(dx, v, norm, low, high)


def fused_depthwise_forward_numpy(v, norm, low, high, weight, stride, padding, dilation):
    """Return y (N,OH,OW,C) and its moments (2, C) for v (N,H,W,C), weight (KH,KW,C)."""
    y = depthwise_forward_numpy(read_numpy(v, norm, low, high), weight, stride, padding, dilation)
    return y, _moments_numpy(y)


def fused_depthwise_backward_numpy(
    dz, y, y_norm, y_low, y_high, v, norm, low, high, weight, stride, padding, dilation, more, more_stride,
    of, of_norm, of_low, of_high, also, also_norm,
):  # fmt: skip
    """Return dx (N,H,W,C), dweight and the sums (2, C) of two normalizations.

    more, more_stride    (N,H,W,C) with every more_stride-th row and column, or empty: what is added to dx
    of, of_norm, ...     a map that x is the normalized value of, or was added up from; of_norm is empty without one
    also, also_norm      another one, which is not clipped
    """
    dy = _grad_numpy(dz, y, y_norm, y_low, y_high)
    x = read_numpy(v, norm, low, high)
    dweight = depthwise_grad_weight_numpy(x, dy, stride, padding, *weight.shape[:2], dilation)
    dx = depthwise_grad_x_numpy(dy, weight, stride, padding, *v.shape[1:3], dilation)
    if more.size:
        dx[:, ::more_stride, ::more_stride] += more
    of_sums = kept_sums_numpy(dx, of, of_norm, of_low, of_high)
    return dx, dweight, of_sums, kept_sums_numpy(dx, also, also_norm, -np.inf, np.inf)


def normalize_add_numpy(v, norm, low, high, shortcut, shortcut_norm):
    """Return clip((v - mean) * scale + beta) + shortcut, the latter without clipping, for v, shortcut (M, C)."""
    return read_numpy(v, norm, low, high) + read_numpy(shortcut, shortcut_norm, -np.inf, np.inf)


@serial
def _read(v, start, rows, channels, norm, low, high, out, row):
    """Write x of some rows of v into out, whose rows lie `row` numbers apart."""
    if norm.shape[0] > 0:
        read_normalized(v, start, channels, out, 0, row, norm, low, high, rows, channels)
        return
    for r in range(rows):
        source, target = v[start + r * channels : start + (r + 1) * channels], out[r * row : r * row + channels]
        for c in range(channels):
            target[c] = source[c]


@serial
def _moments(sums, pivots, counts, moments):
    """Write mean and variance of all rows from the pieces' sums about their pivots."""
    channels, total = moments.shape[1], counts.sum()
    mean, square = np.zeros(channels, np.float64), np.zeros(channels, np.float64)
    for piece in range(counts.size):
        for c in range(channels):
            mean[c] += (sums[piece, 0, c] + counts[piece] * pivots[piece, c]) / total
    for piece in range(counts.size):
        for c in range(channels):
            own = sums[piece, 0, c] / counts[piece]
            away = own + pivots[piece, c] - mean[c]
            square[c] += sums[piece, 1, c] - own * sums[piece, 0, c] + counts[piece] * away * away
    for c in range(channels):
        moments[0, c] = mean[c]
        moments[1, c] = max(square[c] / total, 0.0)


@serial
def _add_pieces(parts, out):
    """Add up the pieces' sums in order, row by row."""
    for piece in range(1, parts.shape[0]):
        for i in range(parts.shape[1]):
            for c in range(parts.shape[2]):
                parts[0, i, c] += parts[piece, i, c]
    for i in range(parts.shape[1]):
        for c in range(parts.shape[2]):
            out[i, c] = parts[0, i, c]


@serial
def _padded(columns, multiple):
    """Return the length of a row of at least so many columns in whole `multiple`s, and never a power of two."""
    return (columns + multiple - 1) // multiple * multiple + 16


@parallel
def _pointwise_forward(v, norm, low, high, weight, rows, channels, filters, y, moments):
    panels, tiles = (filters + PANEL - 1) // PANEL, (rows + TILE_ROWS - 1) // TILE_ROWS
    tasks = min(TASKS, tiles)
    packed = np.empty(panels * channels * PANEL + LINE, y.dtype)
    packed_start = (-packed.ctypes.data % LINE) // y.itemsize
    for panel in prange(panels):
        column = panel * PANEL
        copy_panel(
            weight, column, filters, packed, packed_start + column * channels, PANEL, channels,
            min(PANEL, filters - column),
        )  # fmt: skip
    sums, pivots = np.zeros((tasks, 2, filters), np.float64), np.empty((tasks, filters), y.dtype)
    counts = np.empty(tasks, np.int64)
    x_row, y_row = _padded(channels, 16), _padded(filters, PANEL)
    for task in prange(tasks):
        first, last = tiles * task // tasks * TILE_ROWS, min(tiles * (task + 1) // tasks * TILE_ROWS, rows)
        counts[task] = last - first
        x_rows, y_rows = np.zeros(ROWS * x_row, y.dtype), np.empty(ROWS * y_row, y.dtype)
        for start in range(first, last, ROWS):
            valid = min(ROWS, last - start)
            _read(v, start * channels, valid, channels, norm, low, high, x_rows, x_row)
            for r in range(0, valid, TILE_ROWS):
                for panel in range(panels):
                    multiply_tile(
                        x_rows, r * x_row, x_row, 1, packed, packed_start + panel * PANEL * channels, PANEL,
                        y_rows, r * y_row + panel * PANEL, y_row, channels, False,
                    )  # fmt: skip
            if start == first:
                for c in range(filters):
                    pivots[task, c] = y_rows[c]
            copy_summing(y_rows, 0, y_row, y, start * filters, filters, pivots[task], sums[task], valid, filters)
    _moments(sums, pivots, counts, moments)


def fused_pointwise_forward_numba(v, norm, low, high, weight):
    """Return y and its moments."""
    rows, channels = v.shape
    filters = weight.shape[1]
    y, moments = np.empty((rows, filters), v.dtype), np.empty((2, filters), v.dtype)
    low, high = v.dtype.type(low), v.dtype.type(high)
    _pointwise_forward(
        v.reshape(-1), norm, low, high, weight.reshape(-1), rows, channels, filters, y.reshape(-1), moments
    )
    return y, moments


@parallel
def _pointwise_backward(
    dz, y, y_norm, y_low, y_high, v, norm, low, high, weight, rows, channels, filters, dx, dweight, sums
):
    x_panels, y_panels = (channels + PANEL - 1) // PANEL, (filters + PANEL - 1) // PANEL
    tiles, x_tiles = (rows + TILE_ROWS - 1) // TILE_ROWS, (channels + TILE_ROWS - 1) // TILE_ROWS
    tasks = min(TASKS, tiles)
    packed = np.empty(x_panels * filters * PANEL + LINE, y.dtype)
    packed_start = (-packed.ctypes.data % LINE) // y.itemsize
    for panel in prange(x_panels):
        column = panel * PANEL
        transpose_panel(
            weight, column * filters, filters, packed, packed_start + column * filters, filters,
            min(PANEL, channels - column),
        )  # fmt: skip
    x_row, y_row, dx_row = _padded(channels, TILE_ROWS), _padded(filters, PANEL), _padded(channels, PANEL)
    parts = np.zeros((tasks, x_tiles * TILE_ROWS, y_panels * PANEL), y.dtype)
    task_sums = np.zeros((tasks, 2, channels), np.float64)
    for task in prange(tasks):
        first, last = tiles * task // tasks * TILE_ROWS, min(tiles * (task + 1) // tasks * TILE_ROWS, rows)
        x_rows, dy_rows = np.zeros(ROWS * x_row, y.dtype), np.zeros(ROWS * y_row, y.dtype)
        dx_rows, part = np.empty(ROWS * dx_row, y.dtype), parts[task].reshape(-1)
        for start in range(first, last, ROWS):
            valid = min(ROWS, last - start)
            grad_normalized(dz, y, start * filters, filters, dy_rows, 0, y_row, y_norm, y_low, y_high, valid, filters)
            _read(v, start * channels, valid, channels, norm, low, high, x_rows, x_row)
            for tile in range(x_tiles):
                for panel in range(y_panels):
                    multiply_tile(
                        x_rows, tile * TILE_ROWS, 1, x_row, dy_rows, panel * PANEL, y_row,
                        part, tile * TILE_ROWS * y_panels * PANEL + panel * PANEL, y_panels * PANEL, valid, True,
                    )  # fmt: skip
            if dx.size == 0:
                continue
            for r in range(0, valid, TILE_ROWS):
                for panel in range(x_panels):
                    multiply_tile(
                        dy_rows, r * y_row, y_row, 1, packed, packed_start + panel * PANEL * filters, PANEL,
                        dx_rows, r * dx_row + panel * PANEL, dx_row, filters, False,
                    )  # fmt: skip
            if norm.shape[0] > 0:
                copy_sum_kept(
                    dx_rows, 0, dx_row, v, start * channels, channels, dx, norm, low, high, task_sums[task],
                    valid, channels,
                )  # fmt: skip
                continue
            for r in range(valid):
                target, source = dx[(start + r) * channels : (start + r + 1) * channels], dx_rows[r * dx_row :]
                for c in range(target.size):
                    target[c] = source[c]
    _add_pieces(task_sums, sums)
    for c in prange(channels):
        target = dweight[c]
        for f in range(filters):
            total = parts[0, c, f]
            for task in range(1, tasks):
                total += parts[task, c, f]
            target[f] = total


def fused_pointwise_backward_numba(dz, y, y_norm, y_low, y_high, v, norm, low, high, weight, dweight):
    """Return dx and the sums of v's normalization; write dweight."""
    rows, channels = v.shape
    filters, real = weight.shape[1], v.dtype.type
    dx, sums = np.empty_like(v), np.empty((2, channels), v.dtype)
    _pointwise_backward(
        dz.reshape(-1), y.reshape(-1), y_norm, real(y_low), real(y_high), v.reshape(-1), norm, real(low), real(high),
        weight.reshape(-1), rows, channels, filters, dx.reshape(-1), dweight, sums,
    )  # fmt: skip
    return dx, sums


@parallel
def _depthwise_forward(v, norm, low, high, weight, starts, sources, taps, batch, channels, oh, ow, y, moments):
    blocks = min(BLOCKS, batch)
    size = v.size // batch
    sums, pivots = np.zeros((blocks, 2, channels), np.float64), np.empty((blocks, channels), y.dtype)
    counts = np.empty(blocks, np.int64)
    for block in prange(blocks):
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
    _moments(sums, pivots, counts, moments)


def fused_depthwise_forward_numba(v, norm, low, high, weight, stride, padding, dilation):
    """Return y and its moments."""
    batch, height, width, channels = v.shape
    kh, kw, _ = weight.shape
    window_h, window_w = dilation * (kh - 1) + 1, dilation * (kw - 1) + 1
    oh = (height + padding[0] + padding[1] - window_h) // stride + 1
    ow = (width + padding[2] + padding[3] - window_w) // stride + 1
    lists = offset_lists("output", oh, v.shape[1:], oh, ow, kh, kw, stride, padding, dilation)
    y, moments = np.empty((batch, oh, ow, channels), v.dtype), np.empty((2, channels), v.dtype)
    low, high = v.dtype.type(low), v.dtype.type(high)
    _depthwise_forward(
        v.reshape(-1), norm, low, high, weight.reshape(-1), *lists, batch, channels, oh, ow, y.reshape(-1), moments
    )
    return y, moments


@parallel
def _depthwise_backward(
    dz, y, y_norm, y_low, y_high, v, norm, low, high, weight, x_starts, x_sources, x_taps,
    tap_starts, tap_x, tap_dy, bands, taps, batch, channels, height, width, more, more_stride,
    of, of_norm, of_low, of_high, also, also_norm, dx, dweight, of_sums, also_sums,
):  # fmt: skip
    blocks = min(BLOCKS, batch)
    size, y_size = v.size // batch, y.size // batch
    more_width = (width + more_stride - 1) // more_stride
    more_size = (height + more_stride - 1) // more_stride * more_width * channels
    parts = np.zeros((blocks, taps, channels), y.dtype)
    sums = np.zeros((2, blocks, 2, channels), np.float64)
    infinite = y.dtype.type(np.inf)
    for block in prange(blocks):
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
    _add_pieces(sums[0], of_sums)
    _add_pieces(sums[1], also_sums)
    _add_pieces(parts, dweight)


def fused_depthwise_backward_numba(
    dz, y, y_norm, y_low, y_high, v, norm, low, high, weight, stride, padding, dilation, more, more_stride,
    of, of_norm, of_low, of_high, also, also_norm,
):  # fmt: skip
    """Return dx, dweight and the sums of two normalizations."""
    batch, height, width, channels = v.shape
    _, oh, ow, _ = y.shape
    kh, kw, _ = weight.shape
    geometry = (v.shape[1:], oh, ow, kh, kw, stride, padding, dilation)
    rows = max(1, 8192 // (ow * channels))  # as in kernels/depthwise.py: a band stays in the first-level cache
    by_input, by_tap = offset_lists("input", oh, *geometry), offset_lists("tap", rows, *geometry)
    dx, dweight = np.empty_like(v), np.empty((kh * kw, channels), v.dtype)
    of_sums, also_sums, real = np.empty((2, channels), v.dtype), np.empty((2, channels), v.dtype), v.dtype.type
    _depthwise_backward(
        dz.reshape(-1), y.reshape(-1), y_norm, real(y_low), real(y_high), v.reshape(-1), norm, real(low), real(high),
        weight.reshape(-1), *by_input, *by_tap, -(-oh // rows), kh * kw, batch, channels, height, width,
        more.reshape(-1), more_stride, of.reshape(-1), of_norm, real(of_low), real(of_high), also.reshape(-1),
        also_norm, dx.reshape(-1), dweight, of_sums, also_sums,
    )  # fmt: skip
    return dx, dweight.reshape(weight.shape), of_sums, also_sums


@parallel
def _normalize_add(v, norm, low, high, shortcut, shortcut_norm, rows, channels, y):
    blocks = min(BLOCKS, rows)
    infinite = y.dtype.type(np.inf)
    for block in prange(blocks):
        last = rows * (block + 1) // blocks
        for start in range(rows * block // blocks, last, SOME):
            count, place = min(SOME, last - start), start * channels
            lazy = shortcut_norm.shape[0] > 0
            if lazy:
                read_normalized(
                    shortcut, place, channels, y, place, channels, shortcut_norm, -infinite, infinite, count, channels
                )
            add_normalized(
                v, place, channels, y if lazy else shortcut, place, channels, y, norm, low, high, count, channels
            )


def normalize_add_numba(v, norm, low, high, shortcut, shortcut_norm):
    """Return what a residual block ends with, in one pass."""
    y, real = np.empty_like(v), v.dtype.type
    _normalize_add(
        v.reshape(-1), norm, real(low), real(high), shortcut.reshape(-1), shortcut_norm, *v.shape, y.reshape(-1)
    )
    return y


def begin_norm_numpy(mean, var, gamma, beta, eps, share, running_mean, running_var):
    """Return the normalization (5, C), of which the last two rows are still to come, and inv_std (C,).

    share      of the batch in the running statistics, which are moved IN PLACE
    """
    running_mean += share * (mean - running_mean)
    running_var += share * (var - running_var)
    inv_std = 1 / np.sqrt(var + eps)
    return np.stack([mean, gamma * inv_std, beta, 0 * mean, 0 * mean]).astype(gamma.dtype), inv_std.astype(gamma.dtype)


def end_norm_numpy(norm, inv_std, sums, rows):
    """Return dgamma, dbeta from the sums of a map's normalization; write slope and offset into norm IN PLACE."""
    dbeta, dgamma = sums[0], sums[1] * inv_std
    norm[3], norm[4] = norm[1] * inv_std * dgamma / rows, norm[1] * dbeta / rows
    return dgamma, dbeta


@serial
def begin_norm_numba(mean, var, gamma, beta, eps, share, running_mean, running_var):
    """Return the normalization and inv_std: a dozen operations of NumPy on so few numbers take ten times as long."""
    real = gamma.dtype.type
    norm, inv_std = np.zeros((5, gamma.size), gamma.dtype), np.empty_like(gamma)
    eps, share, one = real(eps), real(share), real(1)
    for c in range(gamma.size):
        running_mean[c] += share * (mean[c] - running_mean[c])
        running_var[c] += share * (var[c] - running_var[c])
        inv_std[c] = one / np.sqrt(var[c] + eps)
        norm[0, c], norm[1, c], norm[2, c] = mean[c], gamma[c] * inv_std[c], beta[c]
    return norm, inv_std


@serial
def end_norm_numba(norm, inv_std, sums, rows):
    """Return dgamma, dbeta; write slope and offset."""
    dgamma, dbeta = np.empty_like(inv_std), np.empty_like(inv_std)
    share = inv_std.dtype.type(1) / inv_std.dtype.type(rows)
    for c in range(inv_std.size):
        dbeta[c], dgamma[c] = sums[0, c], sums[1, c] * inv_std[c]
        norm[3, c], norm[4, c] = norm[1, c] * inv_std[c] * dgamma[c] * share, norm[1, c] * dbeta[c] * share
    return dgamma, dbeta


begin_norm = Twin(begin_norm_numpy, begin_norm_numba)
end_norm = Twin(end_norm_numpy, end_norm_numba)
kept_sums = Twin(kept_sums_numpy, kept_sums_numba)
fused_pointwise_forward = Twin(fused_pointwise_forward_numpy, fused_pointwise_forward_numba)
fused_pointwise_backward = Twin(fused_pointwise_backward_numpy, fused_pointwise_backward_numba)
fused_depthwise_forward = Twin(fused_depthwise_forward_numpy, fused_depthwise_forward_numba)
fused_depthwise_backward = Twin(fused_depthwise_backward_numpy, fused_depthwise_backward_numba)
normalize_add = Twin(normalize_add_numpy, normalize_add_numba)
