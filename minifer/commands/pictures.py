"""What the verbs that read pictures share: the pictures, the faces in them, and copies with the faces marked."""

import io
import itertools
import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path

from minifer.commands.common import as_path
from minifer.errors import DataError, MiniferError, one_line
from minifer.output import log, print_result, unread

# Stands in the first bytes of a picture that --draw writes and in the last ones of a video, so that they are known
# again under any name, in any folder.
DRAWN = b"minifer\0faces marked"
LONGEST = 200  # bytes of a name; file systems take 255, with an ending and the name of a temporary file round it
NOTE = dict([DRAWN.decode().split("\0")])  # as a text of a PNG file


def add_pictures(parser, metavar="IMAGE|FOLDER", what="pictures, or folders of pictures"):
    """Add the pictures to read and --draw."""
    parser.add_argument("images", type=as_path, nargs="+", metavar=metavar, help=what)
    parser.add_argument(
        "--draw", type=as_path, metavar="DIR", help="write a copy of each one with its faces marked to this folder"
    )


def claimed_drawings(folder):
    """Return a context in which the folder of --draw, if there is one, is this process's alone."""
    from minifer.files import claimed, make_folder

    return claimed(make_folder(folder)) if folder else nullcontext()


def print_rows(verb, rows, describe, as_json, and_files):
    """Print one row per picture on stdout and its error, if any, on stderr; return the exit code: 1 after an error.

    Once nobody reads them, the rest is left, unless files are written as well.
    """
    failed = False
    for row in rows:
        print_result(json.dumps(row) if as_json else describe(row))
        if "error" in row:
            failed = True
            print(f"minifer {verb}: {row['error']}", file=sys.stderr)
        if unread() and not and_files:
            return 1
    return int(failed)


def read_pictures(paths, colour=False):
    """Yield (path, row, image) for each picture, the row {"image": path, "faces": []} still to be filled.

    Of a picture that cannot be read, the image is None and the row has one line under "error". What is left out, files
    in folders that are no known picture and what --draw wrote, is counted on stderr at the end.

    Shapes     image (H,W) uint8, in colour (H,W,3)
    Raises     DataError when a path does not exist, or when there is no picture at all
    """
    from minifer.files.images import MOST_BYTES, left_out, read_image, suffixes

    members, others = find_pictures(paths)
    drawings = 0
    for member in members:
        path, image = Path(member.where), None
        row = {"image": str(path), "faces": []}
        try:
            data = member.read(MOST_BYTES)
            if is_drawing(data):
                drawings += 1
                continue
            image = read_image(io.BytesIO(data), str(path), colour=colour)
        except DataError as error:
            row["error"] = str(error)
        except OSError as error:
            row["error"] = one_line(f"{path}: {error.strerror or error}")
        yield path, row, image
    if others:
        log(f"minifer: {left_out(others)}")
    if drawings:
        log(f"minifer: {drawings} of the pictures were left out: --draw wrote them")
    if len(members) == drawings:
        raise DataError(f"{', '.join(map(str, paths))}: no pictures there (looked for {' '.join(suffixes())})")


def find_pictures(paths):
    """Return the pictures among files and below folders as Members, and the names of the folders' other files.

    A file that is named itself is a picture whatever it is called.

    Raises     DataError when a path does not exist
    """
    from minifer.files.archives import file_member, open_source
    from minifer.files.images import is_image_name

    pictures, others = [], []
    for path in map(Path, paths):
        if path.is_dir():
            with open_source(path) as source:
                for name, member in source.members.items():
                    pictures.append(member) if is_image_name(name) else others.append(name)
        elif path.exists():
            pictures.append(file_member(path.name, path))
        else:
            raise DataError(f"{path}: no such file or folder")
    return pictures, others


def is_drawing(data):
    """Whether the bytes of a file are what --draw wrote."""
    return DRAWN in data[:100] or data.endswith(DRAWN)


def ends(path):
    """Return the first and the last hundred bytes of a file."""
    with open(path, "rb") as file:
        first = file.read(100)
        file.seek(max(file.seek(0, 2) - 100, 0))
        return first + file.read()


def drawn_stem(path, ending="-faces"):
    """Return what the drawing of a picture or video is called: of a very long name the beginning, and an ending."""
    stem = os.fsencode(Path(path).stem)
    return os.fsdecode(stem[:LONGEST]) + ending


class Drawings:
    """A folder of pictures with their faces marked; pictures of one name from several folders get a number."""

    def __init__(self, folder):
        from minifer.files import make_folder

        self.folder = make_folder(Path(folder))
        self.used = set()

    def save(self, path, faces, label, landmarks=True):
        """Write a copy of the picture at path with a box, its label(face), and landmarks if there are any, per face.

        It is read again, in the colours that it has: detector and networks have mostly seen it grey.
        """
        from PIL import PngImagePlugin

        from minifer.files import replacing
        from minifer.files.images import read_image
        from minifer.report.faces import mark_faces

        picture = mark_faces(read_image(path, colour=True), faces, label, landmarks)
        target = self.target(drawn_stem(path), ".png")
        note = PngImagePlugin.PngInfo()
        for name, text in NOTE.items():
            note.add_text(name, text)
        try:
            with replacing(target) as file:
                picture.save(file, "PNG", pnginfo=note)
        except OSError as error:
            raise MiniferError(f"cannot write {target}: {error.strerror or error}") from error

    def target(self, stem, suffix):
        """Return a path that is new in this run, and no file but an earlier drawing if there is one."""
        for number in itertools.count(1):
            path = self.folder / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
            if path not in self.used and (not path.exists() or (path.is_file() and is_drawing(ends(path)))):
                self.used.add(path)
                return path
