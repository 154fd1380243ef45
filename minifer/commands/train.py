"""Train a network and evaluate its best weights on the validation split.

Without --data it draws faces and trains on those. A run folder holds everything about the run; --resume goes on.
Several processes, on several machines too, share the work: mpiexec -n 4 minifer train --batch-blocks 4 ...
"""

import argparse
import dataclasses
from contextlib import ExitStack
from pathlib import Path

from minifer import config
from minifer.commands.common import add_threads, as_path, as_paths, print_json, set_threads
from minifer.errors import ConfigError
from minifer.output import log

PATHS = {"pretrained": as_path, "teacher": as_paths, "labels": as_path}  # the settings that are paths


def add_arguments(parser):
    """Add the flags: the run's own, and one for every setting of TrainConfig."""
    parser.add_argument(
        "--data",
        type=as_path,
        metavar="PATH",
        help="FER2013 as csv, zip, folder or prepared .npz; or pictures of your own in folders called after their "
        "classes, or an .npz with X and y (default: drawn faces)",
    )
    parser.add_argument(
        "--preset", choices=config.PRESETS, help="settings to start from (default: demo, quick with --data)"
    )
    parser.add_argument("--out", type=as_path, metavar="DIR", help="run folder (default: runs/PRESET)")
    parser.add_argument(
        "--resume", type=as_path, metavar="DIR", help="go on with the run in this folder, with its own settings"
    )
    parser.add_argument(
        "--find-rate",
        type=as_path,
        metavar="FILE.png",
        help="train nothing: try rising learning rates for 100 steps, suggest one, and draw what happened",
    )
    parser.add_argument("--json", action="store_true", help="print the evaluation as one JSON document")
    add_threads(parser)
    group = parser.add_argument_group("settings", "each replaces what the preset says")
    for field in dataclasses.fields(config.TrainConfig):
        flag = "--" + field.name.replace("_", "-")
        default = field.default
        options = {"dest": f"setting_{field.name}", "default": argparse.SUPPRESS, "help": field.metadata["help"]}
        if isinstance(default, bool):
            options["action"] = argparse.BooleanOptionalAction
        elif field.name == "attention_blocks":
            options |= {"type": parse_blocks, "metavar": "BLOCKS"}
        else:
            options |= {"type": PATHS.get(field.name, type(default)), "choices": field.metadata["choices"]}
            options["metavar"] = None if options["choices"] else type(default).__name__.upper()
        former = [f"--{old.replace('_', '-')}" for old, new in config.RENAMED.items() if new == field.name]
        group.add_argument(flag, *former, **options)


def parse_blocks(text):
    """Return the block numbers of "6-13" or "12,13", or None for "all"."""
    if text == "all":
        return None
    numbers = []
    try:
        for part in text.split(","):
            first, dash, last = part.partition("-")
            first, last = int(first), int(last if dash else first)
            if not 1 <= first <= last <= config.MOST_BLOCKS:
                raise ValueError
            numbers += range(first, last + 1)
    except ValueError:
        most = config.MOST_BLOCKS
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of blocks from 1 to {most}: write all, 6-13 or 12,13"
        ) from None
    return tuple(dict.fromkeys(numbers))


def run(args):
    """Train, evaluate, and say where everything is."""
    from minifer.parallel import ending_together, find_ranks

    ranks = find_ranks()
    set_threads(args, ranks.local)
    with ExitStack() as claims, ending_together(ranks):
        return train(args, claims, ranks)


def train(args, claims, ranks):
    """Train in a folder that is claimed for this process until the stack of claims ends."""
    from minifer import warm_up
    from minifer.files import check_target, make_folder
    from minifer.models import block_table
    from minifer.networks import find_network
    from minifer.own_code import is_target
    from minifer.run_folder import write_settings
    from minifer.training import Training, build_augmentation

    changes = {
        name.removeprefix("setting_"): value for name, value in vars(args).items() if name.startswith("setting_")
    }
    own = changes.get("model") if is_target(changes.get("model", "")) else None
    _, (settings, data, folder) = ranks.share({}, ranks.do_first(lambda: begin(args, changes, own, claims)))
    settings, folder = config.from_dict(settings), folder and Path(folder)

    def check():  # a wrong setting is said before minutes are spent on data
        if args.find_rate and ranks.size > 1:
            raise ConfigError("--find-rate runs alone: leave mpiexec out")
        if args.find_rate:
            check_target(args.find_rate, "PNG picture", "--find-rate")
            make_folder(Path(args.find_rate).parent)
        ranks.check(settings)
        build_augmentation(settings)
        block_table(settings.blocks)
        return own and find_network(own)

    network = ranks.do_first(check) or (find_network(own) if own else None)
    warming = warm_up.for_training(settings) if args.alone and ranks.first else None
    train, val = ranks.do_first(lambda: read_data(data, settings)) or (None, None)
    if settings.balance == "nearmiss-smote":
        log("balancing the training rows: about a minute for all of FER2013, then kept in the cache")
    going_on = ranks.any(ranks.first and bool(args.resume) and (folder / "last.npz").exists())
    training = Training(settings, train, val, network, ranks=ranks, going_on=going_on)
    ranks.do_first(lambda: [log(line) for line in config.unread(settings, changes)])
    if args.find_rate:
        return suggest_rate(training, args.find_rate)
    if going_on:
        training.restore(folder)

    def announce():
        if going_on:
            log(f"going on after epoch {training.epoch}, step {training.step}")
        else:
            write_settings(folder, settings, data)
        describe(training, data)
        if warming:
            warming.wait()

    ranks.do_first(announce)
    return carry_out(training, folder, args.json)


def begin(args, changes, own, claims):
    """Return (settings as a dict, path of the data or None, run folder or None) of the run that the flags mean."""
    from minifer.files import claimed
    from minifer.run_folder import check_can_go_on, new_folder, read_settings
    from minifer.runs import begun

    if args.resume:
        if args.find_rate or changes.keys() - {"model"} or ("model" in changes and not own) or args.preset or args.out:
            raise ConfigError(
                "--resume goes on with the settings of its run: only --data, --threads and the --model of your own "
                "go with it"
            )
        claims.enter_context(claimed(args.resume))
        settings, data = read_settings(args.resume)
        check_can_go_on(args.resume)
        return config.to_dict(settings), args.data or data, args.resume
    preset = args.preset or ("quick" if args.data else "demo")
    settings = begun(config.replace(config.PRESETS[preset], **changes))
    folder = None if args.find_rate else str(new_folder(args.out, preset, claims))
    return config.to_dict(settings), args.data, folder


def suggest_rate(training, picture):
    """Print what a ramp of learning rates suggests, and draw it."""
    from minifer.rate_finder import draw_ramp, find_rate

    ramp = find_rate(training)
    draw_ramp(ramp, picture)
    lowest = ramp.rates[ramp.smooth.argmin()]
    print(f"--learning-rate {ramp.suggested:.1e}: there the loss falls fastest; it is lowest at {lowest:.1e}")
    log(f"{len(ramp.rates)} steps from {ramp.rates[0]:.0e} to {ramp.rates[-1]:.1e}, drawn in {picture}")
    return 0


def read_data(path, settings):
    """Return the training and validation rows."""
    from minifer.runs import read_rows

    if path is None:
        log("no --data: drawing faces")
    return read_rows(path, settings)


def describe(training, data):
    """Log what is about to run."""
    from minifer.kernels.threads import threads
    from minifer.own_code import is_target

    settings, train = training.settings, training.train
    log(f"data      {data or 'drawn faces'}: {len(train)} training rows, {len(training.val)} validation rows")
    if training.balanced:
        for key in ("before", "dropped", "synthetic"):
            total = sum(rows[key] for rows in training.balanced.values())
            log(
                f"{key:<10}"
                + "  ".join(f"{name} {rows[key]}" for name, rows in training.balanced.items())
                + f"  (together {total})"
            )
    if training.unseen is not None:
        copies = len(training.val) - len(training.unseen)
        log(f"copies    {copies} of the validation pictures are among the training rows, scaled or mirrored perhaps")
    log("classes   " + "  ".join(f"{name} {number}" for name, number in train.counts().items()))
    alpha = "" if is_target(settings.model) else f", alpha {settings.alpha:g}"
    if none := [name for name, number in train.counts().items() if not number]:
        log(f"          no training row is of {', '.join(none)}: no picture will be read as that")
    log(f"network   {settings.model}{alpha}: {work_of(training)}")
    blocks, size = settings.batch_blocks, training.ranks.size
    parts = f" in {blocks} blocks" if blocks > 1 else ""
    log(
        f"training  {settings.epochs} epochs of {len(training.batches)} steps of {settings.batch_size}{parts}, "
        f"{settings.optimizer} {settings.learning_rate:g}, {settings.schedule}, "
        + (f"{size} ranks of {threads()} threads" if size > 1 else f"{threads()} threads")
    )


def work_of(training):
    """Return the size of a network and its work on one picture as text."""
    from minifer.cost import count
    from minifer.cost.table import held
    from minifer.errors import MiniferError

    try:
        cost = count(training.model, training.train.input_shape)
    except MiniferError as error:  # a layer of one's own that does not say its multiply-adds trains as well
        return f"{held(training.model)[0]:,} parameters; its multiply-adds are not counted ({error})"
    return f"{cost.trainable_parameters:,} parameters, {cost.multiply_adds / 1e6:.1f} million multiply-adds a picture"


def carry_out(training, folder, as_json):
    """Run the training, then evaluate and report the best weights."""
    from minifer.report.text import format_report
    from minifer.runs import evaluate_best, run_to_end

    finished, _ = run_to_end(training, folder)
    if not finished:
        own = f" --model {training.settings.model}" if training.own else ""
        log(f"interrupted and saved: minifer train --resume {folder}{own} goes on")
        return 130
    if not training.ranks.first:
        return 0
    result = evaluate_best(training, folder)
    log(f"best weights of epoch {training.stopping.best_epoch + 1}, evaluated on the validation split:")
    if as_json:
        print_json({"folder": str(folder), "epoch": training.stopping.best_epoch + 1, **result})
    else:
        print(format_report(result))
    log(f"everything is in {folder}: curves.png, confusion.png, metrics.csv, predictions.csv, best.npz")
    return 0
