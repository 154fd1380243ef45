"""Say what the faces in pictures and videos express: every face is found, cropped as for training, and classified."""

import contextlib
import csv
import itertools
from pathlib import Path

from minifer.commands.common import add_model, add_threads, as_path, set_threads
from minifer.commands.pictures import (
    DRAWN,
    NOTE,
    Drawings,
    add_pictures,
    claimed_drawings,
    drawn_stem,
    print_rows,
    read_pictures,
)
from minifer.errors import ConfigError, DataError, MiniferError, one_line

# Of the table, before those of the classes; frame and time are of videos.
COLUMNS = ("picture", "frame", "time", "face", "x1", "y1", "x2", "y2", "score", "prediction")
NO_FACE, NOT_READ = "no_face", "not_read"  # what a picture without a face, or without a picture, is predicted to show


def add_arguments(parser):
    """Add the flags of `minifer predict`."""
    add_pictures(parser, "IMAGE|VIDEO|FOLDER", "pictures, videos, or folders of pictures")
    video = parser.add_argument_group("of videos, which need the extra `video`: pip install av")
    video.add_argument(
        "--every", type=int, metavar="N", help="answer frames 0, N, 2N, ... and leave out the others (default: 1)"
    )
    video.add_argument(
        "--smooth",
        type=float,
        metavar="S",
        help="predict from the mean logits of a face in which the past has the share S, 0 to below 1 (default: 0)",
    )
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
    output.add_argument("--json", action="store_true", help="one line of JSON per picture or frame")
    output.add_argument("--csv", type=as_path, metavar="FILE", help="also write a table, one row per face")
    add_threads(parser)


def run(args):
    """Run `minifer predict`: a line per face on stdout; return 1 when a picture could not be read."""
    from minifer import warm_up
    from minifer.files import check_target
    from minifer.recognizer import Recognizer

    set_threads(args)
    if args.csv:
        check_target(args.csv, "table of faces", "--csv")
    warming = warm_up.for_faces(detect=not args.no_detect) if args.alone else None
    recognizer = Recognizer.load(args.weights, detect=not args.no_detect, model=args.model)
    if warming:
        warming.wait()
    videos, pictures = split_videos(args.images)
    if not videos and (args.every, args.smooth) != (None, None):
        raise ConfigError("--every and --smooth are about videos, and there is none among the files")
    rows = predict_all(pictures, videos, recognizer, args)
    rows = write_csv(rows, args.csv, recognizer.classes, bool(videos), bool(args.smooth)) if args.csv else rows
    with claimed_drawings(args.draw), contextlib.closing(rows):
        return print_rows("predict", rows, describe, args.json, and_files=bool(args.csv or args.draw))


def predict_all(pictures, videos, recognizer, args):
    """Yield the rows of pictures, and then those of the frames of videos."""
    drawings = Drawings(args.draw) if args.draw else None
    if pictures:
        yield from predict(pictures, recognizer, drawings)
    every = 1 if args.every is None else args.every
    yield from predict_videos(videos, recognizer, drawings, every=every, smooth=args.smooth or 0.0)


def split_videos(paths):
    """Return the paths that are videos, and the others: pictures and folders of them."""
    from minifer.video.frames import is_video

    found = {path: is_video(Path(path)) for path in paths}
    return [path for path in paths if found[path]], [path for path in paths if not found[path]]


def describe(row):
    """Return a picture's or frame's row as text, a line for each face."""
    place = one_line(row["image"])
    place += f": {row['time']:.2f} s" if "time" in row else ""
    if not row["faces"]:
        return f"{place}: {NOT_READ if 'error' in row else NO_FACE}"
    lines = []
    for number, face in enumerate(row["faces"], 1):
        where = "whole picture"
        if face["score"] is not None:
            box = " ".join(f"{value:.0f}" for value in face["box"])
            which = f"face {face['face']}" if "face" in face else f"face {number} of {len(row['faces'])}"
            where = f"{which}, box {box}, score {face['score']:.2f}"
        likely = " then ".join(f"{name} {100 * p:.1f} %" for name, p in ranking(face)[:2])
        lines.append(f"{place}: {where}: {likely}")
    return "\n".join(lines)


def ranking(face):
    """Return (class, probability) pairs of a face, the likeliest first; of a smoothed one as it was smoothed."""
    return sorted(face.get("smoothed", face["probabilities"]).items(), key=lambda pair: -pair[1])


def predict(paths, recognizer, drawings=None):
    """Yield one row per picture: {"image": path, "faces": see Recognizer.predict}, or with "error".

    A picture that cannot be read yields an empty list of faces and one line under "error"; the others are still done.

    Raises     DataError when a path does not exist or no picture is there
    """
    for path, row, image in read_pictures(paths, recognizer.colour):
        if image is not None:
            row["faces"] = recognizer.predict(image)
            if drawings is not None:
                drawings.save(path, row["faces"], label, landmarks=False)
        yield row


def predict_videos(paths, recognizer, drawings=None, **settings):
    """Yield one row per frame: {"image": path, "frame": number, "time": seconds, "faces": see video.analyze}.

    What ends a video early is the "error" of a last row without faces. With drawings an annotated copy of each video is
    written, and a picture of its probabilities over time.
    """
    from minifer.report.timeline import Timeline
    from minifer.video.analysis import answers
    from minifer.video.drawing import Film

    for path in paths:
        timeline, last = Timeline(recognizer.classes), {}
        with contextlib.ExitStack() as stack:
            film = None
            try:
                for frame, faces in answers(path, recognizer, **settings):
                    if drawings is not None:
                        if film is None:
                            target = drawings.target(drawn_stem(path), ".mp4")
                            film = stack.enter_context(Film(target, path, ending=DRAWN))
                        film.write(frame, faces, label)
                        timeline.add(frame.time, faces)
                    last = {"frame": frame.index, "time": round(frame.time, 6)}
                    yield {"image": path, **last, "faces": faces}
            except DataError as error:
                yield {"image": path, **last, "faces": [], "error": str(error)}
        if film is not None:
            timeline.draw(drawings.target(drawn_stem(path, "-over-time"), ".png"), NOTE)


def label(face):
    """Return what is written beside a face: its likeliest class, in a video after its number."""
    name, probability = ranking(face)[0]
    number = f"{face['face']}: " if "face" in face else ""
    return f"{number}{name} {100 * probability:.0f} %"


def write_csv(rows, path, classes, videos=False, smoothed=False):
    """Yield rows, after writing each one to a table: a line per face, and one for a picture without a face.

    Lines are written as soon as they are known, so that an interrupted run leaves what it has found so far. A table of
    an earlier run is replaced only once there is something to write.
    """
    from minifer.data.predictions import class_columns
    from minifer.files import claimed

    rows = iter(rows)
    first = list(itertools.islice(rows, 1))
    names = class_columns(classes, COLUMNS)
    header = [*(name for name in COLUMNS if videos or name not in ("frame", "time")), *names]
    header += [f"smoothed_{name}" for name in names] * smoothed
    try:
        with claimed(path), open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            table = csv.DictWriter(file, header, restval="", lineterminator="\n")
            table.writeheader()
            for row in itertools.chain(first, rows):
                table.writerows(table_rows(row))
                file.flush()
                yield row
    except OSError as error:
        raise MiniferError(f"cannot write {path}: {error.strerror or error}") from error


def table_rows(row):
    """Return a row's lines of the table; what a picture without a face does not have is left out."""
    from minifer.data.predictions import class_columns

    place = {"picture": row["image"], **{name: row[name] for name in ("frame", "time") if name in row}}
    if not row["faces"]:
        return [{**place, "prediction": NOT_READ if "error" in row else NO_FACE}]
    lines = []
    for number, face in enumerate(row["faces"], 1):
        line = {
            **place,
            "face": face.get("face", number),
            **dict(zip(("x1", "y1", "x2", "y2"), face["box"], strict=True)),
        }
        line |= {"score": face["score"], "prediction": ranking(face)[0][0]}
        for kind, before in (("probabilities", ""), ("smoothed", "smoothed_")):
            found = face.get(kind, {})
            names = class_columns(found, COLUMNS)
            line |= {f"{before}{name}": f"{p:.5f}" for name, p in zip(names, found.values(), strict=True)}
        lines.append(line)
    return lines
