"""Files that are written whole or not at all, and folders that can be written to."""

import contextlib
import os
from pathlib import Path

from minifer.errors import MiniferError


@contextlib.contextmanager
def replacing(path):
    """Open a binary file that takes the place of `path` at the end of the with block, in one step.

    A reader, a second writer or a power cut meets the old file or the new one, never half of it; an error inside the
    block leaves the old one.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # same folder, so that replacing is one rename
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # already renamed, or never made
            temporary.unlink()


def write_text(path, text):
    """Replace a text file in one step."""
    try:
        with replacing(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise MiniferError(f"cannot write {path}: {error.strerror or error}") from error


def make_folder(path):
    """Create a folder that can be written to; raise MiniferError when it cannot be."""
    path = Path(path)
    probe = path / f".write-test.{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise MiniferError(f"cannot write to {path}: {error.strerror or error}; choose another folder") from error
    return path
