"""Train every combination of some settings with several seeds, and compare: a table, a picture, mean and spread.

The folder holds a run folder for each run, table.csv and arms.png; the same command goes on where it was stopped.
"""

from minifer import config
from minifer.commands.common import add_jobs, add_threads, as_path, set_threads
from minifer.output import log


def add_arguments(parser):
    """Add the flags."""
    parser.add_argument("--data", type=as_path, metavar="PATH", help="as for train (default: drawn faces)")
    parser.add_argument(
        "--preset", choices=config.PRESETS, default="quick", help="what all start from (default: quick)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SETTING=VALUE,...",
        help="values of a setting, such as alpha=.25,.5,1; several --set give all their combinations, and one value "
        "is what all runs have; values that have commas themselves are parted by ;",
    )
    parser.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="runs of each, with seeds 0, 1, ... (default: 3)"
    )
    parser.add_argument("--out", type=as_path, default="runs/sweep", metavar="DIR", help="folder (default: runs/sweep)")
    add_jobs(parser, default=1)
    add_threads(parser)


def run(args):
    """Sweep, print the table, name what failed."""
    from minifer import warm_up
    from minifer.allowed import Whole, checked
    from minifer.jobs import MOST_JOBS
    from minifer.report.text import aligned
    from minifer.sweep import MOST_RUNS, parse_changes, sweep, table

    set_threads(args)
    checked("--jobs", args.jobs, Whole(1, MOST_JOBS))
    checked("--seeds", args.seeds, Whole(1, MOST_RUNS))
    changes = parse_changes(args.set)
    same = {name: values.pop() for name, values in changes.items() if len(values) == 1}
    settings = config.replace(config.PRESETS[args.preset], **same)
    changes = {name: values for name, values in changes.items() if values}
    if args.alone:
        warm_up.for_training(settings).wait()
    arms = sweep(settings, changes, args.seeds, args.out, args.data, args.jobs, args.scheduler)
    print("\n".join(aligned(table(arms))))
    failed = sum(isinstance(run, str) for arm in arms for run in arm.runs.values())
    if failed:
        log(f"{failed} of {len(arms) * args.seeds} runs failed, as said above: the same command tries them again")
    log(f"everything is in {args.out}: table.csv, arms.png, a folder for each run")
    return int(bool(failed))
