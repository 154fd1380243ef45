"""Matrix products, register-blocked: the work horse behind pointwise convolution, dense layers and projections.

    forward       y  = x @ weight                  (rows, C) x (C, F)
    grad_x        dx = dy @ weight.T               (rows, F) x (F, C)
    grad_weight   dweight = x.T @ dy               (C, rows) x (rows, F)

All three are one loop nest over different strides. b is cut into panels two vectors wide and copied so that a panel is
read front to back; tiles of out are then summed in registers (kernels/tile.py). How the sums are split depends on the
shapes alone, never on the number of threads, so neither does any bit of the result.

Source: Goto & van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.
"""

import numpy as np
from numba import njit, prange

from minifer.kernels.tile import PANEL, TILE_ROWS, multiply_tile

TASKS = 16  # pieces of work a product is cut into at least, if it is large enough: a few for each thread
STEPS = 256  # longest part of a sum between two visits to memory: a panel of this height stays in a near cache


@njit(parallel=True, cache=True, error_model="numpy")
def _multiply(a, a_row, a_step, b, b_step, b_column, rows, columns, steps, row_blocks, splits, out):
    """out[split, m, n] = sum of a[m*a_row + k*a_step] * b[k*b_step + n*b_column] over the split's share of all k."""
    panels = (columns + PANEL - 1) // PANEL
    tiles = (rows + TILE_ROWS - 1) // TILE_ROWS
    for task in prange(splits * row_blocks * panels):
        split, rest = task // (row_blocks * panels), task % (row_blocks * panels)
        block, column = rest // panels, rest % panels * PANEL
        first_tile, last_tile = tiles * block // row_blocks, tiles * (block + 1) // row_blocks
        valid_columns = min(PANEL, columns - column)
        length = min(steps, STEPS)
        panel = np.zeros(length * PANEL, out.dtype)
        edge_a = np.zeros(TILE_ROWS * length, out.dtype)
        edge_out = np.empty(TILE_ROWS * PANEL, out.dtype)
        start, stop = steps * split // splits, steps * (split + 1) // splits
        for k0 in range(start, stop, STEPS):
            count = min(STEPS, stop - k0)
            if b_column == 1 and valid_columns == PANEL:
                for k in range(count):
                    source = (k0 + k) * b_step + column
                    for v in range(PANEL):
                        panel[np.uint64(k * PANEL + v)] = b[np.uint64(source + v)]
            else:
                for k1 in range(0, count, 16):  # 16 rows of the panel stay in the first-level cache while they fill
                    for v in range(valid_columns):
                        source = k0 * b_step + (column + v) * b_column
                        for k in range(k1, min(k1 + 16, count)):
                            panel[np.uint64(k * PANEL + v)] = b[np.uint64(source + k * b_step)]
            for tile in range(first_tile, last_tile):
                row = tile * TILE_ROWS
                valid_rows = min(TILE_ROWS, rows - row)
                place = (split * rows + row) * columns + column
                a_start = row * a_row + k0 * a_step
                if valid_rows == TILE_ROWS and valid_columns == PANEL:
                    multiply_tile(a, a_start, a_row, a_step, panel, 0, out, place, columns, count, k0 > start)
                    continue
                # A tile that sticks out of the matrix works on copies, so that it touches nothing beside it.
                for r in range(valid_rows):
                    for k in range(count):
                        edge_a[r * length + k] = a[a_start + r * a_row + k * a_step]
                multiply_tile(edge_a, 0, length, 1, panel, 0, edge_out, 0, PANEL, count, False)
                for r in range(valid_rows):
                    for v in range(valid_columns):
                        if k0 > start:
                            out[place + r * columns + v] += edge_out[r * PANEL + v]
                        else:
                            out[place + r * columns + v] = edge_out[r * PANEL + v]


@njit(parallel=True, cache=True, error_model="numpy")
def _sum_splits(parts, out):
    """out[i] = parts[0, i] + parts[1, i] + ..., always in this order."""
    for i in prange(out.size):
        total = parts[0, i]
        for split in range(1, parts.shape[0]):
            total += parts[split, i]
        out[i] = total


def _product(a, a_row, a_step, b, b_step, b_column, rows, columns, steps, out=None):
    panels = -(-columns // PANEL)
    # A long sum into a small result (a weight gradient) is split into parts that are added at the end.
    splits = max(1, min(-(-TASKS // panels), steps // 1024)) if steps > rows else 1
    row_blocks = max(1, min(-(-TASKS // (panels * splits)), rows // (4 * TILE_ROWS)))
    if out is None:
        out = np.empty((rows, columns), a.dtype)
    parts = out if splits == 1 else np.empty((splits, rows * columns), a.dtype)
    _multiply(
        a.reshape(-1), a_row, a_step, b.reshape(-1), b_step, b_column,
        rows, columns, steps, row_blocks, splits, parts.reshape(-1),
    )  # fmt: skip
    if splits > 1:
        _sum_splits(parts, out.reshape(-1))
    return out


def _spread_rows(a):
    """Return a, or a copy with longer rows: rows a power of two apart compete for the same few lines of the cache."""
    rows, steps = a.shape
    if a.strides[0] % 1024 or rows * steps < 1 << 14:
        return a, steps
    padded = np.empty((rows, steps + 64 // a.itemsize), a.dtype)
    padded[:, :steps] = a
    return padded, padded.shape[1]


def multiply(a, b):
    """Return a @ b for contiguous (M, K) and (K, N)."""
    (rows, steps), columns = a.shape, b.shape[1]
    a, a_row = _spread_rows(a)
    return _product(a, a_row, 1, b, columns, 1, rows, columns, steps)


def multiply_transposed_right(a, b):
    """Return a @ b.T for contiguous (M, K) and (N, K)."""
    (rows, steps), columns = a.shape, b.shape[0]
    a, a_row = _spread_rows(a)
    return _product(a, a_row, 1, b, 1, steps, rows, columns, steps)


def multiply_transposed_left(a, b, out=None):
    """Return a.T @ b for contiguous (K, M) and (K, N), in `out` if it is given."""
    (steps, rows), columns = a.shape, b.shape[1]
    return _product(a, 1, rows, b, columns, 1, rows, columns, steps, out)
