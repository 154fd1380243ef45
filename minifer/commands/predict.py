"""Say what the faces in pictures express: every face is found, cropped as for training, and classified."""

import contextlib
import csv
import itertools

from minifer.commands.common import add_threads, as_path, find_weights, set_threads
from minifer.commands.pictures import Drawings, add_pictures, claimed_drawings, describe_face, print_rows, read_pictures
from minifer.errors import ConfigError, MiniferError

SURE_FROM = 0.5  # the score of a face that is classified: more likely a face than not
NO_FACE, NOT_READ = "no_face", "not_read"  # what a picture without a face, or without a picture, is predicted to show


def add_arguments(parser):
    """Add the flags of `minifer predict`."""
    add_pictures(parser)
    parser.add_argument(
        "--weights",
        type=as_path,
        default="best",
        metavar="FILE|RUN|NAME",
        help="weights file, run folder, or name of shipped weights: best or small (default: best)",
    )
    parser.add_argument(
        "--no-detect", action="store_true", help="look for no face: each picture is one face, as in FER2013"
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="one line of JSON per picture")
    output.add_argument("--csv", type=as_path, metavar="FILE", help="also write a table, one row per face")
    add_threads(parser)


def run(args):
    """Run `minifer predict`: a line per face on stdout; return 1 when a picture could not be read."""
    set_threads(args)
    classifier = FaceClassifier(find_weights(args.weights), detect=not args.no_detect)
    rows = predict(args.images, classifier, args.draw)
    rows = write_csv(rows, args.csv, classifier.classes) if args.csv else rows
    with claimed_drawings(args.draw), contextlib.closing(rows):
        return print_rows("predict", rows, describe, args.json, and_files=bool(args.csv or args.draw))


def describe(row):
    """Return a picture's row as text, a line for each face."""
    if not row["faces"]:
        return f"{row['image']}: {NOT_READ if 'error' in row else NO_FACE}"
    lines = []
    for number, face in enumerate(row["faces"], 1):
        where = "whole picture"
        if face["score"] is not None:
            box = " ".join(f"{value:.0f}" for value in face["box"])
            where = f"face {number} of {len(row['faces'])}, box {box}, score {face['score']:.2f}"
        likely = " then ".join(f"{name} {100 * p:.1f} %" for name, p in ranking(face)[:2])
        lines.append(f"{row['image']}: {where}: {likely}")
    return "\n".join(lines)


def ranking(face):
    """Return (class, probability) pairs of a face, the likeliest first."""
    return sorted(face["probabilities"].items(), key=lambda pair: -pair[1])


class FaceClassifier:
    """A trained network together with all that leads from a picture to it: the detector, landmarks and the crop.

    Any number of threads may call one.
    """

    def __init__(self, path, detect=True):
        from minifer.faces.detector import FaceDetector
        from minifer.faces.landmarks import LandmarkPredictor
        from minifer.inference import InferenceNetwork
        from minifer.training import load_weights

        model, meta = load_weights(path)
        height, width = meta["image_shape"]
        if height != width:
            raise ConfigError(f"{path} was trained on pictures of {height} x {width}, a face's crop is a square")
        self.side, self.classes = height, tuple(meta["classes"])
        self.register = meta["config"].get("register", False)
        self.network = InferenceNetwork(model, (height, width, 1))
        self.detector = FaceDetector.load() if detect else None
        self.landmarks = LandmarkPredictor.load() if detect or self.register else None

    def faces(self, image):
        """Return {"box", "score", "landmarks", "probabilities"} of each face in a picture, the surest face first.

        Without detection the whole picture is the one face: its score is None, and it has no landmarks.

        Shapes     image (H,W) uint8, or (H,W,3)
        """
        from minifer.data.dataset import to_float
        from minifer.faces.crop import crop_face, fit_square
        from minifer.faces.registration import frame_of_crop, read_face
        from minifer.files.images import check_image

        image = check_image(image)
        if self.detector is None:
            faces = [{"box": [0.0, 0.0, float(image.shape[1]), float(image.shape[0])], "score": None}]
            square = fit_square(image, self.side)
            frames = frame_of_crop(square, self.landmarks)[None] if self.register else None
            inputs = [to_float(square[None], frames)[0]]
        else:
            faces, inputs = [], []
            for found in self.detector.detect(image, SURE_FROM):
                points = self.landmarks.predict(image, found.box)
                faces.append(describe_face(found, points))
                if self.register:
                    inputs.append(read_face(image, points, self.side))
                else:
                    inputs.append(to_float(crop_face(image, points, side=self.side)[None])[0])  # as `minifer prepare`
        for face, probs in zip(faces, self.probabilities(inputs), strict=True):
            # Seven decimals are what float32 holds.
            face["probabilities"] = {name: round(float(p), 7) for name, p in zip(self.classes, probs, strict=True)}
        return faces

    def probabilities(self, inputs):
        """Return probabilities (N, classes) of N faces (side, side, 1) ready to be read; N may be 0."""
        import numpy as np

        from minifer.losses import probabilities

        return probabilities(self.network(np.reshape(np.array(inputs, np.float32), (-1, *self.network.input_shape))))


def predict(paths, classifier, draw=None):
    """Yield one row per picture: {"image": path, "faces": see FaceClassifier.faces}, or with "error".

    A picture that cannot be read yields an empty list of faces and one line under "error"; the others are still done.

    Raises     DataError when a path does not exist or no picture is there
    """
    drawings = None if draw is None else Drawings(draw)
    for path, row, image in read_pictures(paths):
        if image is not None:
            row["faces"] = classifier.faces(image)
            if drawings is not None:
                drawings.save(image, row["faces"], path, label, landmarks=False)
        yield row


def label(face):
    """Return what is written beside a face: its likeliest class."""
    name, probability = ranking(face)[0]
    return f"{name} {100 * probability:.0f} %"


def write_csv(rows, path, classes):
    """Yield rows, after writing each one to a table: a line per face, and one for a picture without a face.

    Lines are written as soon as they are known, so that an interrupted run leaves what it has found so far. A table of
    an earlier run is replaced only once there is something to write.
    """
    from minifer.files import claimed

    rows = iter(rows)
    first = list(itertools.islice(rows, 1))
    try:
        with claimed(path), open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["picture", "face", "x1", "y1", "x2", "y2", "score", "prediction", *classes])
            for row in itertools.chain(first, rows):
                table.writerows(table_rows(row, classes))
                file.flush()
                yield row
    except OSError as error:
        raise MiniferError(f"cannot write {path}: {error.strerror or error}") from error


def table_rows(row, classes):
    """Return a picture's lines of the table; what a picture without a face does not have is empty."""
    if not row["faces"]:
        return [[row["image"], *[""] * 6, NOT_READ if "error" in row else NO_FACE, *[""] * len(classes)]]
    lines = []
    for number, face in enumerate(row["faces"], 1):
        probabilities = [f"{face['probabilities'][name]:.5f}" for name in classes]
        lines.append([row["image"], number, *face["box"], face["score"], ranking(face)[0][0], *probabilities])
    return lines
