"""How many faces are found, and how fast? minifer against OpenCV's Haar cascade and, if installed, dlib's HOG.

    python benchmarks/detection.py --faces faces.zip --portraits helen.zip [--json]
    python benchmarks/detection.py --fer2013 fer2013.zip [--json]

The pictures are those that training holds out: every 5th portrait made small and poor, and every 8th aligned face put
into every 4th scene. All detectors see the same pictures in the same run, on two threads.
"""

import argparse
import time
from functools import partial

import numpy as np
import timing

import minifer
from minifer.faces import FaceDetector
from minifer.faces.boxes import average_precision, box_of_landmarks


def report(rows, as_json):
    """Print rows (measure, minifer, peer, peer's name, unit, whether less is better)."""
    documents = []
    for measure, ours, peer, name, unit, less in rows:
        ratio = None if peer is None else (peer / ours if less else ours / peer)
        documents.append(
            {"measure": measure, "minifer": ours, "peer": peer, "peer_name": name, "unit": unit, "ratio": ratio}
        )
    timing.report(documents, minifer.threads(), as_json)


def ours(detector, image, min_size=24):
    found = detector.detect(image, threshold=0, min_size=min_size)
    return np.array([d.box for d in found]).reshape(-1, 4), np.array([d.score for d in found])


def haar(cascade, image, min_size=24):
    boxes, _, weights = cascade.detectMultiScale3(image, 1.1, 2, minSize=(min_size,) * 2, outputRejectLevels=True)
    boxes = np.array(boxes, float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes, np.array(weights, float).ravel()


def dlib_hog(detector, image, upsample=1):
    boxes, scores, _ = detector.run(image, upsample, -1.0)
    return np.array([(b.left(), b.top(), b.right(), b.bottom()) for b in boxes], float).reshape(-1, 4), np.array(scores)


def peers():
    """Return {name: function of a picture} of the other detectors that are installed."""
    found = {}
    try:
        import cv2

        cv2.setNumThreads(2)
        cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
        found["OpenCV Haar"] = partial(haar, cascade)
    except (ImportError, AttributeError):
        pass
    try:
        import dlib

        found["dlib HOG, upsampled once"] = partial(dlib_hog, dlib.get_frontal_face_detector())
    except ImportError:
        pass
    return found


def timed(function, images):
    """Return what a function finds in each picture, and the seconds it takes: the shorter of two passes."""
    function(images[0])
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        found = [function(image) for image in images]
        seconds.append(time.perf_counter() - start)
    return found, min(seconds)


def accuracy(faces, portraits, detector, others):
    """Return rows: average precision and time on the pictures that training holds out."""
    from minifer.faces.archives import pictures_below, portraits_below
    from minifer.faces.training_pictures import held_out

    images, truths = held_out(
        list(pictures_below(faces, "faces").values()),
        list(pictures_below(faces, "scenes").values()),
        [(image, box_of_landmarks(points)) for image, points in portraits_below(portraits)],
        np.random.default_rng(1),
    )
    megapixels = sum(image.size for image in images) / 1e6
    found, seconds = timed(partial(ours, detector), images)
    rows = []
    for name, peer in others.items():
        peer_found, peer_seconds = timed(peer, images)
        for overlap in (0.5, 0.3):
            mine, theirs = (average_precision(boxes, truths, overlap)[0] for boxes in (found, peer_found))
            rows.append((f"average precision at IoU {overlap}", mine, theirs, name, "AP", False))
        milliseconds = (1e3 * seconds / megapixels, 1e3 * peer_seconds / megapixels)
        rows.append(("time per megapixel, min size 24", *milliseconds, name, "ms", True))
    return rows


def frame_rate(detector, others):
    """Return rows: frames of 640 x 480 a second at min size 40."""
    from PIL import Image
    from skimage import data

    frame = np.asarray(Image.fromarray(data.astronaut()).convert("L").resize((640, 480)))
    _, seconds = timed(partial(ours, detector, min_size=40), [frame] * 10)
    peer = others.get("OpenCV Haar")
    theirs = 10 / timed(partial(peer, min_size=40), [frame] * 10)[1] if peer else None
    return [("640 x 480, min size 40", 10 / seconds, theirs, peer and "OpenCV Haar", "frames/s", False)]


def fer2013(path, detector, others):
    """Return rows: the share of FER2013's pictures, every 20th of train and val, in which a face is found."""
    from minifer.commands.prepare import FOUND_FROM
    from minifer.data.fer2013 import load

    splits = load(path)
    images = np.concatenate([splits[name].images for name in ("train", "val")])[::20]
    found = [detector.detect_crop(image) for image in images]
    share = float(np.mean([face is not None and face.score >= FOUND_FROM for face in found]))
    peer = others.get("OpenCV Haar")
    theirs = None
    if peer:
        large = [np.pad(image, 24, mode="edge").repeat(3, axis=0).repeat(3, axis=1) for image in images]
        theirs = float(np.mean([len(peer(image, min_size=86)[0]) > 0 for image in large]))
    return [("FER2013 pictures with a face found", share, theirs, peer and "OpenCV Haar, padded, 3x", "share", False)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", help="zip or folder with faces/ and scenes/")
    parser.add_argument("--portraits", help="zip or folder with pictures and .pts files")
    parser.add_argument("--fer2013", help="FER2013 in any layout")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    detector, others = FaceDetector.load(), peers()
    rows = frame_rate(detector, others)
    if args.faces and args.portraits:
        rows += accuracy(args.faces, args.portraits, detector, others)
    if args.fer2013:
        rows += fer2013(args.fer2013, detector, others)
    report(rows, args.json)


if __name__ == "__main__":
    main()
