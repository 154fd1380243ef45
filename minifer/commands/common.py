"""What several verbs share: flags, and finding weights."""

import argparse
import json
import sys
from pathlib import Path

from minifer import weights
from minifer.allowed import Several, Whole
from minifer.errors import ConfigError
from minifer.files import user_path


def as_path(text):
    """Return a path that a flag gives: the type of every such flag."""
    try:
        return user_path(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def as_paths(text):
    """Return paths parted by commas, as one text again."""
    return ",".join(as_path(part) for part in text.split(","))


def as_seed(text):
    """Return a seed that a flag gives."""
    if (number := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"{number} is negative: choose 0 or more")
    return number


def add_threads(parser):
    """Add --threads."""
    parser.add_argument("--threads", type=int, metavar="N", help="threads to compute with (default: all cores)")


def set_threads(args):
    """Apply --threads."""
    if args.threads is not None:
        from minifer.kernels.threads import threads

        try:
            threads(args.threads)
        except ValueError as error:
            raise ConfigError(str(error)) from error


def log(text):
    """Print a line of the log, which goes to stderr: stdout is for results."""
    print(text, file=sys.stderr, flush=True)


def print_json(document):
    """Print one JSON document on stdout."""
    print(json.dumps(document, indent=2))


def find_weights(name):
    """Return the path of a weights file, given a file, a run folder or the name of shipped weights.

    A name that ships means what ships, whatever the current folder holds: ./best is a folder or file of that name.

    Raises     ConfigError when it is a bare name that is none of these; a path is left for its reader to complain about
    """
    name, path = str(name), Path(name)
    if name in weights.NETWORKS:
        shipped = weights.FOLDER / weights.NETWORKS[name]
        if shipped.exists():
            return shipped
        what = f"are missing from {weights.FOLDER}"
    else:
        if path.is_dir():
            return path / "best.npz"
        if path.exists() or path.suffix or path.name != name:
            return path
        what = "are neither a file, a run folder nor shipped"
    raise ConfigError(
        f"the weights {name!r} {what} (names that ship: {' and '.join(weights.NETWORKS)}); train a network with "
        "'minifer train --data fer2013.zip --out runs/mine' and give runs/mine instead"
    )


def parse_shape(text):
    """Return (H, W, C) of a text such as 48x48x1."""
    try:
        sides = Several(Whole(1, 10_000), least=3, most=3).take(map(int, text.lower().split("x")))
    except ValueError:
        raise ConfigError(f"{text!r} is not a shape: write HxWxC, such as 48x48x1, each from 1 to 10000") from None
    return sides
