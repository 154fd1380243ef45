"""Detect, crop and pad every picture of FER2013; write them as one .npz, and say what was found and what was not."""

from minifer.commands.common import add_jobs, as_path, print_json
from minifer.faces.prepare import FOUND_FROM, prepare


def add_arguments(parser):
    """Add the flags of `minifer prepare`."""
    parser.add_argument("--data", type=as_path, required=True, metavar="PATH", help="FER2013: csv, zip, folder or npz")
    parser.add_argument("--out", type=as_path, required=True, metavar="FILE.npz", help="where to write the crops")
    parser.add_argument(
        "--threshold", type=float, default=FOUND_FROM, metavar="T", help=f"least score (default: {FOUND_FROM})"
    )
    parser.add_argument("--level", action="store_true", help="turn every face until its eyes are level")
    parser.add_argument("--keep-all", action="store_true", help="keep training pictures without a face, as they are")
    add_jobs(parser)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args):
    """Run `minifer prepare`."""
    from minifer.allowed import Number, Whole, checked
    from minifer.jobs import MOST_JOBS

    checked("--threshold", args.threshold, Number(0, 1))
    checked("--jobs", args.jobs, Whole(1, MOST_JOBS))
    report = prepare(args.data, args.out, args.threshold, args.level, args.keep_all, args.jobs, args.scheduler)
    if args.json:
        print_json(report)
    else:
        print(describe(report))


def describe(report):
    """Return the report as text."""
    lines = [f"{'':8s} {'pictures':>9s} {'found':>7s} {'share':>7s} {'kept':>7s} {'dropped':>8s}"]
    for name, row in report["splits"].items():
        share = row["found"] / row["pictures"]
        lines.append(
            f"{name:8s} {row['pictures']:9d} {row['found']:7d} {share:7.2%} {row['kept']:7d} {row['dropped']:8d}"
        )
    lines.append(
        "no face found, by class: " + ", ".join(f"{name} {n}" for name, n in report["missed_by_class"].items())
    )
    lines.append("found at score: " + ", ".join(f"{score} {share:.2%}" for score, share in report["curve"].items()))
    return "\n".join([*lines, f"list: {report['list']}", f"contact sheet: {report['sheet']}", f"data: {report['out']}"])
