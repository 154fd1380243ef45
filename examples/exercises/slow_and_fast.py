"""The depthwise exercise slow and fast: the same sums as loops, in NumPy and compiled by Numba, timed.

    python slow_and_fast.py                      one picture of 48x48 with 32 channels; --side, --channels choose others

Every version is compared with the first before it is timed. A time is the shortest of several runs: what else the
machine does only ever adds to it.
"""

import argparse
import time

import numba
import numpy as np

from minifer.kernels.depthwise import depthwise_forward


def loops(x, weight):
    """The equation, read aloud: six loops, an index check at every one of nine taps."""
    batch, height, width, channels = x.shape
    y = np.zeros_like(x)
    for n in range(batch):
        for i in range(height):
            for j in range(width):
                for c in range(channels):
                    total = 0.0
                    for u in range(3):
                        for v in range(3):
                            row, column = i + u - 1, j + v - 1
                            if 0 <= row < height and 0 <= column < width:
                                total += x[n, row, column, c] * weight[u, v, c]
                    y[n, i, j, c] = total
    return y


def numpy_taps(x, weight):
    """The worked solution: a loop over the nine taps, each for all positions at once. It reads x nine times."""
    height, width = x.shape[1:3]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = np.zeros_like(x)
    for u, v in np.ndindex(3, 3):
        y += padded[:, u : u + height, v : v + width] * weight[u, v]
    return y


numba_loops = numba.njit(loops)  # the very same six loops, compiled


def minifer_kernel(x, weight):
    """The kernel that networks use: channels innermost, so that a vector register holds several, and all cores."""
    return depthwise_forward(x, weight, 1, (1, 1, 1, 1))


VERSIONS = {
    "Python, six loops": loops,
    "NumPy, nine taps": numpy_taps,
    "Numba, six loops": numba_loops,
    "minifer's kernel": minifer_kernel,
}


def shortest(function, *arguments, seconds=1.0):
    """Return the shortest of as many runs as fit into some seconds, at least one."""
    best, end = np.inf, time.perf_counter() + seconds
    while True:
        started = time.perf_counter()
        function(*arguments)
        now = time.perf_counter()
        best = min(best, now - started)
        if now > end:
            return best


def table(side=48, channels=32, seconds=1.0):
    """Return rows (name, seconds, how many times as fast as the first, billion multiply-adds a second)."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, side, side, channels)).astype(np.float32)
    weight = rng.standard_normal((3, 3, channels)).astype(np.float32)
    right, rows = loops(x, weight), []
    for name, function in VERSIONS.items():
        y = function(x, weight)  # the first run of a compiled function compiles it
        if not np.allclose(y, right, atol=1e-4):
            raise AssertionError(f"{name} is wrong: it differs by {np.abs(y - right).max():.3g}")
        rows.append((name, shortest(function, x, weight, seconds=seconds)))
    return [(name, took, rows[0][1] / took, 9 * x.size / took / 1e9) for name, took in rows]


def main(arguments=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each version")
    args = parser.parse_args(arguments)
    print(f"{'':<20}{'milliseconds':>14}{'times as fast':>15}{'G multiply-adds/s':>19}")
    for name, took, faster, rate in table(args.side, args.channels, args.seconds):
        print(f"{name:<20}{1000 * took:>14.3f}{faster:>15,.0f}{rate:>19.3f}")


if __name__ == "__main__":
    main()
