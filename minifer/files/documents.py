"""JSON from files: one error whatever is wrong with the bytes, and for a field that is missing or of another kind."""

import json
from pathlib import Path

from minifer.allowed import Maybe, checked, shown
from minifer.errors import ConfigError
from minifer.files.guard import guarded

MOST_BYTES = 16 << 20  # Python makes up to thirty times as much of them


def read_json(path, wanted, error=ConfigError, missing=""):
    """Return the JSON object in a file, in any encoding of Unicode, with or without a byte order mark.

    wanted     the fields that it must have, as for checked_fields
    missing    what the error adds where there is no such file
    """
    path = Path(path)
    with guarded(path, error, "correct it, or restore it from a copy"):
        if not path.is_file():
            raise error(f"{path} is {'not a file' if path.exists() else 'missing'}{missing}")
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise error(f"{path}: more than {MOST_BYTES} bytes, no file of minifer: restore it from a copy")
        document = json.loads(content)
    checked_fields(document, wanted, path, error)
    return document


def checked_fields(document, wanted, where, error):
    """Return {name: value} of the wanted fields of a JSON object, as plain values; it may have others.

    wanted     {name: kind}, kinds of minifer.allowed; a field whose kind is Maybe need not be there
    Raises     error when it is no object, or a field is missing or not allowed
    """
    if not isinstance(document, dict):
        raise error(f"{where}: {shown(document)} instead of an object with {', '.join(wanted)}")
    for name, kind in wanted.items():
        if name not in document and not isinstance(kind, Maybe):
            raise error(f"{where}: {name!r} is missing")
    return {name: checked(f"{where}: {name}", document.get(name), kind, error) for name, kind in wanted.items()}
