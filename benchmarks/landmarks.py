"""How exact are the landmarks, how fast, how large? minifer's predictor against the mean shape and, if given, dlib's.

    python benchmarks/landmarks.py --portraits PATH [--predictor FILE --hold-out N] [--dlib MODEL.dat] [--json]

PATH holds pictures with .pts files that the predictor has not seen. The shipped one has seen all of the HELEN training
set; train another with `minifer train-landmarks --data helen.zip --hold-out 6 --out held.npz`, then measure with
`--predictor held.npz --hold-out 6`. Boxes are those of the landmarks, and then those of minifer's own detector.
"""

import argparse
import os
import time

import numpy as np
from detection import report

from minifer.commands.train_landmarks import measure
from minifer.faces import FaceDetector, LandmarkPredictor
from minifer.faces.archives import portraits_below
from minifer.faces.boxes import box_of_landmarks, iou
from minifer.faces.landmark_training import mean_error
from minifer.faces.landmarks import SHIPPED


def milliseconds(predict, portraits, boxes):
    """Return the mean time of one face: the shorter of two passes."""
    passes = []
    for _ in range(3):
        start = time.perf_counter()
        for (image, _), box in zip(portraits, boxes, strict=True):
            predict(image, box)
        passes.append(1e3 * (time.perf_counter() - start) / len(portraits))
    return min(passes[1:])


def detected(portraits):
    """Return the portraits whose face our detector finds, and the boxes found: those that overlap the truth most."""
    detector, found, boxes = FaceDetector.load(), [], []
    for image, points in portraits:
        faces = np.array([face.box for face in detector.detect(image)]).reshape(-1, 4)
        overlap = iou(faces, box_of_landmarks(points)[None])[:, 0]
        if len(faces) and overlap.max() > 0.4:
            found.append((image, points))
            boxes.append(faces[overlap.argmax()])
    return found, boxes


def dlib_rows(path, portraits, boxes):
    """Return dlib's error and time on the same faces, its boxes being the landmarks' bounding boxes."""
    import dlib

    model = dlib.shape_predictor(path)
    tight = [np.concatenate([points.min(axis=0), points.max(axis=0)]) for _, points in portraits]

    def predict(image, box):
        shape = model(image, dlib.rectangle(*(round(float(value)) for value in box)))
        return np.array([(part.x, part.y) for part in shape.parts()])

    found = [predict(image, box) for (image, _), box in zip(portraits, tight, strict=True)]
    return mean_error(found, [points for _, points in portraits]), milliseconds(predict, portraits, boxes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", required=True, help="zip or folder with pictures and .pts files")
    parser.add_argument("--predictor", default=SHIPPED, help="trained weights (default: those that ship)")
    parser.add_argument("--hold-out", type=int, default=1, metavar="N", help="measure on every N-th portrait")
    parser.add_argument("--dlib", metavar="MODEL.dat", help="a model of dlib's shape predictor to compare with")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    predictor, portraits = LandmarkPredictor.load(args.predictor), portraits_below(args.portraits)[:: args.hold_out]
    boxes = [box_of_landmarks(points) for _, points in portraits]
    errors = measure(predictor, portraits)
    found, found_boxes = detected(portraits)
    from_detector = measure(predictor, found, found_boxes)
    dlib_error, dlib_time = dlib_rows(args.dlib, portraits, boxes) if args.dlib else (None, None)
    dlib_size = os.path.getsize(args.dlib) / 1e6 if args.dlib else None
    name = "dlib" if args.dlib else None
    corners, centres = "error over eye corners", "error over eye centres"
    mean_corners, mean_centres = errors["mean shape, over eye corners"], errors["mean shape, over eye centres"]
    report(
        [
            (corners, errors[corners], mean_corners, "mean shape", "share", True),
            (centres, errors[centres], mean_centres, "mean shape", "share", True),
            *([(corners, errors[corners], dlib_error, name, "share", True)] if name else []),
            (f"{corners}, own detector's boxes", from_detector[corners], None, None, "share", True),
            (f"{centres}, own detector's boxes", from_detector[centres], None, None, "share", True),
            ("faces the detector misses", 1 - len(found) / len(portraits), None, None, "share", True),
            ("time per face", milliseconds(predictor.predict, portraits, boxes), dlib_time, name, "ms", True),
            ("model size", os.path.getsize(args.predictor) / 1e6, dlib_size, name, "MB", True),
        ],
        args.json,
    )


if __name__ == "__main__":
    main()
