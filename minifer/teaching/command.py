"""The command line of `python -m minifer.testing`: each verb parses, calls one function, prints."""

import argparse
import json
import sys
from pathlib import Path

from minifer.errors import ConfigError, MiniferError
from minifer.files import check_target
from minifer.files.writing import user_path, write_text
from minifer.output import outputs


def make_parser():
    """Return the parser."""
    parser = argparse.ArgumentParser(prog="python -m minifer.testing", description="For courses with exercises.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    verb = verbs.add_parser("score", help="points for a folder of answers; runs them, without a sandbox")
    verb.add_argument("folder", type=as_path, metavar="FOLDER", help="a student's files")
    verb.add_argument(
        "--tests",
        type=as_path,
        metavar="FOLDER",
        help="test_NAME.py and points.json that the student need not know; default: those beside the answers",
    )
    verb.add_argument("--seconds", type=limit, default=None, help="that one exercise may take (default: 120)")
    verb.add_argument("--json", action="store_true", help="print one JSON document")
    verb.add_argument("--junit", type=as_path, metavar="FILE", help="write JUnit's XML to this file")
    verb.set_defaults(run=run_score)

    verb = verbs.add_parser("pareto", help="compare the capstones in the folders of a folder; runs them")
    verb.add_argument("folder", type=as_path, metavar="FOLDER", help="with a folder for each submission")
    verb.add_argument("--tests", type=as_path, metavar="FOLDER", help="as for score")
    verb.add_argument("--seconds", type=limit, default=None, help="that one submission may take (default: 120)")
    verb.add_argument("--draw", type=as_path, metavar="FILE.png", help="draw accuracy against multiply-adds")
    verb.set_defaults(run=run_pareto)

    verb = verbs.add_parser("status", help="what is solved, how often you tried, and what comes next")
    verb.add_argument("folder", type=as_path, metavar="FOLDER", nargs="?", default=Path(), help="default: this one")
    verb.set_defaults(run=run_status)

    verb = verbs.add_parser("milestone", help="train a small MobileNet of your own layers with your own Adam")
    verb.add_argument(
        "--mine",
        type=as_path,
        metavar="FOLDER",
        default=Path(),
        help="with depthwise.py, batchnorm.py, attention.py and adam.py (default: this one); runs them",
    )
    verb.set_defaults(run=run_milestone)
    return parser


def as_path(text):
    """Return a Path as a user means it."""
    try:
        return Path(user_path(text))
    except ConfigError as error:
        raise argparse.ArgumentTypeError(error) from None


def limit(text):
    """Return a number of seconds."""
    seconds = float(text)
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text}: a limit is more than 0 and at most 86400 seconds")
    return seconds


def run_score(args):
    """Score, print and write."""
    from minifer.teaching import score_report
    from minifer.teaching.score import NOTICE, SECONDS, score

    if args.junit:
        check_target(args.junit, "report in JUnit's XML", "--junit")
    print(NOTICE.format(folder=args.folder), file=sys.stderr)
    exercises = score(args.folder, args.tests, args.seconds or SECONDS)
    if args.json:
        print(json.dumps(score_report.as_document(args.folder, exercises), indent=2))
    else:
        print(score_report.as_text(exercises))
    if args.junit:  # last: minutes of scoring are not lost where it cannot be written
        write_text(args.junit, score_report.as_junit(exercises))


def run_pareto(args):
    """Score every submission, print, and draw those that could be measured."""
    from minifer.teaching import capstone
    from minifer.teaching.score import NOTICE

    if args.draw:
        check_target(args.draw, "PNG picture", "--draw")
    print(NOTICE.format(folder=args.folder), file=sys.stderr)
    results = capstone.compare(args.folder, args.tests, args.seconds)
    measured = {name: each.properties for name, each in results.items() if "accuracy" in each.properties}
    first = capstone.frontier(measured)
    for name, each in results.items():
        figures = "   ".join(f"{key} {value:,}" for key, value in each.properties.items())
        why = "" if name in measured else (each.tests[0].message.splitlines() or [""])[0]
        print(f"{'*' if name in first else ' '} {name:<16}{each.points:>4g} of {each.possible:g}   {figures}   {why}")
    print("* none is as accurate for fewer multiply-adds")
    if args.draw and measured:
        capstone.draw(measured, args.draw)


def run_status(args):
    """Print what the tests have left behind."""
    from minifer.teaching.progress import status

    print(status(args.folder))


def run_milestone(args):
    """Check, train and print; the exit code is 0 when the milestone is reached."""
    from minifer.teaching.milestone import milestone

    result = milestone(args.mine)
    print(result)
    return 0 if result.reached else 1


def main(arguments=None):
    """Run a verb and return the exit code: 0 fine, 1 something failed, 2 wrong usage, 130 interrupted."""
    name = "python -m minifer.testing"
    with outputs():
        try:
            args = make_parser().parse_args(arguments)
            name = f"{name} {args.verb}"
            return args.run(args) or 0
        except SystemExit as stop:  # argparse has said why
            return stop.code
        except KeyboardInterrupt:
            print(f"{name}: interrupted", file=sys.stderr)
            return 130
        except MiniferError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 2 if isinstance(error, ConfigError) else 1
        except OSError as error:
            print(f"{name}: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
            return 1
