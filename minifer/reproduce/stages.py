"""The stages of the study. Each leaves its result in the folder, so that the same call goes on where it was stopped."""

import json
import time
from pathlib import Path

import numpy as np

from minifer import config
from minifer.allowed import Record, Several, Text, Whole
from minifer.data import balance, fer2013
from minifer.data.duplicates import count_duplicates, unseen_rows
from minifer.data.predictions import read_predictions
from minifer.errors import ConfigError, DataError
from minifer.faces.prepare import prepare
from minifer.files import claimed, make_folder, printable, write_text
from minifer.files.documents import read_json
from minifer.metrics import top1
from minifer.networks import build_model
from minifer.output import log
from minifer.reproduce import page, plan, tables
from minifer.run_folder import is_evaluated
from minifer.runs import train_all
from minifer.trained import start_from

NOTE = "reproduction.json"


def reproduce(data, out, preset="quick", imagenet=None, jobs=2, scheduler=None):
    """Carry out every stage that has left no result in the folder yet; return the report in short, as text.

    data        path of FER2013     out         folder for the report and everything it rests on
    preset      name in plan.PLANS  imagenet    a file of Keras' ImageNet weights to start from as well
    jobs        processes that look for faces and train, or on which cluster that is done: see minifer.jobs
    """
    folder = make_folder(out)
    with claimed(folder):
        check_dedicated(folder, purpose(preset, data))
        if imagenet and not is_evaluated(folder / "networks" / "mha-imagenet"):  # hours before it is read
            start_from(build_model(config.replace(plan.PLANS[preset].network, model="plain"), (48, 48, 1), 7), imagenet)
        return carry_out(data, folder, preset, imagenet, {"jobs": jobs, "scheduler": scheduler})


def carry_out(data, folder, preset, imagenet, where):
    """As reproduce, in a folder that is this process's alone."""
    chosen = plan.PLANS[preset]

    stage("pictures")
    whole = pictures(data, folder, chosen.rows)
    write_text(folder / NOTE, json.dumps(purpose(preset, data), indent=2))
    stage("pictures that are there twice")
    twice = duplicates(whole, folder / "duplicates.json")
    stage("crops")
    cropped, prepared = crops(folder, where)
    stage("balancing")
    balanced, counts = balancing(whole["train"], cropped["train"])
    stage("the three networks")
    networks = three_networks(folder, chosen.network, cropped["val"], twice["unseen"], imagenet, where)
    stage("the ablation")
    arms, curves = ablation(folder, chosen, where)
    if chosen.everywhere:
        stage("attention after every block")
        networks |= everywhere(folder, chosen, cropped["val"], twice["unseen"])

    results = {
        "preset": preset,
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
    return page.in_short(results)


def stage(name):
    """Log what begins."""
    log(f"{time.strftime('%H:%M:%S')}  {name}")


def purpose(preset, data):
    """Return what a folder is for, as NOTE in it says once the pictures are read."""
    return {"preset": preset, "data": str(Path(data).resolve())}


def check_dedicated(folder, mine):
    """Raise ConfigError when a folder is for something else already."""
    if not (folder / NOTE).exists():
        return
    found = read_json(folder / NOTE, {"preset": Text(), "data": Text()})
    if found != mine:
        raise ConfigError(
            f"{folder} holds the preset {found['preset']} on {found['data']}: give the same, or another --out"
        )


def pictures(data, folder, rows):
    """Return {split: Dataset} of whole pictures, as many training rows as the plan wants; they are kept in a file.

    Raises     DataError when a split is missing; ConfigError when the file holds others: the data was changed since
    """
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
    return np.linspace(0, available - 1, min(wanted, available)).astype(int)


def duplicates(splits, path):
    """Return {"counts": rows of data.duplicates.count_duplicates, "unseen": rows of val}; they are kept in a file."""
    if not path.exists():
        unseen = unseen_rows(splits["train"], splits["val"]).tolist()
        write_text(path, json.dumps({"counts": count_duplicates(splits), "unseen": unseen}, indent=1))
    rows = Several(Whole(0, len(splits["val"]) - 1), least=0, most=len(splits["val"]))
    return read_json(path, {"counts": Several(Record(), least=0), "unseen": rows})


def on_unseen(folder, val, rows):
    """Return metrics.top1 of the predictions in a run folder, of these rows of val only."""
    said = read_predictions(folder / "predictions.csv", val.classes)
    rows = [said[printable(val.names[row])] for row in rows]
    return top1([row.likeliest == row.label for row in rows])


def crops(folder, where):
    """Return {split: Dataset} of cropped pictures, and the report of `minifer prepare`."""
    path, report = folder / "cropped.npz", folder / "cropped-report.json"
    if report.exists():
        prepared = read_json(report, {"splits": Record(), "missed_by_class": Record(), "curve": Record()})
    else:
        prepared = prepare(folder / "pictures.npz", path, **where)
    return fer2013.load(path), prepared


def balancing(whole, cropped):
    """Return balanced training rows, and {class: rows, cropped, kept, dropped, synthetic, after}."""
    balanced = balance.balance(cropped)
    rows, found = whole.counts(), cropped.counts()
    return balanced, {
        name: {"rows": rows[name], "cropped": found[name], **count}
        for name, count in balance.counts(cropped, balanced).items()
    }


def three_networks(folder, settings, val, unseen, imagenet, where):
    """Return {network: evaluation} of table 3: plain, then skips and attention on its extraction, which stays.

    With the file of ImageNet weights both are trained on that extraction too. Each evaluation has metrics.top1 of the
    rows of val that are unseen beside it.
    """
    plain = folder / "networks" / "plain"
    results = networks(folder, {"plain": (plain, config.replace(settings, model="plain"))}, val, unseen, where)
    others = {}
    for name in ("skip", "mha"):
        transfer = on_extraction(settings, name, plain)
        others[name] = plain.with_name(name), transfer
        if imagenet:
            transfer = config.replace(transfer, pretrained=str(Path(imagenet).resolve()))
            others[f"{name}, from ImageNet"] = plain.with_name(f"{name}-imagenet"), transfer
    return results | networks(folder, others, val, unseen, where)


def everywhere(folder, chosen, val, unseen):
    """Return {name: evaluation} of the paper's own form, attention after all 13 blocks, as long as the plan says."""
    plain = folder / "networks" / "plain"
    settings = on_extraction(chosen.network, "mha", plain)
    settings = config.replace(settings, attention_blocks=None, epochs=chosen.everywhere)
    name = f"MobileNet + skips + attention after all 13 blocks, {chosen.everywhere} epochs"
    return networks(folder, {name: (plain.with_name("mha-everywhere"), settings)}, val, unseen)


def on_extraction(settings, model, plain):
    """Return the settings of a network that starts from the extraction of a trained one, and keeps it."""
    return config.replace(settings, model=model, pretrained=str(plain.resolve()), freeze=True)


def networks(folder, runs, val, unseen, where=None):
    """Return {name: evaluation} of {name: (folder, settings)} on cropped pictures.

    Each has metrics.top1 of the rows of val that are unseen beside it.
    """
    trained = train_all([(*run, folder / "cropped.npz") for run in runs.values()], **(where or {}))
    return {
        name: {**result, "unseen": on_unseen(place, val, unseen)}
        for (name, (place, _)), (result, _) in zip(runs.items(), trained, strict=True)
    }


def ablation(folder, chosen, where):
    """Return {arm: [evaluation for each seed]} and {arm: [training loss of each epoch, for each seed]}."""
    runs = [
        (
            folder / "arms" / f"{arm.replace(' + ', '-').replace(' ', '-')}-{seed}",
            config.replace(chosen.arm, **changes, seed=seed),
            folder / ("cropped.npz" if crop else "pictures.npz"),
        )
        for arm, (_, changes, crop) in plan.ARMS.items()
        for seed in range(chosen.seeds)
    ]
    trained, results, curves = iter(train_all(runs, **where)), {}, {}
    for arm in plan.ARMS:
        found = [next(trained) for _ in range(chosen.seeds)]
        results[arm], curves[arm] = (list(parts) for parts in zip(*found, strict=True))
    return results, curves
