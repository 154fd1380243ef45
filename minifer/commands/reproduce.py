"""Carry the study out again on real data: crop, balance, train its networks, compare, and write a report.

Every stage leaves its result in the folder: the same command goes on where it was interrupted. At the end the folder
holds report.html (one file, opens without a network), a CSV file for each table, and all run folders.
"""

import json
import time
from pathlib import Path

from minifer.allowed import Number, Record, Several, Text, Whole, checked
from minifer.commands.common import add_threads, as_path, log, set_threads
from minifer.errors import ConfigError, DataError


def add_arguments(parser):
    """Add the flags."""
    parser.add_argument("--data", type=as_path, required=True, metavar="PATH", help="FER2013 as csv, zip or folder")
    parser.add_argument(
        "--out", type=as_path, required=True, metavar="DIR", help="folder for the report and everything it rests on"
    )
    parser.add_argument(
        "--preset", choices=("quick", "full"), default="quick", help="half an hour, or a night (default: quick)"
    )
    parser.add_argument(
        "--imagenet",
        type=as_path,
        metavar="FILE.h5",
        help="also start from these weights of Keras: mobilenet_5_0_*_tf_no_top.h5 for quick, 1_0 for full",
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes that look for faces (default: 2)")
    add_threads(parser)


def run(args):
    """Run `minifer reproduce`."""
    from minifer.commands.prepare import MOST_JOBS

    set_threads(args)
    checked("--jobs", args.jobs, Whole(1, MOST_JOBS))
    from minifer.files import claimed, make_folder

    folder = make_folder(args.out)
    with claimed(folder):
        dedicate(folder, args.preset, str(Path(args.data).resolve()))
        reproduce(args, folder)


def reproduce(args, folder):
    """Carry out every stage that has left no result in the folder yet."""
    from minifer.files import write_text
    from minifer.paper import page, plan, tables

    chosen = plan.PLANS[args.preset]

    stage("pictures")
    whole = pictures(args.data, folder, chosen.rows)
    stage("pictures that are there twice")
    twice = duplicates(whole, folder / "duplicates.json")
    stage("crops")
    cropped, prepared = crops(folder, args.jobs)
    stage("balancing")
    balanced, counts = balancing(whole["train"], cropped["train"])
    stage("the three networks")
    networks = three_networks(folder / "networks", chosen.network, cropped, twice["unseen"], args.imagenet)
    stage("the ablation")
    arms, curves = ablation(folder / "arms", chosen, cropped, whole)

    results = {
        "preset": args.preset,
        "prepare": prepared,
        "counts": counts,
        "networks": networks,
        "arms": arms,
        "curves": curves,
        "duplicates": twice["counts"],
    }
    stage("the report")
    write_text(folder / "results.json", json.dumps(results, indent=1))
    for table in tables.every_table(results):
        write_text(folder / f"{table.name}.csv", table.csv())
    write_text(folder / "report.html", page.report(results, chosen, folder, whole, cropped, balanced))
    print(page.in_short(results))
    log(f"everything is in {folder}: report.html, table1.csv, table3.csv, table4.csv, ablation.csv, networks, arms")


def stage(name):
    """Log what begins."""
    log(f"{time.strftime('%H:%M:%S')}  {name}")


def dedicate(folder, preset, data):
    """Note what a folder is for; raise ConfigError when it is for something else already."""
    from minifer.files import write_text
    from minifer.files.documents import read_json

    path, mine = folder / "reproduction.json", {"preset": preset, "data": data}
    if not path.exists():
        write_text(path, json.dumps(mine, indent=2))
    elif (found := read_json(path, {"preset": Text(), "data": Text()})) != mine:
        raise ConfigError(
            f"{folder} holds the preset {found['preset']} on {found['data']}: give the same, or another --out"
        )


def pictures(data, folder, rows):
    """Return {split: Dataset} of whole pictures, as many training rows as the plan wants; they are kept in a file.

    Raises     DataError when a split is missing; ConfigError when the file holds others: the data was changed since
    """
    import numpy as np

    from minifer.data import fer2013

    path, splits = folder / "pictures.npz", fer2013.load(data)
    if missing := [split for split in ("train", "val") if split not in splits]:
        raise DataError(f"{data}: no split {missing[0]!r}: the study needs Training and PublicTest")
    if rows:
        splits["train"] = splits["train"].take(evenly(len(splits["train"]), rows))
    if not path.exists():
        fer2013.save_npz(path, splits)
    kept = fer2013.load(path)
    for split, part in splits.items():
        if split not in kept or not all(
            np.array_equal(getattr(kept[split], name), getattr(part, name)) for name in ("images", "labels", "names")
        ):
            raise ConfigError(f"{data} is not what {folder} was begun with: choose another --out")
    return kept


def evenly(available, wanted):
    """Return every so-many-th index, so that a sorted archive gives all its classes."""
    import numpy as np

    return np.linspace(0, available - 1, min(wanted, available)).astype(int)


def duplicates(splits, path):
    """Return {"counts": rows of data.duplicates.count_duplicates, "unseen": rows of val}; they are kept in a file."""
    from minifer.data.duplicates import count_duplicates, unseen_rows
    from minifer.files import write_text
    from minifer.files.documents import read_json

    if not path.exists():
        unseen = unseen_rows(splits["train"], splits["val"]).tolist()
        write_text(path, json.dumps({"counts": count_duplicates(splits), "unseen": unseen}, indent=1))
    rows = Several(Whole(0, len(splits["val"]) - 1), least=0, most=len(splits["val"]))
    return read_json(path, {"counts": Several(Record(), least=0), "unseen": rows})


def on_unseen(folder, rows):
    """Return metrics.top1 of the predictions in a run folder, of these rows only."""
    import csv

    from minifer.metrics import top1

    with open(folder / "predictions.csv", newline="", encoding="utf-8-sig") as file:
        right = [row["prediction"] == row["label"] for row in csv.DictReader(file)]
    return top1([right[row] for row in rows])


def crops(folder, jobs):
    """Return {split: Dataset} of cropped pictures, and the report of `minifer prepare`."""
    from minifer.commands.prepare import prepare
    from minifer.data import fer2013
    from minifer.files.documents import read_json

    path, report = folder / "cropped.npz", folder / "cropped-report.json"
    if report.exists():
        prepared = read_json(report, {"splits": Record(), "missed_by_class": Record(), "curve": Record()})
    else:
        prepared = prepare(folder / "pictures.npz", path, jobs=jobs)
    return fer2013.load(path), prepared


def balancing(whole, cropped):
    """Return balanced training rows, and {class: rows, cropped, kept, dropped, synthetic, after}."""
    from minifer.data import balance

    balanced = balance.balance(cropped)
    rows, found = whole.counts(), cropped.counts()
    return balanced, {
        name: {"rows": rows[name], "cropped": found[name], **count}
        for name, count in balance.counts(cropped, balanced).items()
    }


def three_networks(folder, settings, data, unseen, imagenet=None):
    """Return {network: evaluation} of table 3: plain, then skips and attention on its extraction, which stays.

    With the file of ImageNet weights both are trained on that extraction too. Each evaluation has metrics.top1 of the
    rows of val that are unseen beside it.
    """
    from minifer import config

    def trained(name, settings):
        result, _ = train_once(folder / name, settings, data)
        return {**result, "unseen": on_unseen(folder / name, unseen)}

    plain = config.replace(settings, model="plain")
    results = {"plain": trained("plain", plain)}
    for name in ("skip", "mha"):
        transfer = config.replace(settings, model=name, pretrained=str((folder / "plain").resolve()), freeze=True)
        results[name] = trained(name, transfer)
        if imagenet:
            transfer = config.replace(transfer, pretrained=str(Path(imagenet).resolve()))
            results[f"{name}, from ImageNet"] = trained(f"{name}-imagenet", transfer)
    return results


def ablation(folder, plan, cropped, whole):
    """Return {arm: [evaluation for each seed]} and {arm: [training loss of each epoch, for each seed]}."""
    from minifer import config
    from minifer.paper.plan import ARMS

    results, curves = {}, {}
    for arm, (_, changes, crop) in ARMS.items():
        runs = []
        for seed in range(plan.seeds):
            settings = config.replace(plan.arm, **changes, seed=seed)
            place = folder / f"{arm.replace(' + ', '-').replace(' ', '-')}-{seed}"
            runs.append(train_once(place, settings, cropped if crop else whole))
        results[arm], curves[arm] = (list(parts) for parts in zip(*runs, strict=True))
    return results, curves


def train_once(folder, settings, data):
    """Return (evaluation, training loss of each epoch) of a run: from its folder if it is finished, else train it."""
    from minifer.files import claimed, make_folder

    with claimed(make_folder(folder)):
        return train_claimed(folder, settings, data)


def train_claimed(folder, settings, data):
    """As train_once, in a folder that is there for this run alone."""
    import csv

    from minifer import config
    from minifer.commands.train import evaluate_best, run_to_end
    from minifer.files import write_text
    from minifer.files.documents import read_json
    from minifer.training import Training

    description, evaluation = folder / "config.json", folder / "evaluation.json"
    if description.exists():
        if config.read(description)[0] != settings:
            raise ConfigError(f"{folder} was trained with other settings: delete it, or choose another --out")
    else:
        write_text(description, json.dumps({"data": None, "config": config.to_dict(settings)}, indent=2))
    if not evaluation.exists():
        log(f"          {folder.name}: {settings.model}, at most {settings.epochs} epochs")
        training = Training(settings, data["train"], data["val"])
        if (folder / "last.npz").exists():
            training.restore(folder)
        if not run_to_end(training, folder):
            log("interrupted and saved: the same command goes on")
            raise KeyboardInterrupt
        evaluate_best(training, folder)
        (folder / "last.npz").unlink()  # only needed to go on
    with open(folder / "metrics.csv", newline="", encoding="utf-8-sig") as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file)]
    return read_json(evaluation, {"top1": Number(0, 1)}), losses
