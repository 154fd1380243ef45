"""The training pictures, from zip archives or folders: faces and scenes, and portraits with landmarks."""

from pathlib import PurePosixPath

import numpy as np

from minifer.errors import DataError
from minifer.files.archives import open_source
from minifer.files.images import read_member

MOST_POINTS_BYTES = 1_000_000


def pictures_below(path, part=""):
    """Return {name: picture} of all pictures in a zip archive or folder whose folder is called `part`; any without one.

    Shapes     picture (H,W) uint8
    Raises     DataError when there is no such archive or folder, it is damaged, or holds no such picture
    """
    with open_source(path) as source:
        if pictures := _found(_pictures_in, source, part):
            return pictures
    raise DataError(f"{path}: no pictures" + (f" in a folder called {part!r}" if part else ""))


def _found(look, source, *arguments):
    """Return what look(source, ...) finds: in the source, or else in the archives in it."""
    if found := look(source, *arguments):
        return found
    with source.inside() as inside:
        return _found(look, inside, *arguments) if inside.members else found


def _pictures_in(source, part):
    return {
        member.name: read_member(member)
        for member in source.pictures()
        if not part or part in PurePosixPath(member.name).parts[:-1]
    }


def portraits_below(path):
    """Return a list of (picture, landmarks) of all pictures with a .pts or .txt file of the same name beside them.

    Shapes     picture (H,W) uint8   landmarks (68,2) as x, y
    Raises     DataError as pictures_below, or when a landmark file does not hold 68 points
    """
    with open_source(path) as source:
        if portraits := _found(_portraits_in, source):
            return portraits
    raise DataError(f"{path}: no picture with a landmark file (.pts) of the same name beside it")


def _portraits_in(source):
    portraits = []
    for member in source.pictures(beside=[".pts"]):
        if points := source.members.get(f"{PurePosixPath(member.name).with_suffix('')}.pts"):
            text = points.read(MOST_POINTS_BYTES).decode("utf-8", "replace")
            portraits.append((read_member(member), read_points(text, points.where)))
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
