"""Train the landmark predictor from portraits with 68 landmarks each."""

import sys
import time
from pathlib import Path

from minifer.commands.common import as_path, as_seed


def add_arguments(parser):
    """Add the flags of `minifer train-landmarks`."""
    parser.add_argument(
        "--data", type=as_path, required=True, metavar="PATH", help="zip or folder with pictures and .pts files"
    )
    parser.add_argument(
        "--out",
        type=as_path,
        default="landmarks.npz",
        metavar="FILE",
        help="where to write it (default: landmarks.npz)",
    )
    parser.add_argument("--hold-out", type=int, default=0, metavar="N", help="keep every N-th picture to measure on")
    parser.add_argument(
        "--copies", type=int, default=10, metavar="N", help="of every picture and its mirror (default: 10)"
    )
    parser.add_argument("--seed", type=as_seed, default=0, metavar="N", help="of everything random (default: 0)")


def run(args):
    """Run `minifer train-landmarks`; with --hold-out print what it measures."""
    from minifer.allowed import Whole, checked
    from minifer.files import check_target, claimed, make_folder

    checked("--copies", args.copies, Whole(1, 100))
    if args.hold_out:
        checked("--hold-out", args.hold_out, Whole(2, 1000))
    check_target(args.out, "landmark predictor", "--out")  # said before hours are spent, not after
    make_folder(Path(args.out).parent)
    with claimed(args.out):
        train_landmarks(args.data, args.out, args.hold_out, copies=args.copies, seed=args.seed)


def train_landmarks(data, out="landmarks.npz", hold_out=0, **settings):
    """Train a LandmarkPredictor from an archive or folder, write it to out, and return it.

    With hold_out = N, every N-th portrait is not trained on, and errors on those are printed.
    Raises     DataError when the path holds no portraits with landmarks, or all are held out
    """
    from minifer.errors import DataError
    from minifer.faces import landmark_training
    from minifer.faces.archives import portraits_below

    start = time.perf_counter()
    portraits = portraits_below(data)
    kept = [portrait for i, portrait in enumerate(portraits) if not hold_out or i % hold_out]
    if not kept:
        raise DataError(f"{data}: a single portrait, which is held out: give more, or leave out --hold-out")
    predictor = landmark_training.train_landmarks(
        kept,
        log=lambda text: print(f"{time.perf_counter() - start:6.0f} s  {text}", file=sys.stderr, flush=True),
        **settings,
    )
    predictor.save(out)
    if hold_out:
        for name, value in landmark_training.measure(predictor, portraits[::hold_out]).items():
            print(f"{name}: {value:.4f}")
    return predictor
