"""How exact are the landmarks, how fast, how large? minifer's predictor against the mean shape and, if given, dlib's.

    python benchmarks/landmarks.py --portraits PATH [--predictor FILE --hold-out N] [--dlib MODEL.dat] [--json]

PATH holds pictures with .pts files that the predictor has not seen. The shipped one has seen all of the HELEN training
set; train another with `minifer train-landmarks --data helen.zip --hold-out 6 --out held.npz`, then measure with
`--predictor held.npz --hold-out 6`. Boxes are those of the landmarks, and then those of minifer's own detector.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
from contest import Contestant, contest
from detection import pictures_in
from timing import compare, figure, report, start

TIME = "time per face"


def minifer(predictor, pictures, boxes):
    """Return minifer's prediction of all faces."""
    from minifer.faces import LandmarkPredictor

    model, faces = LandmarkPredictor.load(predictor), list(zip(pictures_in(pictures), np.array(boxes), strict=True))
    return {TIME: lambda: [model.predict(image, box).tolist() for image, box in faces]}


def dlib(path, pictures, boxes):
    """Return the prediction of one of dlib's models; its boxes are the landmarks' bounding boxes."""
    from dlib import rectangle, shape_predictor

    model, whole = shape_predictor(path), [[round(side) for side in box] for box in boxes]
    faces = [(image, rectangle(*box)) for image, box in zip(pictures_in(pictures), whole, strict=True)]

    def predict(image, box):
        return [(part.x, part.y) for part in model(image, box).parts()]

    return {TIME: lambda: [predict(image, box) for image, box in faces]}


def detected(portraits):
    """Return the portraits whose face our detector finds, and the boxes found: those that overlap the truth most."""
    from minifer.faces import FaceDetector
    from minifer.faces.boxes import box_of_landmarks, iou

    detector, found, boxes = FaceDetector.load(), [], []
    for image, points in portraits:
        faces = np.array([face.box for face in detector.detect(image)]).reshape(-1, 4)
        overlap = iou(faces, box_of_landmarks(points)[None])[:, 0]
        if len(faces) and overlap.max() > 0.4:
            found.append((image, points))
            boxes.append(faces[overlap.argmax()])
    return found, boxes


def race(portraits, args):
    """Return rows: time per face and, of dlib, the error; and why a contestant was left out."""
    from minifer.faces.boxes import box_of_landmarks
    from minifer.faces.landmark_training import mean_error

    truths = [points for _, points in portraits]
    with tempfile.TemporaryDirectory() as folder:
        pictures = str(Path(folder) / "portraits.npz")
        np.savez(pictures, *(image for image, _ in portraits))
        boxes = [box_of_landmarks(points).tolist() for points in truths]
        ours = {"predictor": str(Path(args.predictor).resolve()), "pictures": pictures, "boxes": boxes}
        contestants = [Contestant("minifer", "landmarks:minifer", ours, args.threads)]
        if args.dlib:
            tight = [[*points.min(axis=0).tolist(), *points.max(axis=0).tolist()] for points in truths]
            theirs = {"path": str(Path(args.dlib).resolve()), "pictures": pictures, "boxes": tight}
            contestants.append(Contestant("dlib", "landmarks:dlib", theirs, args.threads))
        with contest(contestants) as running:
            rows = compare(TIME, running, TIME, args.rounds, scale=1e3 / len(portraits))
            found = {name: mean_error(np.array(points), truths) for name, points in running.results(TIME).items()}
    if "dlib" in found:
        rows.append(figure("error over eye corners", found["minifer"], found["dlib"], "dlib", "share"))
    return rows, running.notes


def main():
    """Measure and print."""
    from minifer.faces import LandmarkPredictor
    from minifer.faces.archives import portraits_below
    from minifer.faces.landmark_training import measure
    from minifer.faces.landmarks import SHIPPED

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", required=True, help="zip or folder with pictures and .pts files")
    parser.add_argument("--predictor", default=SHIPPED, help="trained weights (default: those that ship)")
    parser.add_argument("--hold-out", type=int, default=1, metavar="N", help="measure on every N-th portrait")
    parser.add_argument("--dlib", metavar="MODEL.dat", help="a model of dlib's shape predictor to compare with")
    args = start(parser, rounds=5)
    portraits = portraits_below(args.portraits)[:: args.hold_out]
    predictor = LandmarkPredictor.load(args.predictor)
    errors, (found, boxes) = measure(predictor, portraits), detected(portraits)
    from_detector = measure(predictor, found, boxes)
    rows = []
    for eyes in ("corners", "centres"):
        ours, mean_shape = errors[f"error over eye {eyes}"], errors[f"mean shape, over eye {eyes}"]
        rows.append(figure(f"error over eye {eyes}", ours, mean_shape, "mean shape", "share"))
    for eyes in ("corners", "centres"):
        ours = from_detector[f"error over eye {eyes}"]
        rows.append(figure(f"error over eye {eyes}, own detector's boxes", ours, None, None, "share"))
    rows.append(figure("faces the detector misses", 1 - len(found) / len(portraits), None, None, "share"))
    measured, notes = race(portraits, args)
    sizes = [os.path.getsize(path) / 1e6 if path else None for path in (args.predictor, args.dlib)]
    rows += [*measured, figure("model size", *sizes, args.dlib and "dlib", "MB")]
    report(rows, args.threads, args.json, notes)


if __name__ == "__main__":
    main()
