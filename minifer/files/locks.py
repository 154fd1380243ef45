"""One writer at a time, and nothing left over of one that was killed.

The locks are the operating system's: it takes them back when their owner ends, however it ends. Where a file system
knows none, everything works as if nobody else were there.
"""

import contextlib
import errno
import glob
import os
import re
from pathlib import Path

from minifer.errors import BusyError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

TEMPORARY = re.compile(r"\..+\.(\d+)(-\d+)?\.tmp")  # .NAME.PID-COUNT.tmp, as replacing calls them
TAKEN = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}


def lock(file):
    """Lock an open file. Return True, or False when another holds it, or None where files cannot be locked."""
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as error:
        return False if error.errno in TAKEN else None
    return True


def is_gone(file):
    """Whether an open file has no name any more."""
    return os.fstat(file.fileno()).st_nlink == 0


@contextlib.contextmanager
def claimed(path):
    """Write to a file or a folder alone, in the body of a with statement; what a killed writer left is removed first.

    Raises     BusyError when another process, or thread, has claimed it
    """
    path = Path(os.path.realpath(path))
    if path.is_dir():
        name, pattern = path / ".lock", ".*.tmp"
    elif path.is_file() or not path.exists():
        name, pattern = path.with_name(f".{path.name}.lock"), f".{glob.escape(path.stem)}*.tmp"
    else:  # a pipe or a device such as /dev/stdout, for as many as like
        yield
        return
    try:
        file = _locked(name, path)
    except OSError:  # whoever writes there next says what is wrong
        yield
        return
    try:
        remove_leftovers(path if path.is_dir() else path.parent, pattern)
        yield
    finally:
        with contextlib.suppress(OSError):
            name.unlink()
        file.close()


def _locked(name, path):
    """Return the open and locked file of a claim."""
    while True:
        file = open(name, "a+b")
        if lock(file) is False:
            with contextlib.suppress(OSError), file:
                file.seek(0)
                owner = file.read(20).decode("ascii", "replace")
            raise BusyError(f"{path}: another minifer is writing there (process {owner}): wait, or choose another name")
        if not is_gone(file):
            break
        file.close()  # the owner before has just removed it
    with contextlib.suppress(OSError):
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
    return file


def remove_leftovers(folder, pattern):
    """Remove the temporary files in a folder whose writers were killed."""
    for path in Path(folder).glob(pattern):
        match = TEMPORARY.fullmatch(path.name)
        with contextlib.suppress(OSError):
            if match and not _lives(int(match[1])):
                with open(path, "r+b") as file:
                    stale = lock(file)
                if stale:
                    path.unlink()


def _lives(process):
    """Whether a process of this number is alive; False where that cannot be asked without harm."""
    if os.name == "nt":
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
