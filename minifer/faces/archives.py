"""The training pictures, from zip archives or folders: faces and scenes, and portraits with landmarks."""

import codecs
import re
from pathlib import PurePosixPath

import numpy as np

from minifer.errors import DataError
from minifer.faces.boxes import box_of_landmarks
from minifer.files.archives import open_source
from minifer.files.images import read_member

MOST_POINTS_BYTES = 1_000_000
FARTHEST = 1e5  # pixels from a picture's corner
SMALLEST = 8  # pixels: the side of a face's box


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
    """Return a list of (picture, landmarks) of all pictures with a .pts file of the same name beside them.

    Shapes     picture (H,W) uint8   landmarks (68,2) as x, y
    Raises     DataError as pictures_below, or when a landmark file does not hold 68 points of a face in its picture
    """
    with open_source(path) as source:
        if portraits := _found(_portraits_in, source):
            return portraits
    raise DataError(f"{path}: no picture with a landmark file (.pts) of the same name beside it")


def _portraits_in(source):
    files = {name[:-4]: member for name, member in source.members.items() if name.lower().endswith(".pts")}
    portraits = {}  # by the landmark file, which has one picture even where a.jpg and a.png lie beside a.pts
    for member in source.pictures(beside=[".pts"]):
        points = files.get(str(PurePosixPath(member.name).with_suffix("")))
        if points and points.name not in portraits:
            picture, found = read_member(member), read_points(points.read(MOST_POINTS_BYTES), points.where)
            check_place(found, picture, points.where)
            portraits[points.name] = picture, found
    return list(portraits.values())


def check_place(points, picture, name):
    """Raise DataError when points are not those of a face whose middle lies in a picture: what trains cuts it out.

    Shapes     points (68,2)   picture (H,W)
    """
    x1, y1, x2, y2 = box_of_landmarks(points)
    (x, y), (height, width) = ((x1 + x2) / 2, (y1 + y2) / 2), picture.shape
    if not (0 <= x <= width and 0 <= y <= height and x2 - x1 >= SMALLEST):
        raise DataError(
            f"{name}: a face of {x2 - x1:.0f} pixels round {x:.0f}, {y:.0f} in a picture of {width} x {height}: are "
            "its points those of another picture, or of another size of it?"
        )


def read_points(data, name):
    """Return the 68 points in the bytes of a landmark file.

    A line has two numbers x, y, or three: its own number first, from 0 or from 1. They are parted by blanks, commas or
    semicolons; "1,5 2,5" has decimal commas. Lines with a word in them, { or }, or one number are headers.

    Shapes     points (68,2)
    Raises     DataError when there are not 68 points, or they cannot be those of a face
    """
    text = data.decode("utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig", "replace")
    rows = []
    for line in text.splitlines():
        if re.fullmatch(r"\s*-?\d+,\d+[\s;]+-?\d+,\d+\s*", line):
            line = line.replace(",", ".")  # noqa: PLW2901
        try:
            row = [float(word) for word in re.split(r"[\s,;]+", line.strip(" \t,;"))]
        except ValueError:
            continue
        if len(row) > 1:  # a number alone says how many points there are
            rows.append(row)
    if len(rows) != 68 or len({len(row) for row in rows}) != 1 or not 2 <= len(rows[0]) <= 3:
        raise DataError(f"{name}: {len(rows)} points, expected 68, each x y")
    points = np.array(rows)
    if not (np.abs(points) < FARTHEST).all():
        raise DataError(f"{name}: a point that is further away than {FARTHEST:g} pixels, or none: expected x y")
    if points.shape[1] == 3:
        numbers = points[:, 0] - points[:, 0].min()
        if sorted(numbers.tolist()) != list(range(68)):
            raise DataError(f"{name}: 3 numbers a line, of which the first does not count the points: expected x y")
        points = points[np.argsort(numbers), 1:]
    if np.ptp(points, axis=0).min() < 1:
        raise DataError(f"{name}: its points are all in one place")
    return points
