"""Where compiled kernels are kept: beside the sources, else below the user's home, else in a temporary folder.

The first two are Numba's own choice, and where neither can be written to (a container, a shared installation) it
refuses to define a kernel at all. What it finds in a cache it runs: the temporary folder must be this user's alone.
"""

import contextlib
import os
import stat
import tempfile
from pathlib import Path

import numba
from numba.core import caching, dispatcher


def find_cache():
    """Return None where Numba finds a folder, else a temporary one that it is to use, or "" where it can use none.

    Called once, before the first kernel is defined.
    """
    try:
        numba.njit(cache=True)(_probe)
        return None
    except RuntimeError:
        folder = _private_folder()
    if folder:
        os.environ["NUMBA_CACHE_DIR"] = folder  # for processes that this one starts, too
        numba.config.reload_config()
    else:
        dispatcher.Dispatcher.enable_caching = lambda kernel: None
    return folder


_save = caching.FunctionCache.save_overload


def _save_if_possible(cache, signature, compiled):
    """Let a kernel that cannot be kept, on a full disk or over a quota, be used all the same."""
    with contextlib.suppress(OSError):
        _save(cache, signature, compiled)


caching.FunctionCache.save_overload = _save_if_possible


def has_compiled(kernel):
    """Return whether a kernel stands in the cache, compiled by this or an earlier process, for whatever types.

    Where nothing is compiled, nothing has to be.
    """
    if numba.config.DISABLE_JIT:
        return True
    return bool(kernel.signatures) or Path(kernel._cache._cache_file._index_path).exists()


def _private_folder():
    """Return a folder for temporary files into which nobody else can write, or "" where there is none."""
    user = os.getuid() if hasattr(os, "getuid") else ""
    for parent in (tempfile.gettempdir, lambda: "/dev/shm"):
        with contextlib.suppress(OSError):
            folder = Path(parent()) / f"minifer-kernels-{user}"
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()
            private = user == "" or (found.st_uid == user and not found.st_mode & 0o022)
            if private and stat.S_ISDIR(found.st_mode) and os.access(folder, os.W_OK):
                return str(folder)
    return ""


def _probe():
    """A kernel that is never called: Numba looks for a cache when one is defined."""
