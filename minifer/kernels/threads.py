"""How many threads the kernels use, and who may start them. Results do not depend on either, only the time does."""

import os
import threading
import time

import numba


def _machine_is_busy():
    """Whether other programs compute while this one starts: at each of three looks. False where nobody can tell."""
    for _ in range(3):
        try:
            with open("/proc/stat") as file:
                running = next(int(line.split()[1]) for line in file if line.startswith("procs_running"))
        except (OSError, StopIteration, ValueError):
            return False
        if running <= 1:  # this process is one of them
            return False
        time.sleep(0.001)
    return True


# A thread that waits for another one spins for a while before it sleeps, and waking it up again takes a tenth of a
# millisecond, longer than many layers compute: on a quiet machine waiting threads should spin through the gaps between
# kernels. On a busy one they keep their own partner off the core (a training step was seen to take six times as long),
# and should sleep at once. GNU's OpenMP reads this when the first parallel kernel starts.
os.environ.setdefault("GOMP_SPINCOUNT", "1000" if _machine_is_busy() else "300000")


class _Turn(type(threading.RLock())):
    """A lock whose kind can be told to refuse, which costs nothing as long as it is not."""


# Whoever calls a kernel that starts threads holds this lock. Numba's workqueue layer ends the process when two threads
# of Python start kernels at the same time, and with OpenMP their teams would fight for the same cores. Kernels of one
# thread never wait for it: it costs them a ten-thousandth of their time. (Reentrant: a signal's handler may interrupt.)
in_turn = _Turn()


def _refuse(turn):
    raise RuntimeError(
        "this process was forked from one whose threads had computed already, and has none of them: make processes "
        "with multiprocessing.get_context('spawn'), or fork before the first network computes"
    )


def _after_fork_in_child():
    """GNU's OpenMP ends a forked process that starts its threads, and a Pool then waits for it for ever: refuse."""
    in_turn._at_fork_reinit()  # the thread that held it stayed behind
    try:
        layer = numba.threading_layer()
    except ValueError:  # no thread was started yet
        return
    if layer == "omp" and numba.np.ufunc.omppool.openmp_vendor == "GNU":
        _Turn.__enter__ = _refuse


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def threads(count=None):
    """Set the number of threads of the kernels that the calling thread starts, and return it.

    Without an argument it is only returned.
    """
    if count is not None:
        most = numba.config.NUMBA_NUM_THREADS
        if not 1 <= count <= most:
            raise ValueError(f"threads must be 1 to {most} here, got {count}")
        numba.set_num_threads(count)
    return numba.get_num_threads()
