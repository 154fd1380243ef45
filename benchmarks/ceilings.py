"""What this machine can do at most, measured: multiply-adds from registers, bytes from memory and from the cache."""

import time

import numpy as np
from numba import njit, prange

from minifer.kernels.elementwise import add
from minifer.kernels.tile import PANEL, TILE_ROWS, multiply_tile

STEPS = 256  # of a tile: both operands stay in the first-level cache


@njit(parallel=True, error_model="numpy")
def _tiles(a, b, out, threads, repeats):
    """Multiply the same register tile over and over, in every thread."""
    for thread in prange(threads):
        for _ in range(repeats):
            start = thread * TILE_ROWS * PANEL
            multiply_tile(a, 0, 1, TILE_ROWS, b, 0, PANEL, out, start, PANEL, STEPS, False)


def fastest(function, seconds=1.0):
    """Return the seconds of the fastest of the calls that fit into this time, after one that warms up."""
    function()
    calls, end = [], time.perf_counter() + seconds
    while not calls or time.perf_counter() < end:
        started = time.perf_counter()
        function()
        calls.append(time.perf_counter() - started)
    return min(calls)


def ceilings(threads):
    """Return {name: rate}: "arithmetic" in GFLOP/s, "memory" (large arrays) and "cache" (small ones) in GB/s.

    The fastest call counts: other programs can only make a machine look worse than it is.
    """
    a, b = np.ones(STEPS * TILE_ROWS, np.float32), np.ones(STEPS * PANEL, np.float32)
    out, repeats = np.empty(threads * TILE_ROWS * PANEL, np.float32), 500
    large, small = np.ones(1 << 24, np.float32), np.ones(1 << 16, np.float32)
    measured = {
        "arithmetic": lambda: _tiles(a, b, out, threads, repeats),
        "memory": lambda: add(large, large),
        "cache": lambda: add(small, small),
    }
    work = {
        "arithmetic": 2 * TILE_ROWS * PANEL * STEPS * repeats * threads,
        "memory": 2 * large.nbytes,  # one operand is read, one result written
        "cache": 2 * small.nbytes,
    }
    return {name: 1e-9 * amount / fastest(measured[name]) for name, amount in work.items()}
