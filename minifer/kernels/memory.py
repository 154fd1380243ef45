"""Keep freed arrays' pages: a training step then reuses the memory of the step before instead of asking for new.

A fresh array of a megabyte costs 256 page faults before its first use, more than many layers take to compute. The C
library hands large blocks back to the system as soon as they are freed; two settings tell glibc to keep them, so that
plain reference counting becomes the buffer pool. Nothing else in the code needs to know.
"""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # from malloc.h


def keep_freed_pages():
    """Ask the C library to keep freed blocks for reuse; return whether it agreed (False where it is not glibc)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    keep = (1 << 31) - 1
    largest = 32 << 20  # glibc accepts no larger threshold on 64-bit systems
    return bool(
        mallopt(_M_MMAP_THRESHOLD, largest) and mallopt(_M_TRIM_THRESHOLD, keep) and mallopt(_M_TOP_PAD, 16 << 20)
    )
