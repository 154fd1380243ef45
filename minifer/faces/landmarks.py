"""Find 68 landmarks on a face: regression trees move a mean face until it fits, and so do linear steps.

    start      the box as it is; where the result is in doubt also turned, shifted and resized: the least doubtful wins
    look 1     a patch round the box -> a few rough steps -> roughly where the eyes are, whatever the box was like
    look 2     a patch cut anew round that and turned upright -> trees
    look 3     a patch cut anew round that -> steps, and its mirror image -> trees
    result     the mean of the two shapes of look 3: their errors have little in common
    doubt      descriptors @ weight + bias of the result: about 0 for a good fit, 1 for one gone astray

    trees      shape = mean;  shape += S (leaves reached @ basis), cascade by cascade        (kernels/regression_trees)
    steps      shape = mean;  shape += descriptors @ weight @ basis + bias, step by step     (kernels/descriptors)

The 68 points are in iBUG order: 0-16 jaw, 17-26 brows, 27-35 nose, 36-41 and 42-47 the eyes, 48-67 lips; the lower
numbers of a pair are on the left of the picture.

Source     Kazemi & Sullivan, "One millisecond face alignment with an ensemble of regression trees", CVPR 2014; Xiong &
           De la Torre, "Supervised descent method and its applications to face alignment", CVPR 2013.
"""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

import numpy as np

from minifer.errors import CheckpointError, DataError
from minifer.faces.boxes import place_of_landmarks
from minifer.faces.kernels.descriptors import point_descriptors, run_steps
from minifer.faces.kernels.regression_trees import run_cascades
from minifer.faces.kernels.resize import affine
from minifer.faces.pyramid import Picture, octaves
from minifer.files.npz import Npz, write_arrays

SHIPPED = Path(__file__).parents[1] / "weights" / "landmarks.npz"
PATCH, FACE = 112, 72  # the side of a patch and of the face's box in it, in pixels
FARTHEST = 1e4  # no number of a predictor is larger: its places are pixels of a patch
CLIP = 0.25  # of the descriptors
# Starts: the box turned by so many degrees, times so much, shifted by so many of its sides across and down.
STARTS = (
    (0, 1, 0, 0), (-25, 1, 0, 0), (25, 1, 0, 0), (-45, 1, 0, 0), (45, 1, 0, 0), (0, 0.85, 0, 0), (0, 1.2, 0, 0),
    (0, 1, -0.12, 0), (0, 1, 0.12, 0), (0, 1, 0, 0.12), (0, 1, 0, -0.12),
)  # fmt: skip
CELL = 8  # of the descriptors that tell the doubt
SURE = 0.3  # a result of less doubt needs no other start

# The landmark that each one becomes in a mirrored picture.
MIRROR = np.array(
    [
        *[*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)],  # jaw, brows, nose
        *[45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40],  # eyes
        *[*range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1)],  # lips
    ]
)


@dataclass
class Frame:
    """How a patch lies in a picture: picture point = corner + x across + y down, for a point x, y of the patch."""

    corner: tuple  # x, y of the patch's corner in the picture
    across: tuple  # the step in the picture from one column of the patch to the next
    down: tuple  # and from one row to the next

    @classmethod
    def round_place(cls, x, y, cosine, sine):
        """Return the frame whose middle is at x, y and whose step across is (cosine, sine)."""
        half = PATCH / 2
        return cls((x - half * (cosine - sine), y - half * (sine + cosine)), (cosine, sine), (-sine, cosine))

    @classmethod
    def round_box(cls, box, angle=0.0):
        """Return the frame of a box (4,), or of the square of its mean side; the angle is in radians, clockwise."""
        x1, y1, x2, y2 = map(float, box)
        scale = (x2 - x1 + y2 - y1) / 2 / FACE
        return cls.round_place((x1 + x2) / 2, (y1 + y2) / 2, math.cos(angle) * scale, math.sin(angle) * scale)

    @classmethod
    def round_landmarks(cls, points):
        """Return the frame of the box of landmarks (68,2), turned until their eyes are level."""
        x, y, across_x, across_y = place_of_landmarks(points).tolist()
        return cls.round_place(x, y, across_x / FACE, across_y / FACE)

    def mirrored(self):
        """Return the frame of the mirror image of the patch."""
        (x, y), (across_x, across_y) = self.corner, self.across
        return Frame((x + PATCH * across_x, y + PATCH * across_y), (-across_x, -across_y), self.down)

    def to_patch(self, points):
        """Carry points (...,2) from the picture to the patch."""
        return (points - self.corner) @ np.linalg.inv([self.across, self.down])

    def sampling(self, pictures):
        """Return how to take the patch from a picture's octaves: which of them, how many times smaller than the picture
        it is, and the matrix for faces.kernels.resize.affine.

        Shapes     pictures: octaves of (H,W)   matrix (2,3)
        """
        (x, y), (across_x, across_y), (down_x, down_y) = self.corner, self.across, self.down
        k = min(max(math.ceil(math.log2(math.hypot(across_x, across_y) / 1.6)), 0), len(pictures) - 1)
        size = 2**k
        # Matrices start at the middle of the first pixel, in the patch and in the octave.
        x, y = x + (across_x + down_x - size) / 2, y + (across_y + down_y - size) / 2
        matrix = np.array([[down_y, across_y, y], [down_x, across_x, x]]) / size  # rows first, as kernels count
        return pictures[k], size, matrix


@dataclass
class Trees:
    """T cascades of M trees over P pixels. The leaves are small integers in a basis of K shapes.

    The arguments of faces.kernels.regression_trees.run_cascades.
    """

    mean: np.ndarray  # (L,2), the mean shape in a patch
    anchor: np.ndarray  # (T,P), the landmark that a pixel moves with
    offset: np.ndarray  # (T,P,2), from that landmark, in the mean shape's frame
    questions: np.ndarray  # (T,M,2^d - 1,3), each a, b, threshold: pixels[a] - pixels[b] > threshold
    leaves: np.ndarray  # (T,M,2^d,K) int8
    basis: np.ndarray  # (T,K,2L), times the leaves' unit

    # How they lie in a file, for minifer.files.npz.
    arrays: ClassVar = {
        "mean": "f 68 2", "anchor": "i T P", "offset": "f T P 2", "questions": "i T M Q 3", "leaves": "i1 T M V K",
        "basis": "f T K 136",
    }  # fmt: skip

    def problem(self):
        """Return what the kernels, which trust their arguments, must not be given; None when all is well."""
        questions, leaves = self.questions.shape[2], self.leaves.shape[2]
        if leaves != questions + 1 or leaves & questions:
            return f"trees of {questions} questions and {leaves} leaves"
        if self.anchor.size and not 0 <= self.anchor.min() <= self.anchor.max() < len(self.mean):
            return "pixels that move with landmarks that are none"
        asked = self.questions[..., :2]
        if asked.size and not 0 <= asked.min() <= asked.max() < self.anchor.shape[1]:
            return "questions about pixels that are none"
        if np.ptp(self.mean, axis=0).min() < 1:
            return "a mean face without a size"
        return None

    def fit(self, pictures, frame):
        """Return the shape (L,2), in the picture, of the face in a frame. They look at few pixels: no patch is cut."""
        picture, size, matrix = frame.sampling(pictures)
        return run_cascades(picture, matrix, PATCH, *vars(self).values()) * size


@dataclass
class Steps:
    """R linear steps from descriptors to shapes, in small integers and a basis of K shapes.

    The arguments of faces.kernels.descriptors.run_steps.
    """

    mean: np.ndarray  # (L,2), the mean shape in a patch
    cell: np.ndarray  # (R,), the descriptors' cell in each step, in pixels
    weight: np.ndarray  # (R,K,D) int8
    basis: np.ndarray  # (R,K,2L), times the weights' units
    bias: np.ndarray  # (R,2L)

    # How they lie in a file: 9 cells of 9 directions round each landmark.
    arrays: ClassVar = {
        "mean": "f 68 2",
        "cell": "i R",
        "weight": "i1 R K 5508",
        "basis": "f R K 136",
        "bias": "f R 136",
    }

    def problem(self):
        """Return what the kernels must not be given; None when all is well."""
        cells = self.cell[(self.cell < 2) | (self.cell > PATCH) | (self.cell % 2 == 1)]
        return f"cells of {cells[0]} pixels" if len(cells) else None

    def fit(self, pictures, frame):
        """Return the shape (L,2), in the picture, of the face in a frame."""
        picture, size, matrix = frame.sampling(pictures)
        patch = affine(picture, matrix, PATCH, PATCH)
        return run_steps(patch, matrix, *vars(self).values(), CLIP) * size


@dataclass
class Doubt:
    """A linear guess, from what landmarks lie on, whether they are far from the truth."""

    weight: np.ndarray  # (D,)
    bias: np.ndarray  # a single number

    # How they lie in a file.
    arrays: ClassVar = {"weight": "f 5508", "bias": "f"}

    def problem(self):
        """Return None: it reads nothing of which the sizes are not checked."""

    def of(self, pictures, points):
        """Return the doubt about landmarks (68,2) in a picture, given as its octaves."""
        return float(describe(pictures, points) @ self.weight + self.bias)


@dataclass
class LandmarkPredictor:
    """A trained predictor. Any number of threads may call one."""

    rough: Steps
    trees: Trees
    steps: Steps
    doubt: Doubt

    def predict(self, image, box) -> np.ndarray:
        """Return the 68 landmarks of the face in a box, as x, y in the picture's pixels.

        The box may be a detector's or another's: it need only hold most of the face, and not much more.

        Shapes     image (H,W) uint8, or (H,W,3)   box (4,) x1 y1 x2 y2   points (68,2) float64
        Raises     DataError when image is no picture or the box is empty
        """
        return self.predict_with_doubt(image, box)[0]

    def predict_with_doubt(self, image, box) -> tuple[np.ndarray, float]:
        """Return what predict returns and the doubt about it: about 0 for a good fit, 1 for one gone astray."""
        box = np.asarray(box, np.float64)
        x1, y1, x2, y2 = box.tolist() if box.shape == (4,) else (0, 0, 0, 0)
        if not (0 < x2 - x1 < math.inf and 0 < y2 - y1 < math.inf):
            raise DataError(f"a box is four numbers x1 < x2, y1 < y2 as [x1, y1, x2, y2], got {box}")
        cut, corner = surroundings(Picture.of(image).grey, x1, y1, x2, y2)
        pictures, box = octaves(cut, PATCH // 2), box - np.tile(corner, 2)
        best, least = None, math.inf
        for start in STARTS:
            points = self.look(pictures, frame_of_start(box, start))
            doubt = self.doubt.of(pictures, points)
            if best is None or doubt < least:
                best, least = points, doubt
            if doubt < SURE:
                break
        return best + corner, least

    def look(self, pictures, frame):
        """Return the landmarks (68,2) found from one start: all three looks.

        Shapes     pictures: octaves of (H,W)
        """
        points = self.rough.fit(pictures, frame)
        points = self.trees.fit(pictures, Frame.round_landmarks(points))
        return self.refine(pictures, points)

    def refine(self, pictures, points):
        """Return better landmarks, from patches cut anew round good ones: the last look.

        Shapes     pictures: octaves of (H,W)   points (68,2)
        """
        frame = Frame.round_landmarks(points)
        by_steps = self.steps.fit(pictures, frame)
        by_trees = self.trees.fit(pictures, frame.mirrored())[MIRROR]
        return (by_steps + by_trees) / 2

    def save(self, path):
        """Write the predictor to an .npz file.

        Raises     MiniferError when the file cannot be written; an earlier one of that name is then untouched
        """
        arrays = {}
        for part in fields(self):
            arrays.update({f"{part.name}.{name}": value for name, value in vars(getattr(self, part.name)).items()})
        write_arrays(path, arrays)

    @classmethod
    def load(cls, path=SHIPPED) -> "LandmarkPredictor":
        """Return the predictor in a file written by save(); without a path, the one that ships.

        Raises     CheckpointError when the file is missing, damaged or holds something else
        """
        with Npz(path, CheckpointError, "not a landmark predictor of this version") as file:
            parts = [part.type(**file.arrays(part.type.arrays, f"{part.name}.", FARTHEST)) for part in fields(cls)]
            if problem := next(filter(None, (part.problem() for part in parts)), None):
                file.refuse(problem)
        return cls(*parts)


def frame_of_start(box, start):
    """Return the frame in which a start looks for the face in a box (4,)."""
    degrees, factor, *shift = start
    half, middle = (box[2:] - box[:2]) / 2, (box[2:] + box[:2]) / 2
    middle = middle + 2 * half * shift
    return Frame.round_box([*(middle - factor * half), *(middle + factor * half)], math.radians(degrees))


def face_patch(pictures, frame):
    """Return the patch of a frame, of whole numbers, for a picture given as its octaves.

    Shapes     pictures: octaves of (H,W)   patch (PATCH,PATCH) float32
    """
    picture, _, matrix = frame.sampling(pictures)
    return np.floor(affine(picture, matrix, PATCH, PATCH) + np.float32(0.5))


def describe(pictures, points):
    """Return the descriptors (D,) of landmarks (68,2) in a picture, given as its octaves, that tell the doubt."""
    frame = Frame.round_landmarks(points)
    return point_descriptors(face_patch(pictures, frame)[None], frame.to_patch(points)[None], CELL, CLIP)[0]


def surroundings(image, x1, y1, x2, y2):
    """Return the part of a picture round a box, and its corner (x, y): a large picture costs no more than it."""
    height, width = image.shape
    x, y, half = (x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, y2 - y1)
    right, bottom = min(max(math.ceil(x + half), 1), width), min(max(math.ceil(y + half), 1), height)
    left, top = min(max(math.floor(x - half), 0), right - 1), min(max(math.floor(y - half), 0), bottom - 1)
    return image[top:bottom, left:right], (left, top)
