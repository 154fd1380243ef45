"""The pictures a detector is trained and calibrated on: poor copies of portraits, and faces put into scenes."""

import numpy as np

from minifer.faces.boxes import iou
from minifer.faces.pyramid import octaves, resized

ALIGNED_BOX = (1.9, 1.4, 33.9, 33.4)  # of a face in the 36 x 36 pictures of the Caltech set


def worse(picture, rng):
    """Return a picture as a poor camera or scan might give it: perhaps blurred, of lower contrast, with noise.

    Shapes     picture (H,W) float32   returned: the same, whole numbers from 0 to 255
    """
    from scipy.ndimage import gaussian_filter

    if rng.random() < 0.3:
        picture = gaussian_filter(picture, rng.uniform(0.3, 1.0))
    picture = 128 + (picture - 128) * rng.uniform(0.4, 1)
    if rng.random() < 0.5:
        picture = picture + rng.normal(0, rng.uniform(0, 12), picture.shape)
    return np.rint(np.clip(picture, 0, 255)).astype(np.float32)


def tight_cut(image, box, rng):
    """Return a picture cut off up to a fifth inside the face's box on each side, and the box in it.

    Shapes     image (H,W)   box (4,)
    """
    size = box[2] - box[0]
    inset = rng.uniform(-0.05, 0.2, 4) * size * np.array([1, 1, -1, -1])
    x1, y1, x2, y2 = np.clip(np.rint(box + inset), 0, np.tile(image.shape[::-1], 2)).astype(int)
    return image[y1:y2, x1:x2], box - np.array([x1, y1, x1, y1])


def shrunk_portrait(image, box, rng):
    """Return a portrait cut to the face's surroundings, made small and worse, and the face's box in it."""
    size, centre = box[2] - box[0], (box[:2] + box[2:]) / 2
    first = np.maximum(centre - 1.6 * size, 0).astype(int)
    last = (centre + 1.6 * size).astype(int)
    cut = image[first[1] : last[1], first[0] : last[0]]
    scale = min(np.exp(rng.uniform(np.log(24.5), np.log(90))) / size, 1)
    height, width = (max(round(side * scale), 1) for side in cut.shape)
    small = worse(resized(octaves(cut, 1), height, width), rng)
    return small.astype(np.uint8), (box - np.tile(first, 2)) * np.tile([width / cut.shape[1], height / cut.shape[0]], 2)


def held_out(faces, scenes, portraits, rng):
    """Return pictures nothing was trained on, and the boxes of the faces in each: portraits, and faces in scenes."""
    images, truths = [], []
    for portrait in portraits[::5]:
        small, box = shrunk_portrait(*portrait, rng)
        images.append(small)
        truths.append(box[None])
    for scene in scenes[::4]:
        image, boxes = with_faces(scene, faces[::8], rng)
        images.append(worse(image, rng).astype(np.uint8))
        truths.append(boxes)
    return images, truths


def with_faces(scene, faces, rng):
    """Return a scene with faces put into it at random, their edges blended, and their boxes."""
    scene, boxes = scene.astype(np.float32), np.zeros((0, 4))
    for _ in range(max(scene.size // 60000, 1)):
        side = round(np.exp(rng.uniform(np.log(28), np.log(90))))
        if side + 1 >= min(scene.shape):
            continue
        y, x = rng.integers(scene.shape[0] - side), rng.integers(scene.shape[1] - side)
        box = np.array(ALIGNED_BOX) * side / 36 + np.array([x, y, x, y])
        if iou(box[None], boxes).any():
            continue
        face = resized(octaves(faces[rng.integers(len(faces))], 18), side, side)
        across = (np.arange(side) + 0.5) / side * 2 - 1
        share = np.clip((1.05 - np.hypot(across[:, None], 1.12 * across)) / 0.2, 0, 1).astype(np.float32)
        part = scene[y : y + side, x : x + side]
        part += share * (face - part)
        boxes = np.concatenate([boxes, box[None]])
    return scene, boxes
