"""The training pictures, from zip archives or folders: faces and scenes, and portraits with landmarks."""

import io
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np

from minifer.errors import DataError
from minifer.faces.images import SUFFIXES, read_image

LARGEST_FILE = 50_000_000  # bytes of one picture inside an archive


def pictures_below(path, part=""):
    """Return {name: picture} of all pictures in a zip archive or folder whose folder is called `part`; any without one.

    Shapes     picture (H,W) uint8
    Raises     DataError when there is no such archive or folder, it is damaged, or holds no such picture
    """
    with _Source(path) as source:
        pictures = {
            name: read_image(source.open(name), f"{path}: {name}")
            for name in source.names
            if PurePosixPath(name).suffix.lower() in SUFFIXES and (not part or part in PurePosixPath(name).parts[:-1])
        }
    if not pictures:
        raise DataError(f"{path}: no pictures" + (f" in a folder called {part!r}" if part else ""))
    return pictures


def portraits_below(path):
    """Return a list of (picture, landmarks) of all pictures with a .pts or .txt file of the same name beside them.

    Shapes     picture (H,W) uint8   landmarks (68,2) as x, y
    Raises     DataError as pictures_below, or when a landmark file does not hold 68 points
    """
    portraits = []
    with _Source(path) as source:
        names = set(source.names)
        for name in source.names:
            stem = str(PurePosixPath(name).with_suffix(""))
            if PurePosixPath(name).suffix.lower() in SUFFIXES and f"{stem}.pts" in names:
                points = read_points(
                    source.open(f"{stem}.pts").read().decode("utf-8", "replace"), f"{path}: {stem}.pts"
                )
                portraits.append((read_image(source.open(name), f"{path}: {name}"), points))
    if not portraits:
        raise DataError(f"{path}: no picture with a landmark file (.pts) of the same name beside it")
    return portraits


def read_points(text, name):
    """Return the 68 points of a landmark file: lines "x y"; lines that are not two numbers are headers and skipped.

    Shapes     points (68,2)
    Raises     DataError when there are not 68 finite points
    """
    points = []
    for line in text.splitlines():
        try:
            x, y = map(float, line.split())
        except ValueError:
            continue
        points.append((x, y))
    if len(points) != 68 or not np.isfinite(points).all():
        raise DataError(f"{name}: {len(points)} points, expected 68")
    return np.array(points)


class _Source:
    """The files of a zip archive or of a folder, by name, in order."""

    def __init__(self, path):
        self.path, self.archive = Path(path), None

    def __enter__(self):
        if self.path.is_dir():
            files = sorted(file for file in self.path.rglob("*") if file.is_file())
            self.names = [file.relative_to(self.path).as_posix() for file in files]
            return self
        try:
            self.archive = zipfile.ZipFile(self.path)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{self.path}: neither a folder nor a zip archive ({error})") from None
        self.names = sorted(info.filename for info in self.archive.infolist() if not info.is_dir())
        return self

    def __exit__(self, *error):
        if self.archive is not None:
            self.archive.close()

    def open(self, name):
        """Return the bytes of one file as a stream."""
        if self.archive is None:
            return io.BytesIO((self.path / name).read_bytes())
        if self.archive.getinfo(name).file_size > LARGEST_FILE:
            raise DataError(f"{self.path}: {name} is larger than {LARGEST_FILE} bytes")
        try:
            return io.BytesIO(self.archive.read(name))
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise DataError(f"{self.path}: {name} is damaged ({error})") from None
