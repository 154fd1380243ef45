"""Carry the study out again on real data: crop, balance, train its networks, compare, and write a report.

Every stage leaves its result in the folder: the same command goes on where it was interrupted. At the end the folder
holds report.html (one file, opens without a network), a CSV file for each table, and all run folders.
"""

from minifer.commands.common import add_jobs, add_threads, as_path, set_threads


def add_arguments(parser):
    """Add the flags."""
    parser.add_argument("--data", type=as_path, required=True, metavar="PATH", help="FER2013 as csv, zip or folder")
    parser.add_argument(
        "--out", type=as_path, required=True, metavar="DIR", help="folder for the report and everything it rests on"
    )
    parser.add_argument(
        "--preset", choices=("quick", "full"), default="quick", help="half an hour, or five hours (default: quick)"
    )
    parser.add_argument(
        "--imagenet",
        type=as_path,
        metavar="FILE.h5",
        help="also start from these weights of Keras: mobilenet_5_0_*_tf_no_top.h5 for quick, 1_0 for full",
    )
    add_jobs(parser)
    add_threads(parser)


def run(args):
    """Run `minifer reproduce`."""
    from minifer.allowed import Whole, checked
    from minifer.jobs import MOST_JOBS
    from minifer.output import log
    from minifer.reproduce.stages import reproduce

    set_threads(args)
    checked("--jobs", args.jobs, Whole(1, MOST_JOBS))
    print(reproduce(args.data, args.out, args.preset, args.imagenet, args.jobs, args.scheduler))
    log(f"everything is in {args.out}: report.html, table1.csv, table3.csv, table4.csv, ablation.csv, networks, arms")
