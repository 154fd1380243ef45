"""Pointwise convolution with the batch normalization on both sides of it: see kernels/fused.py.

    forward     y = x @ weight, and y's mean and variance                            x = the normalized v
    backward    dx = dy @ weight.T, dweight = x.T @ dy, and the sums of v's normalization

Some rows at a time are normalized into a cache, multiplied in register tiles (kernels/tile.py), and summed over before
they are written. The weights are copied once into panels for all threads. Every task has a sum of its own for dweight,
so that a layer of many weights is better off with kernels/pointwise.py.
"""

import numpy as np
from numba import prange

from minifer.kernels.denormals import flush_denormals, restore
from minifer.kernels.fused import add_pieces, grad_numpy, kept_sums_numpy, merge_moments, moments_numpy, read_numpy
from minifer.kernels.normalized import copy_sum_kept, copy_summing, grad_normalized, read_normalized
from minifer.kernels.packing import copy_panel, transpose_panel
from minifer.kernels.tile import PANEL, TILE_ROWS, multiply_tiles, round_up
from minifer.kernels.twin import Twin, parallel, serial

TASKS = 8  # pieces of a product, for the threads to share
ROWS = 96  # rows that are worked on at a time: whole tiles, and two maps of them fit into a cache
LINE = 64  # bytes of a cache line


def fused_pointwise_forward_numpy(v, norm, low, high, weight):
    """Return y (M, F) and its moments (2, F) for v (M, C), weight (C, F)."""
    y = read_numpy(v, norm, low, high) @ weight
    return y, moments_numpy(y)


def fused_pointwise_backward_numpy(dz, y, y_norm, y_low, y_high, v, norm, low, high, weight, dweight):
    """Return dx (M, C) and the sums (2, C) of v's normalization; write dweight (C, F)."""
    dy = grad_numpy(dz, y, y_norm, y_low, y_high)
    dweight[...] = read_numpy(v, norm, low, high).T @ dy
    dx = dy @ weight.T
    return dx, kept_sums_numpy(dx, v, norm, low, high)


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
def _padded(columns, multiple):
    """Return how far apart rows lie: room for whole `multiple`s, and 16 more.

    Most layers have a power of two of channels, and rows that far apart compete for the same lines of the cache.
    """
    return round_up(columns, multiple) + 16


@parallel
def _pointwise_forward(
    v, norm, low, high, weight, rows, channels, filters, y, sums, pivots, counts
):  # fmt: skip
    panels, tiles = (filters + PANEL - 1) // PANEL, (rows + TILE_ROWS - 1) // TILE_ROWS
    tasks = counts.size
    packed = np.empty(panels * channels * PANEL + LINE, y.dtype)
    packed_start = (-packed.ctypes.data % LINE) // y.itemsize
    for panel in prange(panels):
        column = panel * PANEL
        copy_panel(
            weight, column, filters, packed, packed_start + column * channels, PANEL, channels,
            min(PANEL, filters - column),
        )  # fmt: skip
    x_row, y_row = _padded(channels, 16), _padded(filters, PANEL)
    for task in prange(tasks):
        control = flush_denormals()
        first, last = tiles * task // tasks * TILE_ROWS, min(tiles * (task + 1) // tasks * TILE_ROWS, rows)
        counts[task] = last - first
        x_rows, y_rows = np.zeros(ROWS * x_row, y.dtype), np.empty(ROWS * y_row, y.dtype)
        for start in range(first, last, ROWS):
            valid = min(ROWS, last - start)
            _read(v, start * channels, valid, channels, norm, low, high, x_rows, x_row)
            multiply_tiles(
                x_rows, x_row, 1, packed, packed_start, channels * PANEL, PANEL, valid, filters, channels,
                y_rows, y_row, False,
            )  # fmt: skip
            if start == first:
                for c in range(filters):
                    pivots[task, c] = y_rows[c]
            copy_summing(y_rows, 0, y_row, y, start * filters, filters, pivots[task], sums[task], valid, filters)
        restore(control)


def _tasks(rows):
    return min(TASKS, -(-rows // TILE_ROWS))


def fused_pointwise_forward_numba(v, norm, low, high, weight):
    """Return y and its moments."""
    rows, channels = v.shape
    filters = weight.shape[1]
    tasks, real = _tasks(rows), v.dtype.type
    y, pivots = np.empty((rows, filters), v.dtype), np.empty((tasks, filters), v.dtype)
    sums, counts = np.zeros((tasks, 2, filters), np.float64), np.empty(tasks, np.int64)
    _pointwise_forward(
        v.reshape(-1), norm, real(low), real(high), weight.reshape(-1), rows, channels, filters, y.reshape(-1),
        sums, pivots, counts,
    )  # fmt: skip
    return y, merge_moments(sums, pivots, counts)


@parallel
def _pointwise_backward(
    dz, y, y_norm, y_low, y_high, v, norm, low, high, weight, rows, channels, filters, dx, dweight, sums
):
    x_panels, part_row = (channels + PANEL - 1) // PANEL, round_up(filters, PANEL)
    tiles, tasks = (rows + TILE_ROWS - 1) // TILE_ROWS, sums.shape[0]
    packed = np.empty(x_panels * filters * PANEL + LINE, y.dtype)
    packed_start = (-packed.ctypes.data % LINE) // y.itemsize
    for panel in prange(x_panels):
        column = panel * PANEL
        transpose_panel(
            weight, column * filters, filters, packed, packed_start + column * filters, filters,
            min(PANEL, channels - column),
        )  # fmt: skip
    x_row, y_row, dx_row = _padded(channels, TILE_ROWS), _padded(filters, PANEL), _padded(channels, PANEL)
    parts = np.zeros((tasks, round_up(channels, TILE_ROWS), part_row), y.dtype)
    for task in prange(tasks):
        control = flush_denormals()
        first, last = tiles * task // tasks * TILE_ROWS, min(tiles * (task + 1) // tasks * TILE_ROWS, rows)
        x_rows, dy_rows = np.zeros(ROWS * x_row, y.dtype), np.zeros(ROWS * y_row, y.dtype)
        dx_rows, part = np.empty(ROWS * dx_row, y.dtype), parts[task].reshape(-1)
        for start in range(first, last, ROWS):
            valid = min(ROWS, last - start)
            grad_normalized(dz, y, start * filters, filters, dy_rows, 0, y_row, y_norm, y_low, y_high, valid, filters)
            _read(v, start * channels, valid, channels, norm, low, high, x_rows, x_row)
            multiply_tiles(  # dweight
                x_rows, 1, x_row, dy_rows, 0, PANEL, y_row, channels, filters, valid, part, part_row, True,
            )  # fmt: skip
            multiply_tiles(  # dx
                dy_rows, y_row, 1, packed, packed_start, filters * PANEL, PANEL, valid, channels, filters,
                dx_rows, dx_row, False,
            )  # fmt: skip
            if norm.shape[0] > 0:
                copy_sum_kept(
                    dx_rows, 0, dx_row, v, start * channels, channels, dx, norm, low, high, sums[task],
                    valid, channels,
                )  # fmt: skip
                continue
            for r in range(valid):
                target, source = dx[(start + r) * channels : (start + r + 1) * channels], dx_rows[r * dx_row :]
                for c in range(target.size):
                    target[c] = source[c]
        restore(control)
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
    dx, sums = np.empty_like(v), np.zeros((_tasks(rows), 2, channels), np.float64)
    _pointwise_backward(
        dz.reshape(-1), y.reshape(-1), y_norm, real(y_low), real(y_high), v.reshape(-1), norm, real(low), real(high),
        weight.reshape(-1), rows, channels, filters, dx.reshape(-1), dweight, sums,
    )  # fmt: skip
    total = np.empty((2, channels), v.dtype)
    add_pieces(sums, total)
    return dx, total


fused_pointwise_forward = Twin(fused_pointwise_forward_numpy, fused_pointwise_forward_numba)
fused_pointwise_backward = Twin(fused_pointwise_backward_numpy, fused_pointwise_backward_numba)
