"""Damage of any kind becomes one error in one line that names the place."""

import errno
from contextlib import contextmanager
from pathlib import Path

from minifer.errors import DataError, MiniferError


@contextmanager
def guarded(where, error=DataError, remedy="download it again"):
    """Turn whatever the body raises into one error: "<where>: cannot be read (<reason>): <remedy>".

    Without the remedy where it is not the bytes' fault: the file is not there, may not be read, memory or disk is full.

    The standard library's parsers of zip, tar, gzip, .npy and JSON raise some twenty kinds of errors on damaged bytes,
    and with every version others: a list of them is never complete. The body therefore does nothing but read. Errors
    of minifer pass through as they are.
    """
    try:
        yield
    except MiniferError:
        raise
    except Exception as failure:
        system = isinstance(failure, MemoryError) or getattr(failure, "errno", None) not in (None, errno.EINVAL)
        raise error(f"{where}: cannot be read ({reason(failure)})" + ("" if system else f": {remedy}")) from failure


def open_file(path, remedy="check the path"):
    """Return a file, open for reading its bytes. A pipe is refused: who opens one waits until somebody writes into it.

    Raises     DataError when there is no such file, or something else in its place
    """
    path = Path(path)
    if not path.is_file():
        what = "a folder, no file" if path.is_dir() else "a pipe or a device, no file"
        raise DataError(f"{path}: {what if path.exists() else 'no such file'}: {remedy}")
    return open(path, "rb")


def reason(failure):
    """Return in a few words why reading failed."""
    if isinstance(failure, MemoryError):
        return "not enough memory"
    text = getattr(failure, "strerror", None) or str(failure) or type(failure).__name__
    return text.splitlines()[0][:200]
