"""Detect, crop and pad every picture of FER2013; write them as one .npz, and say what was found and what was not."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np

from minifer.errors import DataError

FOUND_FROM = 0.02  # the score from which a picture is taken to hold a face: below lie nearly all that hold none
TOGETHER = 500  # pictures in a part, the unit of work that survives an interruption
PARTS = re.compile("[0-9a-f]{16}")  # names of folders of parts, which depend on pictures and settings
CURVE = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)


def prepare(data, out, threshold=FOUND_FROM, level=False, keep_all=False, jobs=2, scheduler=None):
    """Write crops of all pictures to out (.npz, see data.fer2013.save_npz) and return a report.

    Training pictures in which no face is found are left out, unless keep_all; those of the other splits are kept as
    they are. The file's further arrays `found` (N,) bool and `scores` (N,) mark which. Beside out come a list of all
    pictures without a face and a contact sheet of them. Parts that are done are kept beside out until all are: an
    interrupted run goes on where it was.

    jobs, scheduler    see minifer.jobs
    Raises     DataError when data cannot be read or out cannot be written
    """
    from minifer.files import check_target, claimed, make_folder

    out = Path(out)
    if out.suffix != ".npz":
        raise DataError(f"{out}: the output is an .npz file: give it that suffix")
    if out.resolve() == Path(data).resolve():
        raise DataError(f"{out} is the data that is read: write to another file")
    check_target(out, "prepared .npz file", "--out")
    make_folder(out.parent)
    with claimed(out):
        return prepare_claimed(data, out, threshold, level, keep_all, jobs, scheduler)


def prepare_claimed(data, out, threshold, level, keep_all, jobs, scheduler):
    """As prepare, to a path that nobody else writes to."""
    from minifer.data.fer2013 import load, save_npz
    from minifer.files import table_text, write_text

    splits = load(data)
    images = np.concatenate([split.images for split in splits.values()])
    crops, scores = process(images, out.with_suffix(".parts"), level, threshold, jobs, scheduler)

    kept, found, score, missed, start = {}, [], [], [], 0
    report = {"splits": {}}
    for name, split in splits.items():
        mine = slice(start, start + len(split))
        start += len(split)
        has_face = (scores[mine] >= threshold) & (scores[mine] > 0)  # 0: nothing was found, whatever is asked for
        keep = has_face | (name != "train") | keep_all
        kept[name] = type(split)(crops[mine], split.labels, split.names, split.classes).take(keep)
        found.append(has_face[keep])
        score.append(scores[mine][keep])
        for row in np.flatnonzero(~has_face):
            what = "kept as it is" if keep[row] else "dropped"
            class_name = split.classes[split.labels[row]]
            missed.append((float(scores[mine][row]), name, str(split.names[row]), class_name, what, split.images[row]))
        counts = {"pictures": len(split), "found": int(has_face.sum()), "kept": int(keep.sum())}
        report["splits"][name] = {**counts, "dropped": len(split) - int(keep.sum())}
    save_npz(out, kept, found=np.concatenate(found), scores=np.concatenate(score).astype(np.float32))

    missed.sort(key=lambda row: row[:3])
    classes = next(iter(splits.values())).classes
    report["threshold"] = threshold
    report["missed_by_class"] = {name: sum(row[3] == name for row in missed) for name in classes}
    report["curve"] = {str(least): float((scores >= least).mean()) for least in CURVE}
    paths = {"list": "-missed.csv", "sheet": "-missed.png", "report": "-report.json"}
    report |= {key: str(out.with_name(out.stem + end)) for key, end in paths.items()} | {"out": str(out)}
    table = [("score", "split", "name", "class", "what"), *(row[:5] for row in missed)]
    write_text(report["list"], table_text(table))
    contact_sheet([row[5] for row in missed], report["sheet"])
    write_text(report["report"], json.dumps(report, indent=2))
    remove_parts(out.with_suffix(".parts"))
    return report


def remove_parts(folder):
    """Remove the parts that process() left in a folder, and the folder if nothing else is in it."""
    for parts in folder.iterdir():
        if PARTS.fullmatch(parts.name):
            shutil.rmtree(parts)
    if not any(folder.iterdir()):
        folder.rmdir()


def process(images, folder, level, threshold, jobs, scheduler=None):
    """Return crops and scores of all pictures, in parts over several processes; parts found in folder are not done
    again.

    Shapes     images (N,H,W) uint8   crops (N,48,48) uint8   scores (N,)
    """
    import hashlib

    from tqdm import tqdm

    from minifer.faces.detector import FaceDetector
    from minifer.faces.landmarks import LandmarkPredictor
    from minifer.files import make_folder
    from minifer.files.locks import remove_leftovers
    from minifer.files.npz import Npz
    from minifer.jobs import run_jobs

    settings = hashlib.sha256(f"{level} {threshold} {images.shape} {model_stamp()}".encode() + images.tobytes())
    folder = make_folder(Path(folder) / settings.hexdigest()[:16])
    remove_leftovers(folder, ".*.tmp")
    firsts = range(0, len(images), TOGETHER)
    parts = [folder / f"{first:06d}.npz" for first in firsts]
    waiting = [(first, part) for first, part in zip(firsts, parts, strict=True) if not part.exists()]
    if min(jobs, len(waiting)) > 1:  # the kernels are compiled here, once, and found by every worker
        find_and_crop(images[0], FaceDetector.load(), LandmarkPredictor.load(), level, threshold)
    tasks = [(images[first : first + TOGETHER], part, level, threshold) for first, part in waiting]
    show = {
        "total": len(parts),
        "initial": len(parts) - len(waiting),
        "unit": "part",
        "disable": not sys.stderr.isatty(),
    }
    for _ in tqdm(run_jobs(process_part, tasks, jobs, scheduler), **show):
        pass
    done = []
    for part in parts:
        with Npz(part, DataError, "delete it, and the same command makes it again") as file:
            done.append(file.arrays({"crops": "u1 N 48 48", "scores": "f N"}).values())
    return tuple(np.concatenate(arrays) for arrays in zip(*done, strict=True))


def process_part(images, path, level, threshold):
    """Write the crops and scores of some pictures to a file, whole or not at all."""
    from minifer.faces.detector import FaceDetector
    from minifer.faces.landmarks import LandmarkPredictor
    from minifer.files import replacing
    from minifer.files.npz import write_npz

    detector, predictor = FaceDetector.load(), LandmarkPredictor.load()
    rows = [find_and_crop(image, detector, predictor, level, threshold) for image in images]
    crops, scores = zip(*rows, strict=True)
    with replacing(path) as file:
        write_npz(file, {"crops": np.stack(crops), "scores": np.array(scores)})


def find_and_crop(image, detector, predictor, level=False, threshold=FOUND_FROM):
    """Return the crop of the face that fills a picture, and its score; without one, the whole picture fitted into a
    square.

    Shapes     image (H,W) uint8   crop (48,48) uint8   score: 0 to 1
    """
    from minifer.faces.crop import crop_face, fit_square

    found = detector.detect_crop(image)
    if found is None or found.score < threshold:
        return fit_square(image), 0.0 if found is None else found.score
    return crop_face(image, predictor.predict(image, found.box), level=level), found.score


def model_stamp():
    """Return what changes when a shipped model does: parts made with another are not used again."""
    import hashlib

    from minifer.faces import detector, landmarks

    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in (detector.SHIPPED, landmarks.SHIPPED)]


def contact_sheet(images, path, columns=25, most=1000):
    """Write a grid of pictures, the first ones first."""
    from PIL import Image

    from minifer.files import replacing

    images = images[:most]
    height, width = images[0].shape if images else (1, 1)
    sheet = np.zeros((max(-(-len(images) // columns), 1) * (height + 2), columns * (width + 2)), np.uint8)
    for k, image in enumerate(images):
        top, left = k // columns * (height + 2), k % columns * (width + 2)
        sheet[top : top + height, left : left + width] = image
    with replacing(path) as file:
        Image.fromarray(sheet).save(file, "PNG")
