"""Train the face detector from aligned faces and scenes without faces."""

import sys
import time
from pathlib import Path

from minifer.commands.common import as_path, as_seed


def add_arguments(parser):
    """Add the flags of `minifer train-detector`."""
    parser.add_argument(
        "--faces",
        type=as_path,
        required=True,
        metavar="PATH",
        help="zip or folder with aligned 36x36 faces (in faces/)",
    )
    parser.add_argument(
        "--scenes",
        type=as_path,
        required=True,
        metavar="PATH",
        help="zip or folder with pictures of no face (in scenes/)",
    )
    parser.add_argument(
        "--portraits", type=as_path, metavar="PATH", help="zip or folder with pictures and their 68 landmarks (.pts)"
    )
    parser.add_argument(
        "--out", type=as_path, default="detector.npz", metavar="FILE", help="where to write it (default: detector.npz)"
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of hard-negative mining (default: 3)")
    parser.add_argument("--seed", type=as_seed, default=0, metavar="N", help="of everything random (default: 0)")


def run(args):
    """Run `minifer train-detector`."""
    from minifer.allowed import Whole, checked
    from minifer.files import check_target, claimed, make_folder

    checked("--rounds", args.rounds, Whole(0, 100))
    check_target(args.out, "face detector", "--out")  # said before hours are spent, not after
    make_folder(Path(args.out).parent)
    with claimed(args.out):
        train_detector(args.faces, args.scenes, args.portraits, args.out, rounds=args.rounds, seed=args.seed)


def train_detector(faces, scenes, portraits=None, out="detector.npz", **settings):
    """Train a FaceDetector from archives or folders, write it to out, and return it.

    Pictures are taken from the folders called faces and scenes where there are such, else from everywhere below.
    Raises     DataError when a path holds no usable pictures
    """
    from minifer.errors import DataError
    from minifer.faces import detector_training
    from minifer.faces.archives import pictures_below, portraits_below

    def pictures(path, part):
        try:
            return list(pictures_below(path, part).values())
        except DataError:
            return list(pictures_below(path).values())

    start = time.perf_counter()
    aligned = pictures(faces, "faces")
    if wrong := next((face.shape for face in aligned if face.shape != (36, 36)), None):
        raise DataError(f"{faces}: faces must be aligned pictures of 36 x 36 pixels, got {wrong}")
    detector = detector_training.train_detector(
        aligned,
        pictures(scenes, "scenes"),
        portraits_below(portraits) if portraits else (),
        log=lambda text: print(f"{time.perf_counter() - start:6.0f} s  {text}", file=sys.stderr, flush=True),
        **settings,
    )
    detector.save(out)
    return detector
