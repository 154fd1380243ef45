"""How many threads the kernels use. The results do not depend on it, only the time does."""

import os

import numba

# A thread that waits for another one spins for a while before it sleeps. With GNU's default of some milliseconds a
# training step takes six times as long as soon as anything else runs on the machine, since a spinning thread keeps its
# partner off the core; some microseconds cost nothing when it is quiet. Read when the first parallel kernel starts.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def threads(count=None):
    """Set the number of threads of all compiled kernels, and return it; without an argument only return it."""
    if count is not None:
        most = numba.config.NUMBA_NUM_THREADS
        if not 1 <= count <= most:
            raise ValueError(f"threads must be 1 to {most} here, got {count}")
        numba.set_num_threads(count)
    return numba.get_num_threads()
