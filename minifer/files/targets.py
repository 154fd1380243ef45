"""What stands where something is to be written: an earlier file of the same kind is replaced, nothing else.

A shell's *.png after --csv hands over a picture as the name of the table, and a wrong name may be that of a data set.
"""

import codecs
from pathlib import Path

from minifer.errors import ConfigError

HEAD = 4096  # bytes that tell a kind


def _is_text(head):
    try:
        return "\0" not in codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False


KINDS = {
    "table": _is_text,
    "PNG picture": lambda head: head.startswith(b"\x89PNG"),
    ".npz file": lambda head: head.startswith(b"PK"),
}


def check_target(path, kind, given_by):
    """Raise ConfigError when what a path holds is no file of a kind of KINDS, which would take its place.

    given_by    the flag, such as --csv
    """
    path = Path(path)
    if path.is_dir():
        raise ConfigError(f"{given_by} {path} is a folder: give a file in it")
    if path.is_file():  # a pipe or a device takes anything
        with open(path, "rb") as file:
            head = file.read(HEAD)
        if head and not KINDS[kind](head):
            raise ConfigError(f"{given_by} {path} holds something else than a {kind}, which would be lost: rename one")
