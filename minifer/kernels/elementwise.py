"""The sum of two arrays, where a skip connection meets its block: y = a + b. In backward both get dy."""

import numpy as np
from numba import prange

from minifer.kernels.twin import Twin, parallel

CHUNK = 8192  # entries per task


def add_numpy(a, b):
    """y = a + b for a, b of one shape."""
    return a + b


@parallel
def _add_flat(a, b, y):
    for chunk in prange((a.size + CHUNK - 1) // CHUNK):
        # Slices, since an index that starts anywhere but at 0 could be negative, and the check would cost the vectors.
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        a_part, b_part, y_part = a[part], b[part], y[part]
        for i in range(y_part.size):
            y_part[i] = a_part[i] + b_part[i]


def add_numba(a, b):
    """y = a + b, in chunks."""
    if a.shape != b.shape:
        raise ValueError(f"arrays of {a.shape} and {b.shape} are not added")
    y = np.empty(a.shape, a.dtype)  # not empty_like, which would be laid out like an `a` that is not contiguous
    _add_flat(np.ascontiguousarray(a).reshape(-1), np.ascontiguousarray(b).reshape(-1), y.reshape(-1))
    return y


add = Twin(add_numpy, add_numba)
