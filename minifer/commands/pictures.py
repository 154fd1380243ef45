"""What the verbs that read pictures share: the pictures, the faces in them, and copies with the faces marked."""

import json
import sys
from collections import Counter
from pathlib import Path

from minifer.errors import DataError, MiniferError


def add_pictures(parser):
    """Add the pictures to read and --draw."""
    parser.add_argument("images", nargs="+", metavar="IMAGE|FOLDER", help="pictures, or folders of pictures")
    parser.add_argument(
        "--draw", metavar="DIR", help="write a copy of each picture with its faces marked to this folder"
    )


def print_rows(verb, rows, describe, as_json):
    """Print one row per picture on stdout and its error, if any, on stderr; return the exit code: 1 after an error."""
    failed = False
    for row in rows:
        print(json.dumps(row) if as_json else describe(row), flush=True)
        if "error" in row:
            failed = True
            print(f"minifer {verb}: {row['error']}", file=sys.stderr)
    return int(failed)


def read_pictures(paths):
    """Yield (path, row, image) for each picture, the row {"image": path, "faces": []} still to be filled.

    Of a picture that cannot be read, the image is None and the row has one line under "error".

    Shapes     image (H,W) uint8
    Raises     DataError when a path does not exist, or when there is no picture at all
    """
    from minifer.faces.images import SUFFIXES, picture_files, read_image

    files = picture_files(paths)
    if not files:
        raise DataError(f"{', '.join(map(str, paths))}: no pictures there (looked for {' '.join(SUFFIXES)})")
    for path in files:
        row, image = {"image": str(path), "faces": []}, None
        try:
            image = read_image(path)
        except DataError as error:
            row["error"] = str(error)
        yield path, row, image


def describe_face(found, points=None):
    """Return a Detection, and its landmarks if there are any, as a JSON-able dict."""
    face = {"box": found.box.round(2).tolist(), "score": round(found.score, 4)}
    return face if points is None else {**face, "landmarks": points.round(2).tolist()}


class Drawings:
    """A folder of pictures with their faces marked; pictures of one name from several folders get a number."""

    def __init__(self, folder):
        from minifer.files import make_folder

        self.folder = make_folder(Path(folder))
        self.used = Counter()

    def save(self, image, faces, path, label, landmarks=True):
        """Write a copy of the picture at path with a box, its label(face), and landmarks if there are any, per face."""
        from PIL import Image, ImageDraw, ImageFont

        picture = Image.fromarray(image).convert("RGB")
        pen = ImageDraw.Draw(picture)
        for face in faces:
            x1, y1, x2, y2 = face["box"]
            width = max(round((x2 - x1) / 50), 1)
            pen.rectangle([x1, y1, x2, y2], outline="yellow", width=width)
            for x, y in face.get("landmarks", []) if landmarks else []:
                pen.ellipse([x - width, y - width, x + width, y + width], fill="cyan")
            font = ImageFont.load_default(min(max((x2 - x1) / 8, 10), 40))
            left, top, right, bottom = pen.textbbox((0, 0), label(face), font=font)
            # Below the box, or as near to it as the picture's border lets it stay in sight.
            x = max(min(x1, picture.width - right), 0)
            y = max(min(y2 + 1, picture.height - bottom - 1), 0)
            pen.rectangle([x + left - 1, y + top - 1, x + right + 1, y + bottom + 1], fill="black")
            pen.text((x, y), label(face), fill="yellow", font=font)
        name = f"{path.stem}-faces"
        self.used[name] += 1
        target = self.folder / (f"{name}.png" if self.used[name] == 1 else f"{name}-{self.used[name]}.png")
        try:
            picture.save(target)
        except OSError as error:
            raise MiniferError(f"cannot write {target}: {error.strerror or error}") from error
