"""Find the faces in pictures: boxes, scores and, if asked for, landmarks."""

import json
import sys
from pathlib import Path

from minifer.errors import ConfigError, DataError


def add_arguments(parser):
    """Add the flags of `minifer detect`."""
    parser.add_argument("images", nargs="+", metavar="IMAGE|FOLDER", help="pictures, or folders of pictures")
    parser.add_argument(
        "--threshold", type=float, metavar="T", help="least score, 0 to 1 (default: the detector's own)"
    )
    parser.add_argument("--min-size", type=float, default=24, metavar="PX", help="smallest face (default: 24)")
    parser.add_argument("--scale-step", type=float, default=1.15, metavar="S", help="between sizes (default: 1.15)")
    parser.add_argument("--landmarks", action="store_true", help="also find the 68 landmarks of every face")
    parser.add_argument(
        "--draw", metavar="DIR", help="write a copy of each picture with its faces marked to this folder"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON per picture")


def run(args):
    """Run `minifer detect`: one line per picture on stdout; return 1 when a picture could not be read."""
    if args.threshold is not None and not 0 <= args.threshold <= 1:
        raise ConfigError(f"--threshold is a score from 0 to 1, got {args.threshold}")
    failed = False
    settings = {"threshold": args.threshold, "min_size": args.min_size, "scale_step": args.scale_step}
    for row in detect(args.images, landmarks=args.landmarks, draw=args.draw, **settings):
        print(json.dumps(row) if args.json else describe(row), flush=True)
        if "error" in row:
            failed = True
            print(f"minifer detect: {row['error']}", file=sys.stderr)
    return int(failed)


def describe(row):
    """Return a picture's row as text."""
    if "error" in row:
        return f"{row['image']}: not read"
    faces = [f"  {face['score']:.3f}  " + " ".join(f"{value:7.1f}" for value in face["box"]) for face in row["faces"]]
    count = len(faces)
    return "\n".join([f"{row['image']}: {count or 'no'} face{'' if count == 1 else 's'}", *faces])


def detect(paths, threshold=None, min_size=24, scale_step=1.15, landmarks=False, draw=None):
    """Yield one row per picture: {"image": path, "faces": [{"box", "score"[, "landmarks"]}]}, or with "error".

    A picture that cannot be read yields an empty list of faces and one line under "error"; the others are still done.

    Raises     DataError when a path does not exist; CheckpointError when there are no weights
    """
    from minifer.faces.detector import FaceDetector
    from minifer.faces.images import picture_files, read_image
    from minifer.faces.landmarks import LandmarkPredictor

    detector = FaceDetector.load()
    predictor = LandmarkPredictor.load() if landmarks else None
    for path in picture_files(paths):
        try:
            image = read_image(path)
        except DataError as error:
            yield {"image": str(path), "faces": [], "error": str(error)}
            continue
        faces = []
        for found in detector.detect(image, threshold, min_size, scale_step):
            faces.append({"box": found.box.round(2).tolist(), "score": round(found.score, 4)})
            if predictor is not None:
                faces[-1]["landmarks"] = predictor.predict(image, found.box).round(2).tolist()
        if draw is not None:
            draw_faces(image, faces, Path(draw) / f"{path.stem}-faces.png")
        yield {"image": str(path), "faces": faces}


def draw_faces(image, faces, path):
    """Write a picture with a box and score, and points if there are any, for each face."""
    from PIL import Image, ImageDraw

    from minifer.files import make_folder

    make_folder(path.parent)
    picture = Image.fromarray(image).convert("RGB")
    pen = ImageDraw.Draw(picture)
    for face in faces:
        x1, y1, x2, y2 = face["box"]
        width = max(round((x2 - x1) / 50), 1)
        pen.rectangle([x1, y1, x2, y2], outline="yellow", width=width)
        pen.text((x1, y2 + 1), f"{face['score']:.2f}", fill="yellow")
        for x, y in face.get("landmarks", []):
            pen.ellipse([x - width, y - width, x + width, y + width], fill="cyan")
    picture.save(path)
