"""Find faces: HOG features, a linear SVM in every window of a pyramid, and a second look at the few that pass.

    level      the picture at one size;  blocks = its HOG, computed once
    score      s = blocks correlated with the SVM's weights: every window at once
    look       windows with s > pass_score:  z = relu(features @ hidden + b1) @ out + b2 + score_weight * s,
               a network with one hidden layer on the window's HOG, and the SVM's own opinion
    group      windows that found the same face become one box and one z (boxes.merge)
    tilt       where no face is surer than 1/2, the picture turned by 30 degrees either way is looked at too
    face       1 / (1 + exp(-(slope * z + offset))), the probability of a face (Platt's calibration)

Source     Dalal & Triggs, CVPR 2005; Platt, "Probabilistic outputs for support vector machines", 1999. The second look
           is ours: a single linear template confuses grainy texture with small faces.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from minifer.errors import CheckpointError, ConfigError, DataError
from minifer.faces.boxes import merge, suppress
from minifer.faces.hog import CLIP, EPS
from minifer.faces.kernels.hog import hidden_layer, passing_windows
from minifer.faces.kernels.resize import affine, bordered
from minifer.faces.pyramid import Picture, level_sizes, resized
from minifer.files.images import MEGAPIXELS
from minifer.files.npz import Npz, write_arrays

SHIPPED = Path(__file__).parents[1] / "weights" / "detector.npz"
# What the file holds, as minifer.files.npz reads it: U the windows' side in cells, K the hidden units.
ARRAYS = {
    "template": "f U U 36", "bias": "f", "pass_score": "f", "hidden": "f U U 36 K", "hidden_bias": "f K", "out": "f K",
    "out_bias": "f", "score_weight": "f", "floor": "f", "slope": "f", "offset": "f", "threshold": "f", "cell": "i",
}  # fmt: skip
USUAL_SIZE = 24  # pixels: the side of the smallest face's box; for smaller ones a picture is enlarged
SURE, TILT = 0.5, np.deg2rad(30)
SURE_TILTED = 0.7  # chance hits are as frequent in turned pictures as in others, tilted faces are rare
SECOND_GRID = 1.4  # levels at least this many times smaller than the picture are looked at on two grids


@dataclass(frozen=True)
class Detection:
    """A face that was found: its box [x1, y1, x2, y2] in pixels and the probability that it is one."""

    box: np.ndarray
    score: float

    def __iter__(self):
        return iter((self.box, self.score))

    def as_dict(self, points=None):
        """Return it, and its landmarks (68,2) if they are given, as a JSON-able dict."""
        face = {"box": self.box.round(2).tolist(), "score": round(self.score, 4)}
        return face if points is None else {**face, "landmarks": points.round(2).tolist()}


@dataclass
class FaceDetector:
    """A trained detector. A window is a square of (U + 1) * cell pixels; a face's box fills it.

    Any number of threads may call one.
    """

    template: np.ndarray  # (U,U,36), the linear SVM's weights
    bias: float
    pass_score: float  # windows with a lower linear score get no second look
    hidden: np.ndarray  # (U,U,36,K)
    hidden_bias: np.ndarray  # (K,)
    out: np.ndarray  # (K,)
    out_bias: float
    score_weight: float  # of the linear score in the second look
    floor: float  # windows with a lower z join no group
    slope: float  # Platt's calibration
    offset: float
    threshold: float = 0.2  # the score from which detect() reports a face unless told otherwise
    cell: int = 4

    @property
    def window(self):
        """The side of a window in pixels."""
        return (self.template.shape[0] + 1) * self.cell

    def detect(
        self, image, threshold: float | None = None, min_size: float = USUAL_SIZE, scale_step: float = 1.15
    ) -> list[Detection]:
        """Return the faces in a picture, best first: a list of Detection.

        The box of a tilted face is the upright square round its middle.

        Shapes     image (H,W) uint8, or (H,W,3); min_size is the side of the smallest face's box, in pixels
        Raises     DataError when image is no picture, or too large a one to be searched for faces smaller than usual;
                   ConfigError when a setting cannot work
        """
        if not 8 <= min_size < np.inf or not 1.01 <= scale_step < np.inf:
            raise ConfigError(f"min_size must be 8 or more and scale_step 1.01 or more, got {min_size}, {scale_step}")
        picture = Picture.of(image)
        check_enlarged(*picture.shape, min_size)
        boxes, logits = merge(*self.windows(picture, min_size, scale_step))
        squarish = max(picture.shape) <= 4 * min(
            picture.shape
        )  # a turned strip would fill a thousand times its own area
        if squarish and not (self.probability(logits) >= SURE).any():
            looks = [
                (boxes, logits),
                *(self.tilted(picture.grey, angle, min_size, scale_step) for angle in (-TILT, TILT)),
            ]
            boxes, logits = (np.concatenate(parts) for parts in zip(*looks, strict=True))
            kept = suppress(boxes, logits)
            boxes, logits = boxes[kept], logits[kept]
        scores = self.probability(logits)
        least = self.threshold if threshold is None else threshold
        return [Detection(box, float(score)) for box, score in zip(boxes, scores, strict=True) if score >= least]

    def tilted(self, image, angle, min_size, scale_step):
        """Return boxes (N,4) and logits (N,) of the faces that are surely seen when a picture is turned by an angle.

        Shapes     image (H,W) uint8; angle in radians
        """
        cosine, sine = np.cos(angle), np.sin(angle)
        turn = np.array([[cosine, sine], [-sine, cosine]])  # of row and column, from the turned picture to this one
        shape = np.ceil(np.abs(turn) @ image.shape).astype(int)
        shift = (np.array(image.shape) - turn @ shape) / 2
        corner = shift + (turn.sum(axis=1) - 1) / 2  # matrices start at the middle of the first pixel
        turned = np.rint(affine(np.float32(image), np.column_stack([turn, corner]), *shape)).astype(np.uint8)
        boxes, logits = merge(*self.windows(Picture(turned), min_size, scale_step))
        half = (boxes[:, 2:] - boxes[:, :2]) / 2
        middle = ((boxes[:, 1::-1] + half[:, ::-1]) @ turn.T + shift)[:, ::-1]
        seen = ((middle > 0) & (middle < image.shape[::-1])).all(axis=1) & (self.probability(logits) >= SURE_TILTED)
        return np.concatenate([middle - half, middle + half], axis=1)[seen], logits[seen]

    def detect_crop(self, image, scale_step=1.15):
        """Return the best Detection, however unlikely, in a picture that one face should fill; None where nothing
        passes.

        For pictures such as FER2013's, in which the face's box reaches over the border: half the picture's size is
        added on each side, in its border's values, and only boxes of 0.6 to 1.5 times the picture whose centre lies
        in the middle half are considered. A picture smaller than a window is enlarged by the pyramid; one of less
        than 12 pixels shows no face.

        Shapes     image (H,W) uint8, or (H,W,3)
        """
        image = Picture.of(image).grey
        side = min(image.shape)
        if side < 12:
            return None
        margin = (side + 1) // 2
        boxes, logits = self.windows(Picture(np.pad(image, margin, mode="edge")), 0.6 * side, scale_step, threads=1)
        boxes = boxes - margin
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2 / image.shape[::-1]
        usable = (boxes[:, 2] - boxes[:, 0] <= 1.5 * side) & (np.abs(centre - 0.5) <= 0.25).all(axis=1)
        if not usable.any():
            return None
        boxes, logits = merge(boxes[usable], logits[usable])
        return Detection(boxes[0], float(self.probability(logits[0])))

    def windows(self, picture, min_size, scale_step, threads=2):
        """Return the boxes and logits z of all windows that pass both looks, at all sizes from min_size up.

        The levels are shared out over the threads; the result does not depend on that.

        Shapes     picture (H,W)   boxes (N,4)   logits (N,)
        """
        smallest = self.window - 2 * self.cell
        sizes = level_sizes(picture.shape, smallest, self.window / min_size, scale_step)
        pictures = picture.octaves(self.window)
        if threads > 1:
            with ThreadPoolExecutor(threads) as pool:
                # copy_context: the kernels' backend is chosen for each thread by itself.
                tasks = [pool.submit(copy_context().run, self.scan_level, pictures, size) for size in sizes]
                found = [task.result() for task in tasks]
        else:
            found = [self.scan_level(pictures, size) for size in sizes]
        boxes = np.concatenate([np.zeros((0, 4)), *(level[0] for level in found)])
        logits = np.concatenate([np.zeros(0), *(level[1] for level in found)])
        return boxes[logits > self.floor], logits[logits > self.floor]

    def scan_level(self, pictures, size):
        """Return the boxes, in the whole picture's pixels, and the logits z of a level's windows over pass_score.

        Shapes     pictures: octaves of (H,W)   size (height, width)   boxes (N,4)   logits (N,)
        """
        boxes, logits = [np.zeros((0, 4))], [np.zeros(0)]
        for found, *windows in self.first_look(pictures, size):
            boxes.append(found)
            logits.append(self.second_look(*windows))
        return np.concatenate(boxes), np.concatenate(logits)

    def first_look(self, pictures, size):
        """Yield boxes, blocks, rows, columns and linear scores of a level's windows over pass_score, grid by grid.

        The level's border pixels are repeated two cells outwards: a face may be cut off. Smaller levels, which cost
        little and show larger faces, get a second grid of windows, half a cell further down and right.

        Shapes     pictures: octaves of (H,W)   boxes (N,4)   blocks (P,Q,36)   rows columns scores (N,)
        """
        border = 2 * self.cell
        level = bordered(resized(pictures, *size), border)
        to_picture = np.divide(pictures[0].shape, size)[::-1]
        for shift in (0, self.cell // 2) if to_picture[1] >= SECOND_GRID else (0,):
            blocks, rows, columns, scores = passing_windows(
                level[shift:, shift:], self.cell, EPS, CLIP, self.template, self.bias, self.pass_score
            )
            corner = np.stack([columns, rows], axis=1) * self.cell + shift - border
            boxes = np.concatenate([corner * to_picture, (corner + self.window) * to_picture], axis=1)
            yield boxes, blocks, rows, columns, scores

    def second_look(self, blocks, rows, columns, scores):
        """Return the logit z of each window.

        Shapes     blocks (P,Q,36)   rows columns scores (N,)   logits (N,)
        """
        layer = hidden_layer(blocks, rows, columns, self.hidden, self.hidden_bias)
        return layer @ self.out + self.out_bias + self.score_weight * scores

    def probability(self, logits):
        """Return the calibrated probability of a face for each logit."""
        return 1 / (1 + np.exp(-np.clip(self.slope * logits + self.offset, -50, 50)))

    def save(self, path):
        """Write the detector to an .npz file; the large matrix in half precision.

        Raises     MiniferError when the file cannot be written; an earlier one of that name is then untouched
        """
        arrays = {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}
        arrays["hidden"] = arrays["hidden"].astype(np.float16)
        write_arrays(path, arrays)

    @classmethod
    def load(cls, path=SHIPPED) -> "FaceDetector":
        """Return the detector in a file written by save(); without a path, the one that ships.

        Raises     CheckpointError when the file is missing, damaged or holds something else
        """
        with Npz(path, CheckpointError, "not a face detector of this version") as file:
            arrays = file.arrays(ARRAYS, largest=1e6)
            if not (2 <= len(arrays["template"]) <= 32 and 2 <= arrays["cell"] <= 32):
                file.refuse("its windows have less than 2 or more than 32 cells, or its cells so many pixels")
        return cls(**{name: value.item() if value.ndim == 0 else value for name, value in arrays.items()})


def check_enlarged(height, width, min_size):
    """Raise DataError when a picture is enlarged, for small faces, to more than the largest picture usually is."""
    least = USUAL_SIZE * (height * width / (MEGAPIXELS * 1e6)) ** 0.5
    if min_size < min(least, USUAL_SIZE):
        raise DataError(
            f"{width} x {height} pixels are too many to search for faces of {min_size:g} pixels: make the picture "
            f"smaller, or the smallest face {math.ceil(min(least, USUAL_SIZE))} pixels or more"
        )
