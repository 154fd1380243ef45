"""Keep freed arrays' pages: a training step then reuses the memory of the step before instead of asking for new.

A fresh array of a megabyte costs 256 page faults before its first use, more than many layers take to compute. The C
library hands large blocks back to the system as soon as they are freed; two settings tell glibc to keep them, so that
plain reference counting becomes the buffer pool. Nothing else in the code needs to know.
"""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8  # from malloc.h


def keep_freed_pages():
    """Ask the C library to keep freed blocks for reuse; return whether it agreed (False where it is not glibc)."""
    keep = (1 << 31) - 1
    largest = 32 << 20  # glibc accepts no larger threshold on 64-bit systems
    return _ask((_M_MMAP_THRESHOLD, largest), (_M_TRIM_THRESHOLD, keep), (_M_TOP_PAD, 16 << 20))


def share_freed_pages():
    """Ask the C library for two pools of freed blocks in place of eight a core; return whether it agreed.

    For a process of many threads, each of which would else keep what it has freed for itself. Called before they start.
    """
    return _ask((_M_ARENA_MAX, 2))


def _ask(*settings):
    """Give glibc's mallopt settings until it refuses one; return whether it took all."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all(mallopt(name, value) for name, value in settings)
