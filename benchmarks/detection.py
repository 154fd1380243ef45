"""How many faces are found, and how fast? minifer against OpenCV's Haar cascade and, if installed, dlib's HOG.

    python benchmarks/detection.py --faces faces.zip --portraits helen.zip [--json]
    python benchmarks/detection.py --fer2013 fer2013.zip [--json]

The pictures are those that training holds out: every 5th portrait made small and poor, and every 8th aligned face put
into every 4th scene. All detectors see the same pictures in the same run, each in a process of its own.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from contest import Contestant, contest, settings
from timing import compare, figure, report, start

FRAME, HELD_OUT, FER2013 = "640 x 480, min size 40", "held-out pictures, min size 24", "FER2013"
MIN_SIZE = {FRAME: 40, HELD_OUT: 24}


def searches(files, find):
    """Return a search of each set of pictures with find(image, min_size) -> (boxes, scores), by the set's name."""
    pictures = {name: pictures_in(file) for name, file in files.items() if name in MIN_SIZE}

    def search(name):
        return [[part.tolist() for part in find(image, MIN_SIZE[name])] for image in pictures[name]]

    return {name: lambda name=name: search(name) for name in pictures}


def pictures_in(file):
    """Return the pictures of a .npz file."""
    with np.load(file) as archive:
        return list(archive.values())


def minifer(files):
    """Return minifer's searches."""
    from minifer.faces import FaceDetector
    from minifer.faces.prepare import FOUND_FROM

    detector = FaceDetector.load()

    def find(image, min_size):
        found = detector.detect(image, threshold=0, min_size=min_size)
        return np.array([d.box for d in found]).reshape(-1, 4), np.array([d.score for d in found])

    def share():
        faces = [detector.detect_crop(image) for image in pictures_in(files[FER2013])]
        return float(np.mean([face is not None and face.score >= FOUND_FROM for face in faces]))

    return {**searches(files, find), **({FER2013: share()} if FER2013 in files else {})}


def haar(files, threads):
    """Return the searches of OpenCV's cascade; it sees FER2013's pictures padded and three times as large."""
    import cv2

    cv2.setNumThreads(threads)
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")

    def find(image, min_size):
        size = (min_size, min_size)
        boxes, _, weights = cascade.detectMultiScale3(image, 1.1, 2, minSize=size, outputRejectLevels=True)
        boxes = np.array(boxes, float).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return boxes, np.array(weights, float).ravel()

    def share():
        images = (np.pad(image, 24, mode="edge") for image in pictures_in(files[FER2013]))
        large = (image.repeat(3, axis=0).repeat(3, axis=1) for image in images)
        return float(np.mean([len(find(image, 86)[0]) > 0 for image in large]))

    return {**searches(files, find), **({FER2013: share()} if FER2013 in files else {})}


def hog(files):
    """Return the search of dlib's detector: it finds faces of 80 pixels and up, hence of 40 in doubled pictures."""
    import dlib

    detector = dlib.get_frontal_face_detector()

    def find(image, min_size):
        boxes, scores, _ = detector.run(image, 1, -1.0)
        boxes = np.array([(b.left(), b.top(), b.right(), b.bottom()) for b in boxes], float).reshape(-1, 4)
        return boxes, np.array(scores)

    return searches({name: file for name, file in files.items() if name == HELD_OUT}, find)


def frame():
    """Return one picture of 640 x 480 with a face."""
    from PIL import Image
    from skimage import data

    return np.asarray(Image.fromarray(data.astronaut()).convert("L").resize((640, 480)))


def held_out_pictures(faces, portraits):
    """Return the pictures that training holds out, and the boxes of the faces in each."""
    from minifer.faces.archives import pictures_below, portraits_below
    from minifer.faces.boxes import box_of_landmarks
    from minifer.faces.training_pictures import held_out

    return held_out(
        list(pictures_below(faces, "faces").values()),
        list(pictures_below(faces, "scenes").values()),
        [(image, box_of_landmarks(points)) for image, points in portraits_below(portraits)],
        np.random.default_rng(1),
    )


def fer2013_pictures(path):
    """Return every 20th picture of train and val."""
    from minifer.data.fer2013 import load

    splits = load(path)
    return list(np.concatenate([splits[name].images for name in ("train", "val")])[::20])


def precision(results, truths):
    """Return rows: the average precision of minifer against every other detector, from what they found."""
    from minifer.faces.boxes import average_precision

    rows = []
    for overlap in (0.5, 0.3):
        values = {}
        for name, pictures in results.items():
            found = [(np.array(boxes).reshape(-1, 4), np.array(scores)) for boxes, scores in pictures]
            values[name] = average_precision(found, truths, overlap)[0]
        for name in list(values)[1:] or [None]:
            measure = f"average precision at IoU {overlap}"
            rows.append(figure(measure, values["minifer"], values.get(name), name, "AP", less=False))
    return rows


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", help="zip or folder with faces/ and scenes/")
    parser.add_argument("--portraits", help="zip or folder with pictures and .pts files")
    parser.add_argument("--fer2013", help="FER2013 in any layout")
    args = start(parser, rounds=5)
    sets = {FRAME: [frame()]}
    if args.faces and args.portraits:
        sets[HELD_OUT], truths = held_out_pictures(args.faces, args.portraits)
    if args.fer2013:
        sets[FER2013] = fer2013_pictures(args.fer2013)
    with tempfile.TemporaryDirectory() as folder:
        files = {name: str(Path(folder) / f"{number}.npz") for number, name in enumerate(sets)}
        for name, images in sets.items():
            np.savez(files[name], *images)
        counts = {f"setNumThreads({count})": {"threads": count} for count in sorted({args.threads, 1})}
        contestants = [
            Contestant("minifer", "detection:minifer", {"files": files}, args.threads),
            *settings("OpenCV Haar", "detection:haar", {"files": files}, args.threads, counts),
            *settings("dlib HOG, upsampled once", "detection:hog", {"files": files}, args.threads),
        ]
        with contest(contestants) as running:
            rows = compare(FRAME, running, FRAME, args.rounds)
            if HELD_OUT in sets:
                rows += precision(running.results(HELD_OUT), truths)
                scale = 1e9 / sum(image.size for image in sets[HELD_OUT])
                rows += compare("time per megapixel, min size 24", running, HELD_OUT, args.rounds, scale=scale)
            if FER2013 in sets:
                ours, *peers = running.results(FER2013).items()
                name, theirs = peers[0] if peers else (None, None)
                measure = "FER2013 pictures with a face found"
                rows.append(figure(measure, ours[1], theirs, name and f"{name}, padded, 3x", "share", less=False))
    report(rows, args.threads, args.json, running.notes)


if __name__ == "__main__":
    main()
