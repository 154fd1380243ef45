"""What stands where something is to be written: an earlier file of the same kind is replaced, nothing else.

A shell's *.png after --csv hands over a picture as the name of the table, and a wrong name may be that of a data set.
"""

import os
import zipfile
from contextlib import suppress
from pathlib import Path

from minifer.errors import ConfigError

HEAD = 16  # bytes that tell a kind


def _begins(*ways):
    """Return a function that says whether the head of a file begins in one of some ways."""
    return lambda path, head: head.startswith(ways)


def _holds(name):
    """Return a function that says whether a file is an .npz with an array of this name."""

    def holds(path, head):
        try:
            with zipfile.ZipFile(path) as file:
                return f"{name}.npy" in file.namelist()
        except (OSError, zipfile.BadZipFile):
            return False

    return holds


KINDS = {
    "table of faces": _begins(b"picture,"),
    "table of costs": _begins(b"layer,", b"network,"),
    "PNG picture": _begins(b"\x89PNG"),
    "report in JUnit's XML": _begins(b"<?xml"),
    "prepared .npz file": _holds("splits"),
    ".npz file of weights": _holds("__minifer__"),
    "face detector": _holds("template"),
    "landmark predictor": _holds("rough.mean"),
    "safetensors file": lambda path, head: head[8:9] == b"{",
    "file of Keras": _begins(b"\x89HDF"),
    "ONNX file": _begins(b"\x08"),
}


def _is_output(path):
    """Whether a file is this process's standard output or error, as /dev/stdout is after > or >>."""
    for descriptor in (1, 2):
        with suppress(OSError):  # closed
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                return True
    return False


def check_target(path, kind, given_by):
    """Raise ConfigError when what a path holds is no file of a kind of KINDS, which would take its place.

    given_by    the flag, such as --csv
    """
    path = Path(path)
    if path.is_dir():
        raise ConfigError(f"{given_by} {path} is a folder: give a file in it")
    if path.is_file():  # a pipe or a device takes anything
        if _is_output(path):
            raise ConfigError(
                f"{given_by} {path} is the file that the output of this command goes to, and one would write over the "
                "other: give a file of its own"
            )
        with open(path, "rb") as file:
            head = file.read(HEAD)
        if head and not KINDS[kind](path, head):
            raise ConfigError(f"{given_by} {path} holds something else than a {kind}, which would be lost: rename one")
