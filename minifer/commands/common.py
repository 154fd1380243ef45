"""What several verbs share: flags, and finding weights."""

import argparse
import json

from minifer.allowed import Several, Whole
from minifer.errors import ConfigError
from minifer.files import user_path
from minifer.output import print_result


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


def set_threads(args, shared_by=1):
    """Apply --threads; without it, a process takes its share of the cores that so many processes share."""
    if args.threads is not None or shared_by > 1:
        from minifer.kernels.threads import threads

        try:
            threads(max(threads() // shared_by, 1) if args.threads is None else args.threads)
        except ValueError as error:
            raise ConfigError(str(error)) from error


def add_jobs(parser, default=2):
    """Add --jobs and --scheduler."""
    parser.add_argument("--jobs", type=int, default=default, metavar="N", help=f"processes (default: {default})")
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="share the work among the workers of this Dask scheduler instead"
    )


def add_model(parser):
    """Add --model for weights of a network of one's own."""
    parser.add_argument(
        "--model", metavar="FILE.py:FUNCTION", help="the network of your own that the weights were trained with"
    )


def print_json(document):
    """Print one JSON document on stdout."""
    print_result(json.dumps(document, indent=2))


def write_table(path, rows):
    """Write rows of cells as a table that spreadsheets read: numbers without commas."""
    from minifer.files import table_text, write_text

    write_text(path, table_text([rows[0], *([cell.replace(",", "") for cell in row] for row in rows[1:])]))


def parse_shape(text):
    """Return (H, W, C) of a text such as 48x48x1."""
    try:
        sides = Several(Whole(1, 10_000), least=3, most=3).take(map(int, text.lower().split("x")))
    except ValueError:
        raise ConfigError(f"{text!r} is not a shape: write HxWxC, such as 48x48x1, each from 1 to 10000") from None
    return sides
