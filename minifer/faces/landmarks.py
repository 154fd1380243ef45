"""Find 68 landmarks on a face: regression trees move a mean face until it fits, and so do linear steps.

    look 1     a patch round the box -> a few rough steps -> roughly where the eyes are, whatever the box was like
    look 2     a patch cut anew round that and turned upright -> trees
    look 3     a patch cut anew round that -> steps, and its mirror image -> trees
    result     the mean of the two shapes of look 3: their errors have little in common

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

import numpy as np

from minifer.errors import CheckpointError, DataError
from minifer.faces.boxes import box_of_landmarks, roll_of_landmarks
from minifer.faces.images import check_image
from minifer.faces.pyramid import octaves
from minifer.kernels.descriptors import linear_step, patch_gradients, point_descriptors
from minifer.kernels.regression_trees import run_cascades
from minifer.kernels.resize import affine

SHIPPED = Path(__file__).parents[1] / "weights" / "landmarks.npz"
PATCH, FACE = 112, 72  # the side of a patch and of the face's box in it, in pixels
CELLS, CLIP = 3, 0.25  # of the descriptors: 3 x 3 cells

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
    """How a patch lies in a picture: picture point = turn @ (patch point - middle of the patch) + centre."""

    turn: np.ndarray  # (2,2)
    centre: np.ndarray  # (2,)

    def to_picture(self, points):
        """Carry points (...,2) from the patch to the picture."""
        return (points - PATCH / 2) @ self.turn.T + self.centre

    def to_patch(self, points):
        """Carry points (...,2) from the picture to the patch."""
        return (points - self.centre) @ np.linalg.inv(self.turn).T + PATCH / 2


def face_patch(pictures, box, angle=0.0, mirrored=False):
    """Return the patch round a box, its frame, for a picture given as its octaves.

    Shapes     pictures: octaves of (H,W)   box (4,)   angle in radians, clockwise   patch (PATCH,PATCH) uint8
    """
    scale = float(box[2] - box[0]) / FACE
    cosine, sine = math.cos(angle) * scale, math.sin(angle) * scale
    x, y = float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2
    across = -cosine if mirrored else cosine
    lift = -sine if mirrored else sine
    frame = Frame(np.array([[across, -sine], [lift, cosine]]), np.array([x, y]))
    k = min(max(math.ceil(math.log2(scale / 1.6)), 0), len(pictures) - 1)
    half = 0.5 - PATCH / 2  # the middle of the patch's first pixel, from the patch's
    corner = (y + (lift + cosine) * half, x + (across - sine) * half)
    matrix = np.array([[cosine, lift, corner[0]], [-sine, across, corner[1]]]) / 2**k  # rows first, as kernels count
    matrix[:, 2] -= 0.5
    return (affine(pictures[k], matrix, PATCH, PATCH) + np.float32(0.5)).astype(np.uint8), frame


@dataclass
class Trees:
    """T cascades of M trees over P pixels. The leaves are small integers in a basis of K shapes.

    The arguments of kernels.regression_trees.run_cascades.
    """

    mean: np.ndarray  # (L,2), the mean shape in a patch
    anchor: np.ndarray  # (T,P), the landmark that a pixel moves with
    offset: np.ndarray  # (T,P,2), from that landmark, in the mean shape's frame
    a: np.ndarray  # (T,M,2^d - 1), the questions: pixels[a] - pixels[b] > threshold
    b: np.ndarray
    threshold: np.ndarray
    leaves: np.ndarray  # (T,M,2^d,K) int8
    basis: np.ndarray  # (T,K,2L), times the leaves' unit

    def fit(self, patches):
        """Return the shapes (N,L,2) of the faces in patches (N,PATCH,PATCH)."""
        return run_cascades(patches, *(getattr(self, field.name) for field in fields(self)))


@dataclass
class Steps:
    """R linear steps from descriptors to shapes, in small integers and a basis of K shapes."""

    mean: np.ndarray  # (L,2), the mean shape in a patch
    cell: np.ndarray  # (R,), the descriptors' cell in each step, in pixels
    weight: np.ndarray  # (R,D,K) int8
    basis: np.ndarray  # (R,K,2L), times the weights' units
    bias: np.ndarray  # (R,2L)

    def fit(self, patches):
        """Return the shapes (N,L,2) of the faces in patches (N,PATCH,PATCH)."""
        shapes = np.repeat(self.mean[None], len(patches), axis=0)
        gradients = patch_gradients(patches)
        for cell, weight, basis, bias in zip(self.cell.tolist(), self.weight, self.basis, self.bias, strict=True):
            descriptors = point_descriptors(*gradients, shapes, cell, CELLS, CLIP)
            shapes = shapes + (linear_step(descriptors, weight) @ basis + bias).reshape(shapes.shape)
        return shapes


@dataclass
class LandmarkPredictor:
    """A trained predictor."""

    rough: Steps
    trees: Trees
    steps: Steps

    @classmethod
    def train(cls, portraits, **settings):
        """Return a predictor trained on portraits with landmarks: landmark_training.train_landmarks."""
        from minifer.faces.landmark_training import train_landmarks

        return train_landmarks(portraits, **settings)

    def predict(self, image, box):
        """Return the 68 landmarks of the face in a box, as x, y in the picture's pixels.

        The box may be a detector's or another's: it need only hold most of the face, and not much more.

        Shapes     image (H,W) uint8, or (H,W,3)   box (4,) x1 y1 x2 y2   points (68,2) float64
        Raises     DataError when image is no picture or the box is empty
        """
        box = np.asarray(box, np.float64)
        if box.shape != (4,) or not np.isfinite(box).all() or not (box[2] > box[0] and box[3] > box[1]):
            raise DataError(f"a box is four numbers x1 < x2, y1 < y2 as [x1, y1, x2, y2], got {box}")
        cut, corner = surroundings(check_image(image), box)
        pictures = octaves(cut, PATCH // 2)
        patch, frame = face_patch(pictures, square(box - np.tile(corner, 2)))
        points = frame.to_picture(self.rough.fit(patch[None])[0])
        patch, frame = face_patch(pictures, box_of_landmarks(points), roll_of_landmarks(points))
        points = frame.to_picture(self.trees.fit(patch[None])[0])
        return self.refine(pictures, points) + corner

    def refine(self, pictures, points):
        """Return better landmarks, from a patch cut anew round good ones: the last look.

        Shapes     pictures: octaves of (H,W)   points (68,2)
        """
        box, angle = box_of_landmarks(points), roll_of_landmarks(points)
        straight, frame = face_patch(pictures, box, angle)
        mirrored, mirrored_frame = face_patch(pictures, box, angle, mirrored=True)
        by_steps = frame.to_picture(self.steps.fit(straight[None])[0])
        by_trees = mirrored_frame.to_picture(self.trees.fit(mirrored[None])[0])[MIRROR]
        return (by_steps + by_trees) / 2

    def save(self, path):
        """Write the predictor to an .npz file."""
        arrays = {}
        for part in fields(self):
            values = vars(getattr(self, part.name))
            arrays.update({f"{part.name}.{name}": value for name, value in values.items()})
        with open(path, "wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path=SHIPPED):
        """Return the predictor in a file written by save(); without a path, the one that ships.

        Raises     CheckpointError when the file is missing, damaged or holds something else
        """
        kinds = {"rough": Steps, "trees": Trees, "steps": Steps}
        try:
            with np.load(path, allow_pickle=False) as file:
                parts = {
                    part: kind(**{field.name: file[f"{part}.{field.name}"] for field in fields(kind)})
                    for part, kind in kinds.items()
                }
        except (OSError, KeyError, ValueError, EOFError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path}: not a landmark predictor of this version ({error})") from None
        return cls(**parts)


def square(box):
    """Return the square of the same centre and mean side as a box."""
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).mean() / 2
    return np.concatenate([centre - half, centre + half])


def surroundings(image, box):
    """Return the part of a picture round a box, and its corner (x, y): a large picture costs no more than it."""
    half = (box[2:] - box[:2]).max()
    centre = (box[:2] + box[2:]) / 2
    last = np.clip(np.ceil(centre + half), 1, image.shape[::-1]).astype(int)
    first = np.clip(np.floor(centre - half), 0, last - 1).astype(int)
    return image[first[1] : last[1], first[0] : last[0]], first
