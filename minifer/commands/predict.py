"""Say what the faces in pictures express: every face is found, cropped as for training, and classified."""

import contextlib
import csv
import itertools

from minifer.commands.common import add_model, add_threads, as_path, set_threads
from minifer.commands.pictures import Drawings, add_pictures, claimed_drawings, print_rows, read_pictures
from minifer.errors import MiniferError

NO_FACE, NOT_READ = "no_face", "not_read"  # what a picture without a face, or without a picture, is predicted to show


def add_arguments(parser):
    """Add the flags of `minifer predict`."""
    add_pictures(parser)
    parser.add_argument(
        "--weights",
        type=as_path,
        default="best",
        metavar="FILE|RUN|NAME",
        help="weights file, run folder, or name of shipped weights: best or small (default: best)",
    )
    parser.add_argument(
        "--no-detect", action="store_true", help="look for no face: each picture is one face, as in FER2013"
    )
    add_model(parser)
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="one line of JSON per picture")
    output.add_argument("--csv", type=as_path, metavar="FILE", help="also write a table, one row per face")
    add_threads(parser)


def run(args):
    """Run `minifer predict`: a line per face on stdout; return 1 when a picture could not be read."""
    from minifer import warm_up
    from minifer.recognizer import Recognizer

    set_threads(args)
    warming = warm_up.for_faces(detect=not args.no_detect) if args.alone else None
    recognizer = Recognizer.load(args.weights, detect=not args.no_detect, model=args.model)
    if warming:
        warming.wait()
    rows = predict(args.images, recognizer, args.draw)
    rows = write_csv(rows, args.csv, recognizer.classes) if args.csv else rows
    with claimed_drawings(args.draw), contextlib.closing(rows):
        return print_rows("predict", rows, describe, args.json, and_files=bool(args.csv or args.draw))


def describe(row):
    """Return a picture's row as text, a line for each face."""
    if not row["faces"]:
        return f"{row['image']}: {NOT_READ if 'error' in row else NO_FACE}"
    lines = []
    for number, face in enumerate(row["faces"], 1):
        where = "whole picture"
        if face["score"] is not None:
            box = " ".join(f"{value:.0f}" for value in face["box"])
            where = f"face {number} of {len(row['faces'])}, box {box}, score {face['score']:.2f}"
        likely = " then ".join(f"{name} {100 * p:.1f} %" for name, p in ranking(face)[:2])
        lines.append(f"{row['image']}: {where}: {likely}")
    return "\n".join(lines)


def ranking(face):
    """Return (class, probability) pairs of a face, the likeliest first."""
    return sorted(face["probabilities"].items(), key=lambda pair: -pair[1])


def predict(paths, recognizer, draw=None):
    """Yield one row per picture: {"image": path, "faces": see Recognizer.predict}, or with "error".

    A picture that cannot be read yields an empty list of faces and one line under "error"; the others are still done.

    Raises     DataError when a path does not exist or no picture is there
    """
    drawings = None if draw is None else Drawings(draw)
    for path, row, image in read_pictures(paths, recognizer.colour):
        if image is not None:
            row["faces"] = recognizer.predict(image)
            if drawings is not None:
                drawings.save(image, row["faces"], path, label, landmarks=False)
        yield row


def label(face):
    """Return what is written beside a face: its likeliest class."""
    name, probability = ranking(face)[0]
    return f"{name} {100 * probability:.0f} %"


def write_csv(rows, path, classes):
    """Yield rows, after writing each one to a table: a line per face, and one for a picture without a face.

    Lines are written as soon as they are known, so that an interrupted run leaves what it has found so far. A table of
    an earlier run is replaced only once there is something to write.
    """
    from minifer.files import claimed

    rows = iter(rows)
    first = list(itertools.islice(rows, 1))
    try:
        with claimed(path), open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["picture", "face", "x1", "y1", "x2", "y2", "score", "prediction", *classes])
            for row in itertools.chain(first, rows):
                table.writerows(table_rows(row, classes))
                file.flush()
                yield row
    except OSError as error:
        raise MiniferError(f"cannot write {path}: {error.strerror or error}") from error


def table_rows(row, classes):
    """Return a picture's lines of the table; what a picture without a face does not have is empty."""
    if not row["faces"]:
        return [[row["image"], *[""] * 6, NOT_READ if "error" in row else NO_FACE, *[""] * len(classes)]]
    lines = []
    for number, face in enumerate(row["faces"], 1):
        probabilities = [f"{face['probabilities'][name]:.5f}" for name in classes]
        lines.append([row["image"], number, *face["box"], face["score"], ranking(face)[0][0], *probabilities])
    return lines
