"""Open a page in the browser: faces from the camera or a picture, and what each layer of a network does with them."""

from minifer.commands.common import add_model, as_path
from minifer.errors import ConfigError, MiniferError

REMEDY = "minifer demo needs starlette and uvicorn: pip install 'minifer[demo]'"


def add_arguments(parser):
    """Add the flags of `minifer demo`."""
    parser.add_argument(
        "--weights",
        type=as_path,
        metavar="FILE|RUN|NAME",
        help="weights file or run folder to show beside the networks that ship, best and small",
    )
    add_model(parser)
    parser.add_argument("--port", type=int, default=8000, help="0 takes any free one (default: 8000)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument(
        "--min-size", type=int, default=80, metavar="PX",
        help="side of the smallest face in the camera's picture; smaller ones take longer (default: 80)",
    )  # fmt: skip
    parser.add_argument(
        "--threshold", type=float, default=0.5, metavar="T", help="the least score of a face (default: 0.5)"
    )


def run(args):
    """Run `minifer demo` until Ctrl-C."""
    from minifer import weights
    from minifer.allowed import Number, Whole, checked

    try:
        from minifer.demo.serve import serve
    except ImportError as error:
        if error.name and error.name.startswith("minifer"):
            raise
        raise MiniferError(REMEDY) from None
    from minifer.demo.viewer import LARGEST, SMALLEST, Viewer

    checked("--min-size", args.min_size, Whole(SMALLEST, LARGEST))
    checked("--threshold", args.threshold, Number(0, 1))
    checked("--port", args.port, Whole(0, 65535))
    if args.model and not args.weights:
        raise ConfigError("--model is the network of --weights: give both")
    names = dict.fromkeys([*([args.weights] if args.weights else []), *weights.NETWORKS])
    viewer = Viewer(names, args.model, args.threshold, args.min_size)
    serve(viewer, args.port, args.open, lambda line: print(line, flush=True), args.alone)
