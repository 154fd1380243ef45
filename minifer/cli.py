"""The command line: one module of minifer.commands per verb. Nothing heavy is imported before a verb runs."""

import argparse
import sys
from importlib import import_module

from minifer import __version__
from minifer.errors import ConfigError, MiniferError

VERBS = {  # verb: (module of minifer.commands with add_arguments and run, one line of help)
    "train": ("train", "train a network, on real data or on drawn faces"),
    "evaluate": ("evaluate", "measure a trained network on a split"),
    "predict": ("predict", "say what the faces in pictures express"),
    "detect": ("detect", "find the faces in pictures, and their landmarks"),
    "prepare": ("prepare", "crop every picture of a data set to its face"),
    "cost": ("cost", "count multiply-adds and parameters, layer by layer"),
    "gradcheck": ("gradcheck", "compare backward passes with central differences"),
    "reproduce": ("reproduce", "carry the published study out again and write a report"),
    "train-detector": ("train_detector", "train the face detector again"),
    "train-landmarks": ("train_landmarks", "train the landmark predictor again"),
    "bench": ("bench", "measure speed: kernels, train, infer or detect"),
    "doctor": ("doctor", "print versions, threads and folders, for when something is odd"),
}


def make_parser(arguments):
    """Return the parser of `minifer`; of the verbs, only one that is among the arguments is imported."""
    parser = argparse.ArgumentParser(
        prog="minifer",
        description="A MobileNet with skips and attention, from scratch in NumPy and Numba, on facial expressions.",
    )
    parser.add_argument("--version", action="version", version=f"minifer {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, (module, summary) in VERBS.items():
        verb = verbs.add_parser(name, help=summary)
        if name in arguments:
            command = import_module(f"minifer.commands.{module}")
            verb.description = command.__doc__
            command.add_arguments(verb)
            verb.set_defaults(run=command.run)
    return parser


def main(arguments=None):
    """Run one command and return its exit code: 0 fine, 1 something failed, 2 wrong usage, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    args = make_parser(arguments).parse_args(arguments)
    try:
        return args.run(args) or 0
    except ConfigError as error:
        print(f"minifer {args.verb}: {error}", file=sys.stderr)
        return 2
    except MiniferError as error:
        print(f"minifer {args.verb}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print(f"minifer {args.verb}: interrupted", file=sys.stderr)
        return 130
