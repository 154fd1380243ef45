"""How many of the faces that `minifer predict` classifies are none, and how many faces does it miss?

    python benchmarks/false_faces.py --faces faces.zip --portraits helen.zip --landmarks held-out.npz [--json]

The pictures are held out from training: every 5th portrait at full size and made small and poor, every 8th aligned face
put into every 4th scene, and for false faces these scenes as they are and the pictures without faces of scikit-image.
--landmarks is a predictor that has not seen these portraits either, for the faces:

    minifer train-landmarks --data helen.zip --hold-out 5 --out held-out.npz

False faces are counted with the shipped one, which has seen none of these pictures. What is found in a portrait beside
the known face counts neither way: most of it are other people. The last lines fit faces.confirmation again.
"""

import argparse

import numpy as np
from detection import held_out_pictures
from timing import figure, report, start

SCENES = (
    "astronaut", "brick", "camera", "checkerboard", "chelsea", "clock", "coffee", "coins", "grass", "gravel", "horse",
    "hubble_deep_field", "immunohistochemistry", "logo", "moon", "page", "retina", "rocket", "text",
)  # fmt: skip
OVERLAP = 0.3  # of a box with a face that it has found


def scenes_without_faces(faces):
    """Return every 4th scene, and the pictures that come with scikit-image; the astronaut's face is made grey."""
    from skimage import data

    from minifer.faces.archives import pictures_below
    from minifer.files.images import check_image

    pictures = [check_image(getattr(data, name)()) for name in SCENES]
    pictures[0] = np.array(pictures[0])
    pictures[0][40:200, 140:310] = 128
    return {"scenes": list(pictures_below(faces, "scenes").values())[::4], "scikit-image's": pictures}


def portraits_at_full_size(path):
    """Return every 5th portrait, and the box of its known face."""
    from minifer.faces.archives import portraits_below
    from minifer.faces.boxes import box_of_landmarks

    portraits = portraits_below(path)[::5]
    return [image for image, _ in portraits], [box_of_landmarks(points)[None] for _, points in portraits]


def looks(images, truths, detector, landmarks):
    """Return the detector's score, the landmarks' doubt and the overlap with a known face of all that is reported."""
    from minifer.faces.boxes import iou
    from minifer.faces.pyramid import Picture

    rows = []
    for image, truth in zip(images, truths, strict=True):
        picture = Picture.of(image)
        for box, score in detector.detect(picture):
            overlap = iou(box[None], truth)[0].max(initial=0)
            rows.append((score, landmarks.predict_with_doubt(picture, box)[1], overlap))
    return np.array(rows).reshape(-1, 3)


def fit(found, false):
    """Return slope, doubt's weight and offset of a logistic regression in which both kinds weigh the same."""
    from sklearn.linear_model import LogisticRegression

    rows = np.concatenate([found, false])
    features = np.column_stack([np.log(rows[:, 0] / (1 - rows[:, 0])), rows[:, 1]])
    model = LogisticRegression(C=1e6, class_weight="balanced").fit(features, np.arange(len(rows)) < len(found))
    return *model.coef_[0].tolist(), float(model.intercept_[0])


def main():
    """Measure and print."""
    from minifer.faces import FaceDetector, LandmarkPredictor
    from minifer.faces.confirmation import confirmed
    from minifer.recognizer import SURE_FROM

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", required=True, help="zip or folder with faces/ and scenes/")
    parser.add_argument("--portraits", required=True, help="zip or folder with pictures and .pts files")
    parser.add_argument("--landmarks", required=True, help="a predictor trained without every 5th portrait")
    args = start(parser)
    detector, shipped, held_out = FaceDetector.load(), LandmarkPredictor.load(), LandmarkPredictor.load(args.landmarks)
    rows, found, false = [], [], []

    def add(measure, unit, scale, values):
        before = np.sum(values[:, 0] >= SURE_FROM)
        now = sum(confirmed(score, doubt) >= SURE_FROM for score, doubt, _ in values)
        rows.append(figure(measure, now * scale, before * scale, "score 1/2 alone", unit, less=False))

    for name, (images, truths) in {
        "portraits whose face is found": portraits_at_full_size(args.portraits),
        "small and poor faces found": held_out_pictures(args.faces, args.portraits),
    }.items():
        values = looks(images, truths, detector, held_out)
        values = values[values[:, 2] > OVERLAP]
        add(f"{name}, of {sum(map(len, truths))}", "faces", 1, values)
        found.append(values)
    for name, images in scenes_without_faces(args.faces).items():
        values = looks(images, [np.zeros((0, 4))] * len(images), detector, shipped)
        size = sum(image.size for image in images) / 1e6
        add(f"false faces in {len(images)} {name}, {size:.1f} megapixels", "faces", 1, values)
        false.append(values)
    slope, per_doubt, offset = fit(np.concatenate(found), np.concatenate(false))
    fitted = {"slope": slope, "doubt": per_doubt, "offset": offset}
    report(rows, args.threads, args.json, **{"logistic regression": fitted})


if __name__ == "__main__":
    main()
