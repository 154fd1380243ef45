"""Files that are written whole or not at all, and folders that can be written to."""

import contextlib
import csv
import glob
import io
import itertools
import os
from pathlib import Path

from minifer.errors import ConfigError, MiniferError
from minifer.files.locks import is_gone, lock, remove_leftovers

_count = itertools.count()  # of the temporary files of this process, which may have several threads


@contextlib.contextmanager
def replacing(path):
    """Open a binary file that takes the place of `path` at the end of the with block, in one step.

    A reader, a second writer or a power cut meets the old file or the new one, never half of it; an error inside the
    block leaves the old one. What a killed writer left half written is removed. A pipe or a device, as /dev/stdout may
    be, is no file that could be replaced: it gets what is written as it comes.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        with open(path, "wb") as file:
            yield file
        return
    remove_leftovers(path.parent, f".{glob.escape(path.name)}.*.tmp")
    # In the same folder, so that replacing is one rename.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{next(_count)}.tmp")
    try:
        with _locked(temporary) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk names none
        raise
    finally:
        with contextlib.suppress(OSError):  # already renamed, or never made
            temporary.unlink()


def _locked(path):
    """Return a file open for writing whose lock says that its writer lives."""
    while True:
        file = open(path, "wb")
        lock(file)
        if not is_gone(file):  # as it is when another took it for left over before it was locked
            return file
        file.close()


def write_text(path, text):
    """Replace a text file, in UTF-8, in one step."""
    try:
        with replacing(path) as file:
            file.write(printable(text).encode())
    except OSError as error:
        raise MiniferError(f"cannot write {path}: {error.strerror or error}") from error


def table_text(rows):
    """Return rows of cells as the text of a CSV table."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def printable(text):
    """Return a text that UTF-8 can hold: bytes of a file's name that are no text become escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def make_folder(path):
    """Create a folder that can be written to; raise MiniferError when it cannot be."""
    path = Path(path)
    probe = path / f".write-test.{os.getpid()}.tmp"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise MiniferError(f"cannot write to {path}: {error.strerror or error}; choose another folder") from error
    return path


def user_path(text):
    """Return a path as a user means it: ~ and ~name are home folders.

    Raises     ConfigError when it is empty, as an unset variable of a shell leaves it, or nobody is called so
    """
    if not text.strip():
        raise ConfigError("the path is empty: is a variable of the shell not set? (the current folder is .)")
    path = os.path.expanduser(text)
    if path.startswith("~"):
        raise ConfigError(f"{text}: no user has this home folder: write ./{text} for a file of that name")
    return path
