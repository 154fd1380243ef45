"""What can be made again, and is kept because that takes time."""

import os
import sys
from contextlib import suppress
from pathlib import Path

from minifer.files.npz import write_npz
from minifer.files.writing import replacing, user_path


def cache_folder():
    """Return the folder for files that can be made again: MINIFER_CACHE, else the system's usual place."""
    if chosen := os.environ.get("MINIFER_CACHE"):
        return Path(user_path(chosen))
    try:
        home = Path.home()
    except RuntimeError:  # a container's user may have none
        home = Path(os.devnull)  # nothing can be kept there, and nothing need be
    if sys.platform == "win32":
        usual = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
    elif sys.platform == "darwin":
        usual = home / "Library" / "Caches"
    else:
        usual = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return usual / "minifer"


def keep_arrays(path, arrays):
    """Write {name: array} to a path in the cache folder, if that can be: else the arrays are made again."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            write_npz(file, arrays)
