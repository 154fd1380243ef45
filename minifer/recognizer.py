"""What does this face show? The whole way from a picture to probabilities, as one object."""

from pathlib import Path

import numpy as np

from minifer.data.dataset import picture_side, to_float
from minifer.errors import ConfigError
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
        network, meta = load_weights(path, model)
        self.input_shape = height, width, channels = input_shape(meta["image_shape"])
        if height != width:
            raise ConfigError(f"{path} was trained on pictures of {height} x {width}, a face's crop is a square")
        self.side, self.colour, self.classes = height, channels == 3, tuple(meta["classes"])
        self.register = meta["config"].get("register", False)
        self.network = ready(network, self.input_shape, log)
        self.detector = FaceDetector.load() if detect else None
        self.landmarks = LandmarkPredictor.load() if detect or self.register else None
        self.path = Path(path)

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

        Without detection the whole picture is the one face: its score is None, and it has no landmarks.

        image      path of a file, a PIL picture, or an array (H,W) or (H,W,3) of any type (see files.images)
        """
        return self.predict_batch([image])[0]

    def predict_batch(self, images) -> list[list[dict]]:
        """Return what predict returns of each picture; the network runs once on the faces of all."""
        found = [self._find(self._read(image)) for image in images]
        inputs = [x for _, xs in found for x in xs]
        probs = iter(self.probabilities(inputs))
        for faces, _ in found:
            for face in faces:
                # Seven decimals are what float32 holds.
                pairs = zip(self.classes, next(probs), strict=True)
                face["probabilities"] = {name: round(float(p), 7) for name, p in pairs}
        return [faces for faces, _ in found]

    def probabilities(self, inputs):
        """Return probabilities (N, classes) of N faces (side, side, C) ready to be read; N may be 0."""
        if not len(inputs):
            return np.empty((0, len(self.classes)), np.float32)
        return probabilities(self.network(np.reshape(np.array(inputs, np.float32), (-1, *self.input_shape))))

    def _read(self, image):
        """Return a Picture, or of a network that reads colour an array (H,W,3)."""
        if isinstance(image, str | Path):
            image = read_image(image, colour=self.colour)
            return image if self.colour else Picture(image)
        return check_image(image, colour=True) if self.colour else Picture.of(image)

    def _find(self, picture):
        """Return (faces, what the network reads of each)."""
        if self.detector is None:
            face = {"box": [0.0, 0.0, float(picture.shape[1]), float(picture.shape[0])], "score": None}
            if self.register:
                whole = fit_square(picture, picture_side(self.side))
                return [face], [to_float(whole[None], frame_of_crop(whole, self.landmarks)[None])[0]]
            square = fit_square(picture, self.side, colour=self.colour)
            return [face], [to_float(square[None])[0]]
        faces, inputs, grey = [], [], Picture.of(picture)
        for found in self.detector.detect(grey, SURE_FROM):
            points = self.landmarks.predict(grey, found.box)
            faces.append(found.as_dict(points))
            if self.register:
                inputs.append(read_face(grey.grey, points, self.side))
            else:
                crop = crop_face(picture, points, side=self.side, colour=self.colour)  # as `minifer prepare`
                inputs.append(to_float(crop[None])[0])
        return faces, inputs
