"""kernels/fused_depthwise.py for what most depthwise convolutions are: 3x3 and of stride 1, see kernels/window.py.

Pictures are worked on row by row. A row is normalized just before the window reaches it, and summed over as soon as it
is written, so that a map passes through a core's first-level cache once. Backward has one window for dx and dweight.
"""

import numpy as np
from numba import prange

from minifer.kernels.denormals import flush_denormals, restore
from minifer.kernels.normalized import grad_normalized, read_normalized, sum_kept, sum_moments
from minifer.kernels.twin import parallel
from minifer.kernels.window import SIDE, ZEROS, filter_and_sum_row, filter_row, three_rows


@parallel
def window_forward(v, norm, low, high, weight, batch, height, width, channels, y, sums, pivots, counts):
    """Write y, and the sums of its moments for each piece of the batch."""
    blocks, line, lazy = counts.size, width * channels, norm.shape[0] > 0
    for block in prange(blocks):
        control = flush_denormals()
        start, stop = batch * block // blocks, batch * (block + 1) // blocks
        counts[block] = (stop - start) * height * width
        zeros, kept = np.zeros(ZEROS, y.dtype), np.empty(SIDE * line if lazy else 1, y.dtype)
        for n in range(start, stop):
            for row in range(-1, height):  # one row ahead is read before the first is computed
                place = (n * height + row) * line
                if lazy and row + 1 < height:
                    read_normalized(
                        v, place + line, channels, kept, (row + 1) % SIDE * line, channels, norm, low, high, width,
                        channels,
                    )  # fmt: skip
                if row < 0:
                    continue
                first, second, third = three_rows(
                    row - 1, height, 0 if lazy else n * height * line, line, SIDE if lazy else height
                )
                filter_row(y, place, kept if lazy else v, first, second, third, zeros, weight, width, channels)
                if n == start and row == 0:
                    for c in range(channels):
                        pivots[block, c] = y[place + c]
                sum_moments(y, place, channels, pivots[block], sums[block], width, channels)
        restore(control)


@parallel
def window_backward(
    dz, y, y_norm, y_low, y_high, v, norm, low, high, turned, batch, height, width, channels, more, more_stride,
    of, of_norm, of_low, of_high, also, also_norm, dx, parts, sums,
):  # fmt: skip
    """Write dx, the pieces of dweight, its taps turned as the weights are, and those of two normalizations' sums."""
    blocks, line, lazy = parts.shape[0], width * channels, norm.shape[0] > 0
    more_rows, more_width = (height + more_stride - 1) // more_stride, (width + more_stride - 1) // more_stride
    infinite = y.dtype.type(np.inf)
    for block in prange(blocks):
        control = flush_denormals()
        part, zeros = parts[block].reshape(-1), np.zeros(ZEROS, y.dtype)
        dy, x_row = np.empty(SIDE * line, y.dtype), np.empty(line if lazy else 1, y.dtype)
        for n in range(batch * block // blocks, batch * (block + 1) // blocks):
            for row in range(-1, height):  # one row ahead is read before the first is computed
                place = (n * height + row) * line
                if row + 1 < height:
                    grad_normalized(
                        dz, y, place + line, channels, dy, (row + 1) % SIDE * line, channels, y_norm, y_low, y_high,
                        width, channels,
                    )  # fmt: skip
                if row < 0:
                    continue
                if lazy:
                    read_normalized(v, place, channels, x_row, 0, channels, norm, low, high, width, channels)
                first, second, third = three_rows(row - 1, height, 0, line, SIDE)
                filter_and_sum_row(
                    dx, place, dy, first, second, third, zeros, turned, x_row if lazy else v, 0 if lazy else place,
                    part, 0, width, channels,
                )  # fmt: skip
                if more.size > 0 and row % more_stride == 0:
                    begin = (n * more_rows + row // more_stride) * more_width * channels
                    for q in range(more_width):
                        target = dx[place + q * more_stride * channels : place + (q * more_stride + 1) * channels]
                        source = more[begin + q * channels : begin + (q + 1) * channels]
                        for c in range(channels):
                            target[c] += source[c]
                if of_norm.shape[0] > 0:
                    sum_kept(
                        dx, place, channels, of, place, channels, of_norm, of_low, of_high, sums[0, block], width,
                        channels,
                    )  # fmt: skip
                if also_norm.shape[0] > 0:
                    sum_kept(
                        dx, place, channels, also, place, channels, also_norm, -infinite, infinite, sums[1, block],
                        width, channels,
                    )  # fmt: skip
        restore(control)
