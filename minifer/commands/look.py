"""Draw what a trained network does inside with a picture: filters, feature maps, attention, saliency, blocks' effects.

Each view becomes a PNG in --out, and one line says what it shows.
"""

import sys

from minifer.commands.common import add_model, add_threads, as_path, set_threads
from minifer.errors import DataError


def add_arguments(parser):
    """Add the flags of `minifer look`."""
    parser.add_argument(
        "weights", type=as_path, metavar="RUN|FILE|NAME", help="run folder, weights file, or shipped: best or small"
    )
    parser.add_argument("image", type=as_path, metavar="IMAGE", help="the picture; its surest face is looked at")
    parser.add_argument("--out", type=as_path, required=True, metavar="DIR", help="folder for the views, a PNG each")
    parser.add_argument(
        "--no-detect", action="store_true", help="look for no face: the picture is one, or something else altogether"
    )
    add_model(parser)
    add_threads(parser)


def run(args):
    """Run `minifer look`: a line for each view on stdout."""
    from minifer.files import claimed, make_folder
    from minifer.recognizer import Recognizer
    from minifer.report.canvas import write_figure
    from minifer.report.look import views

    set_threads(args)
    recognizer = Recognizer.load(args.weights, detect=not args.no_detect, model=args.model)
    faces = recognizer.faces(recognizer.picture(args.image))
    if not faces:
        raise DataError(f"{args.image}: no face found; --no-detect looks at the whole picture")
    x = faces[0].input
    probs = recognizer.probabilities([x])[0]
    with claimed(make_folder(args.out)):
        for name, figure, text in views(recognizer.model, x, recognizer.classes, probs):
            if figure is None:
                print(f"no {name}: {text}", file=sys.stderr)
                continue
            path = f"{args.out}/{name}.png"
            write_figure(figure, path)
            print(f"{path}: {text}", flush=True)
    return 0
