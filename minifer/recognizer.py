"""What does this face show? The whole way from a picture to probabilities, as one object."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minifer.data.dataset import picture_side, to_float
from minifer.errors import ConfigError
from minifer.faces.confirmation import confirmed
from minifer.faces.crop import crop_face, fit_square
from minifer.faces.detector import FaceDetector
from minifer.faces.landmarks import LandmarkPredictor
from minifer.faces.pyramid import Picture
from minifer.faces.registration import frame_of_crop, read_face
from minifer.files.images import check_image, read_image
from minifer.inference import ready
from minifer.losses import probabilities
from minifer.networks import Own
from minifer.output import log
from minifer.trained import find_weights, input_shape, load_weights

SURE_FROM = 0.5  # the score of a face that is classified: more likely a face than not


@dataclass
class Face:
    """A face in a picture, and what the network reads of it."""

    box: np.ndarray  # (4,)
    detection: float | None  # the detector's score; None: nobody looked for it
    score: float | None  # of a face, by the detector and the landmarks' doubt
    points: np.ndarray | None  # (68,2)
    input: np.ndarray  # (side,side,C) float32

    def as_dict(self):
        """Return it as Recognizer.predict does, without probabilities."""
        face = {"box": self.box.round(2).tolist(), "score": None if self.score is None else round(self.score, 4)}
        return face if self.points is None else {**face, "landmarks": self.points.round(2).tolist()}


class Recognizer:
    """Finds the faces in pictures and says what they express, with a trained network.

    Every face is found, its landmarks are fitted, and it is cut out (or sampled along its frame) as the pictures were
    that the network was trained on. Any number of threads may call one.

        >>> from minifer.data import synthetic
        >>> drawn = synthetic.load(seed=0, train=1, val=1)["val"].images[0]
        >>> (face,) = Recognizer.load("small", detect=False).predict(drawn)  # or the path of a picture
        >>> sorted(face)
        ['box', 'probabilities', 'score']

    detect     False: look for no face, each picture is one, as in FER2013
    model      the network of one's own that was trained, see minifer.networks
    Raises     CheckpointError when the weights are damaged; ConfigError when the network reads no squares
    """

    def __init__(self, path: str | Path, detect: bool = True, model: Own | None = None):
        self.model, meta = load_weights(path, model)
        self.input_shape = height, width, channels = input_shape(meta["image_shape"])
        if height != width:
            raise ConfigError(f"{path} was trained on pictures of {height} x {width}, a face's crop is a square")
        self.side, self.colour, self.classes = height, channels == 3, tuple(meta["classes"])
        self.register = meta["config"].get("register", False)
        self.network = ready(self.model, self.input_shape, log)
        self.detector = FaceDetector.load() if detect else None
        self.landmarks = LandmarkPredictor.load() if detect or self.register else None
        self.path = Path(path)
        self.sure_from, self.min_size = SURE_FROM, 24  # the least score of a face, and the side of its box in pixels

    @classmethod
    def load(cls, name: str | Path = "best", detect: bool = True, model: Own | None = None) -> "Recognizer":
        """Return the Recognizer of shipped weights ("best", "small"), a weights file or a run folder."""
        return cls(find_weights(name), detect, model)

    def __repr__(self):
        return f"Recognizer({str(self.path)!r}, {len(self.classes)} classes, {self.side}x{self.side})"

    def __call__(self, image):
        return self.predict(image)

    def predict(self, image) -> list[dict]:
        """Return a dict for each face in a picture, the surest face first; an empty list where there is none.

            box      [x1, y1, x2, y2] in pixels       landmarks       68 pairs [x, y]
            score    0 to 1, how sure the face is     probabilities   {class: probability}

        The score is stricter than the detector's: the landmarks have to fit, too (see faces.confirmation).
        Without detection the whole picture is the one face: its score is None, and it has no landmarks.

        image      path of a file; a PIL picture, whose pixels are taken as they lie (PIL.ImageOps.exif_transpose turns
                   a photo as a viewer shows it, and as it is read from a path); or an array (H,W) or (H,W,3) of any
                   type (see files.images)
        """
        return self.predict_batch([image])[0]

    def predict_batch(self, images) -> list[list[dict]]:
        """Return what predict returns of each picture; the network runs once on the faces of all."""
        found = [self.faces(self.picture(image)) for image in images]
        probs = iter(self.probabilities([face.input for faces in found for face in faces]))
        return [[face.as_dict() | {"probabilities": self.named(next(probs))} for face in faces] for faces in found]

    def named(self, probs):
        """Return probabilities (classes,) as {class: probability}."""
        # Seven decimals are what float32 holds.
        return {name: round(float(p), 7) for name, p in zip(self.classes, probs, strict=True)}

    def probabilities(self, inputs):
        """Return probabilities (N, classes) of N faces (side, side, C) ready to be read; N may be 0."""
        return probabilities(self.logits(inputs))

    def logits(self, inputs):
        """Return logits (N, classes), of which probabilities() makes probabilities."""
        if not len(inputs):
            return np.empty((0, len(self.classes)), np.float32)
        return self.network(np.reshape(np.array(inputs, np.float32), (-1, *self.input_shape)))

    def picture(self, image):
        """Return a Picture, or of a network that reads colour an array (H,W,3)."""
        if isinstance(image, str | Path):
            image = read_image(image, colour=self.colour)
            return image if self.colour else Picture(image)
        return check_image(image, colour=True) if self.colour else Picture.of(image)

    def faces(self, picture):
        """Return the Faces in what picture() returns, the surest first; without detection the whole one."""
        if self.detector is None:
            return [self._whole(picture)]
        grey = Picture.of(picture)
        faces = [self.fit(picture, grey, *found) for found in self.search(grey)]
        return sorted((face for face in faces if face.score >= self.sure_from), key=lambda face: -face.score)

    def search(self, grey):
        """Return the Detections, whatever their score, in a Picture."""
        return self.detector.detect(grey, min_size=self.min_size)

    def fit(self, picture, grey, box, detection):
        """Return the Face in a box (4,) to which the detector has given a score.

        grey       Picture.of(picture), which several calls share
        """
        points, doubt = self.landmarks.predict_with_doubt(grey, box)
        if self.register:
            read = read_face(grey.grey, points, self.side)
        else:  # as `minifer prepare` crops
            read = to_float(crop_face(picture, points, side=self.side, colour=self.colour)[None])[0]
        return Face(box, detection, confirmed(detection, doubt), points, read)

    def _whole(self, picture):
        """Return the Face that fills a picture."""
        if self.register:
            whole = fit_square(picture, picture_side(self.side))
            read = to_float(whole[None], frame_of_crop(whole, self.landmarks)[None])[0]
        else:
            read = to_float(fit_square(picture, self.side, colour=self.colour)[None])[0]
        return Face(np.array([0.0, 0.0, picture.shape[1], picture.shape[0]]), None, None, None, read)
