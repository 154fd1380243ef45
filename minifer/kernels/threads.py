"""How many threads the kernels use. The results do not depend on it, only the time does."""

import numba


def threads(count=None):
    """Set the number of threads of all compiled kernels, and return it; without an argument only return it."""
    if count is not None:
        most = numba.config.NUMBA_NUM_THREADS
        if not 1 <= count <= most:
            raise ValueError(f"threads must be 1 to {most} here, got {count}")
        numba.set_num_threads(count)
    return numba.get_num_threads()
