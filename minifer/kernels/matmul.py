"""Matrix products, register-blocked: the work horse behind pointwise convolution, dense layers and projections.

    forward       y  = x @ weight                  (rows, C) x (C, F)
    grad_x        dx = dy @ weight.T               (rows, F) x (F, C)
    grad_weight   dweight = x.T @ dy               (C, rows) x (rows, F)

All three are one loop nest. b is cut into panels two vectors wide, copied (kernels/packing.py) so that each is
read front to back; tiles of out are then summed in registers (kernels/tile.py). The product is cut into tasks for the
threads along its rows, its columns and its sums. Where a sum is cut depends on the shapes alone, never on the number of
threads, so neither does any bit of the result: a tile is the same whichever task it falls to. Arrays of uint32 hold
pairs of neighbours along the sum (see kernels/bfloat16.py).

Source: Goto & van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.
"""

import functools
import math

import numpy as np
from numba import get_num_threads, prange

from minifer.kernels.denormals import flush_denormals, restore
from minifer.kernels.packing import copy_panel, copy_tile, transpose_panel
from minifer.kernels.tile import PANEL, TILE_ROWS, multiply_tile
from minifer.kernels.twin import parallel, serial

TASKS = 8  # pieces of work at most; every piece copies what it needs of a and b, so more of them cost more
SPLIT_STEPS = 1024  # shortest share of a sum that is worth a result of its own, which has to be added to the others
STEPS = 256  # longest part of a sum between two visits to out: a tile's values of a stay in the first-level cache
GROUP = 16  # panels of a task at most: they stay in the second-level cache while every tile passes over them
FEW_TILES = 4  # tiles for which it does not pay to copy b
TILE_STEPS = STEPS + 2 * PANEL  # length of a copied row of a: no power of two, and room for whole vectors
LINE = 64  # bytes of a cache line


@serial
def _copy_b(b, transposed, first_panel, last_panel, columns, steps, k0, count, packed, packed_start):
    """packed[panel - first_panel, k, v] = B[k0 + k, panel*PANEL + v], 0 beyond the last column."""
    together = count if transposed else 32  # rows of B whose panels are copied in turn, while their pages are at hand
    for k in range(0, count, together):
        part = min(together, count - k)
        for panel in range(first_panel, last_panel):
            column, target = panel * PANEL, packed_start + ((panel - first_panel) * STEPS + k) * PANEL
            valid = min(PANEL, columns - column)
            if transposed:
                transpose_panel(b, column * steps + k0 + k, steps, packed, target, part, valid)
            else:
                copy_panel(b, (k0 + k) * columns + column, columns, packed, target, PANEL, part, valid)


@serial
def _copy_a(a, transposed, a_start, a_row, a_step, valid_rows, count, tile_a):
    """tile_a[k, r] (transposed) or tile_a[r, k] = A[row + r, k0 + k] for the valid rows of a tile."""
    if transposed:
        copy_tile(a, a_start, a_step, tile_a, 0, TILE_ROWS, count, valid_rows)
        return
    whole = count // PANEL
    for r in range(valid_rows):
        source, target = a_start + r * a_row, r * TILE_STEPS
        if whole > 0:
            copy_panel(a, source, PANEL, tile_a, target, PANEL, whole, PANEL)
        if count > whole * PANEL:
            copy_panel(a, source + whole * PANEL, PANEL, tile_a, target + whole * PANEL, PANEL, 1, count % PANEL)


@parallel
def _multiply(a, a_transposed, copy_a, b, b_transposed, copy_b, rows, columns, steps, splits, row_blocks, groups, out):
    """out[split, m, n] = sum of A[m,k] * B[k,n] over the split's share of all k.

    A is a (rows, steps), or the transpose of a (steps, rows); B is b (steps, columns), or the transpose of b
    (columns, steps), which must be copied. All are given as one-dimensional arrays, row by row.
    """
    panels = (columns + PANEL - 1) // PANEL
    tiles = (rows + TILE_ROWS - 1) // TILE_ROWS
    a_row, a_step = (1, rows) if a_transposed else (steps, 1)
    copied_row, copied_step = (1, TILE_ROWS) if a_transposed else (TILE_STEPS, 1)
    b_step, b_panel = (PANEL, STEPS * PANEL) if copy_b else (columns, PANEL)
    for task in prange(splits * row_blocks * groups):
        control = flush_denormals()
        split, rest = task // (row_blocks * groups), task % (row_blocks * groups)
        block, group = rest // groups, rest % groups
        first_tile, last_tile = tiles * block // row_blocks, tiles * (block + 1) // row_blocks
        first_panel, last_panel = panels * group // groups, panels * (group + 1) // groups
        start, stop = steps * split // splits, steps * (split + 1) // splits
        tile_a = np.zeros(TILE_ROWS * TILE_STEPS, a.dtype)  # an incomplete tile leaves rows as they are
        tile_out = np.empty(TILE_ROWS * PANEL, out.dtype)
        packed = np.empty((last_panel - first_panel) * STEPS * PANEL + LINE if copy_b else 1, b.dtype)
        packed_start = (-packed.ctypes.data % LINE) // b.itemsize  # vectors that straddle two lines cost twice
        parts = (stop - start + STEPS - 1) // STEPS
        for part in range(parts):
            k0 = start + (stop - start) * part // parts
            count = start + (stop - start) * (part + 1) // parts - k0
            if copy_b:
                _copy_b(b, b_transposed, first_panel, last_panel, columns, steps, k0, count, packed, packed_start)
            b_values, b_start = (packed, packed_start) if copy_b else (b, k0 * columns + first_panel * PANEL)
            for tile in range(first_tile, last_tile):
                row = tile * TILE_ROWS
                valid_rows = min(TILE_ROWS, rows - row)
                a_values, a_start, row_step, k_step = a, row * a_row + k0 * a_step, a_row, a_step
                if copy_a or valid_rows < TILE_ROWS:
                    _copy_a(a, a_transposed, a_start, a_row, a_step, valid_rows, count, tile_a)
                    a_values, a_start, row_step, k_step = tile_a, 0, copied_row, copied_step
                for panel in range(first_panel, last_panel):
                    column = panel * PANEL
                    valid_columns = min(PANEL, columns - column)
                    inside = valid_rows == TILE_ROWS and valid_columns == PANEL
                    place = (split * rows + row) * columns + column
                    multiply_tile(
                        a_values, a_start, row_step, k_step,
                        b_values, b_start + (panel - first_panel) * b_panel, b_step,
                        out if inside else tile_out, place if inside else 0, columns if inside else PANEL,
                        count, inside and part > 0,
                    )  # fmt: skip
                    if not inside:  # a tile that sticks out of the matrix is computed beside it
                        for r in range(valid_rows):
                            for v in range(valid_columns):
                                before = out[place + r * columns + v] if part > 0 else out.dtype.type(0)
                                out[place + r * columns + v] = before + tile_out[r * PANEL + v]
        restore(control)


@parallel
def _sum_splits(parts, out):
    """out[i] = parts[0, i] + parts[1, i] + ..., always in this order."""
    for i in prange(out.size):
        total = parts[0, i]
        for split in range(1, parts.shape[0]):
            total += parts[split, i]
        out[i] = total


def _cost(cut, rows, columns, steps, threads):
    """Return the time of the thread that has most to do, as a number of copies.

    Every group of columns copies all of a, every block of rows all of b, and every split of the sums is added up.
    """
    splits, row_blocks, groups = cut
    tasks = math.prod(cut)
    copied = steps * (rows * groups + columns * row_blocks) + (splits > 1) * (splits + 1) * rows * columns
    multiplied = rows * columns * steps / 32  # a copy takes as long as 32 products
    return (copied + multiplied) / tasks * -(-tasks // threads)


@functools.cache
def _cuts(rows, columns, steps):
    """Return all cuts (splits, row_blocks, groups) into at most TASKS pieces whose copies fit the caches."""
    panels, tiles = -(-columns // PANEL), -(-rows // TILE_ROWS)
    powers = [1 << p for p in range(TASKS.bit_length())]
    cuts = [
        (splits, row_blocks, groups)
        for splits in powers
        for row_blocks in powers
        for groups in powers
        if splits * row_blocks * groups <= TASKS
        and splits <= max(1, steps // SPLIT_STEPS)
        and row_blocks <= tiles
        and groups <= panels <= GROUP * groups
    ]
    return cuts or [(1, 1, max(1, -(-panels // GROUP)))]


@functools.cache
def _splits(rows, columns, steps):
    """Return how many parts a sum is cut into: as many as suit TASKS threads, however many there are."""
    return min(_cuts(rows, columns, steps), key=lambda cut: _cost(cut, rows, columns, steps, TASKS))[0]


@functools.cache
def _cut(rows, columns, steps, threads):
    """Return the fastest (splits, row_blocks, groups) of so many threads, among those with the shapes' splits."""
    splits = _splits(rows, columns, steps)
    cuts = [cut for cut in _cuts(rows, columns, steps) if cut[0] == splits]
    return min(cuts, key=lambda cut: _cost(cut, rows, columns, steps, threads))


def partial_sums(rows, columns, steps):
    """Return how many numbers a product keeps beside its result until its splits are added up."""
    splits = _splits(rows, columns, steps)
    return splits * rows * columns if splits > 1 else 0


def _product(a, a_transposed, b, b_transposed, rows, columns, steps, out=None):
    splits, row_blocks, groups = _cut(rows, columns, steps, get_num_threads())
    panels, tiles = -(-columns // PANEL), -(-rows // TILE_ROWS)
    copy_b = b_transposed or tiles > FEW_TILES or columns % PANEL > 0
    # Rows a power of two apart compete for the same few lines of the cache, the more the larger that power is.
    copy_a = panels > groups and a.strides[0] % (1024 if a_transposed else 4096) == 0
    if out is None:
        out = np.empty((rows, columns), np.float32 if a.dtype == np.uint32 else a.dtype)
    if steps == 0:
        out[...] = 0
        return out
    parts = out if splits == 1 else np.empty((splits, rows * columns), out.dtype)
    _multiply(
        a.reshape(-1), a_transposed, copy_a, b.reshape(-1), b_transposed, copy_b,
        rows, columns, steps, splits, row_blocks, groups, parts.reshape(-1),
    )  # fmt: skip
    if splits > 1:
        _sum_splits(parts, out.reshape(-1))
    return out


def multiply(a, b):
    """Return a @ b for contiguous (M, K) and (K, N)."""
    return _product(a, False, b, False, a.shape[0], b.shape[1], a.shape[1])


def multiply_transposed_right(a, b):
    """Return a @ b.T for contiguous (M, K) and (N, K)."""
    return _product(a, False, b, True, a.shape[0], b.shape[0], a.shape[1])


def multiply_transposed_left(a, b, out=None):
    """Return a.T @ b for contiguous (K, M) and (K, N), in `out` if it is given."""
    return _product(a, True, b, False, a.shape[1], b.shape[1], a.shape[0], out)
