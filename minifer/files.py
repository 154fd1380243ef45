"""Small files that are written whole or not at all."""

import contextlib
import os
from pathlib import Path

from minifer.errors import MiniferError


def write_text(path, text):
    """Replace a text file in one step: a reader, or a power cut, meets the old text or the new, never half of it."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text)
        os.replace(temporary, path)
    except OSError as error:
        raise MiniferError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def make_folder(path):
    """Create a folder that can be written to; raise MiniferError when it cannot be."""
    path = Path(path)
    probe = path / f".write-test.{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise MiniferError(f"cannot write to {path}: {error.strerror or error}; choose another --out") from error
    return path
