"""Find the faces in pictures: boxes, scores and, if asked for, landmarks."""

from minifer.commands.pictures import Drawings, add_pictures, claimed_drawings, print_rows, read_pictures
from minifer.errors import DataError, one_line


def add_arguments(parser):
    """Add the flags of `minifer detect`."""
    add_pictures(parser)
    parser.add_argument(
        "--threshold", type=float, metavar="T", help="least score, 0 to 1 (default: the detector's own)"
    )
    parser.add_argument("--min-size", type=float, default=24, metavar="PX", help="smallest face (default: 24)")
    parser.add_argument("--scale-step", type=float, default=1.15, metavar="S", help="between sizes (default: 1.15)")
    parser.add_argument("--landmarks", action="store_true", help="also find the 68 landmarks of every face")
    parser.add_argument("--json", action="store_true", help="one line of JSON per picture")


def run(args):
    """Run `minifer detect`: one line per picture on stdout; return 1 when a picture could not be read."""
    from minifer.allowed import Number, checked

    if args.threshold is not None:
        checked("--threshold", args.threshold, Number(0, 1))
    settings = {"threshold": args.threshold, "min_size": args.min_size, "scale_step": args.scale_step}
    with claimed_drawings(args.draw):
        rows = detect(args.images, landmarks=args.landmarks, draw=args.draw, **settings)
        return print_rows("detect", rows, describe, args.json, and_files=bool(args.draw))


def describe(row):
    """Return a picture's row as text."""
    place = one_line(row["image"])
    if "error" in row:
        return f"{place}: not read"
    faces = [f"  {face['score']:.3f}  " + " ".join(f"{value:7.1f}" for value in face["box"]) for face in row["faces"]]
    count = len(faces)
    return "\n".join([f"{place}: {count or 'no'} face{'' if count == 1 else 's'}", *faces])


def detect(paths, threshold=None, min_size=24, scale_step=1.15, landmarks=False, draw=None):
    """Yield one row per picture: {"image": path, "faces": [{"box", "score"[, "landmarks"]}]}, or with "error".

    A picture that cannot be read, or is too large for faces so small, yields an empty list of faces and one line under
    "error"; the others are still done.

    Raises     DataError when a path does not exist or no picture is there; CheckpointError when there are no weights
    """
    from minifer.faces.detector import FaceDetector
    from minifer.faces.landmarks import LandmarkPredictor

    detector = FaceDetector.load()
    predictor = LandmarkPredictor.load() if landmarks else None
    drawings = None if draw is None else Drawings(draw)
    for path, row, image in read_pictures(paths):
        if image is not None:
            try:
                detections = detector.detect(image, threshold, min_size, scale_step)
            except DataError as error:
                row["error"] = one_line(f"{path}: {error}")
                yield row
                continue
            for found in detections:
                points = None if predictor is None else predictor.predict(image, found.box)
                row["faces"].append(found.as_dict(points))
            if drawings is not None:
                drawings.save(path, row["faces"], label=lambda face: f"{face['score']:.2f}")
        yield row
