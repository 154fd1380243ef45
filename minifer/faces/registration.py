"""Registration: a frame for each picture, so that a network sees every face in one place, at one size, upright.

    z, w       the 51 inner landmarks (all but the jaw) of the standard face and of this one, as x + iy, less their mean
    a          = sum conj(z) w / sum |z|^2         the similarity w ~ a z of least squares: |a| scales, arg a turns
    frame      (2,3): the row and column in the picture of each pixel (i, j) of the standard face's square

A network that has seen registered faces need not learn where and how large they are. Nothing is cut out or resampled
here: a frame is a plan, and data.dataset.to_float and the augmentation sample the picture along it once.

Source     the standard face is the median of the landmarks over FER2013's training pictures, made symmetric; Umeyama,
           "Least-squares estimation of transformation parameters between two point patterns", 1991
"""

import hashlib
import math
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import numpy as np

from minifer.data.dataset import face_side, to_float
from minifer.errors import ConfigError, DataError
from minifer.faces.boxes import box_of_landmarks
from minifer.faces.kernels.resize import halve
from minifer.faces.landmarks import SHIPPED, LandmarkPredictor
from minifer.files.cache import cache_folder, keep_arrays
from minifer.files.npz import Npz

SIDE = 48  # of the standard face's picture, in pixels; its square is the middle of that, see data.dataset.face_side
BOX = np.array([-5.0, -4.5, 53.0, 53.5])  # of the face in a picture of SIDE pixels such as FER2013's, for the first fit
SCALES = (0.6, 1.7)  # a face of another size than this many times the standard one's is a fit gone wrong

# Brows, nose, eyes and lips (landmarks 17 to 67, iBUG order) of the standard face, x and y, in pixels of its picture.
STANDARD = np.array([
    (7.86, 15.41), (10.11, 13.04), (13.6, 12.23), (17.36, 12.68), (20.97, 14.09),
    (27.03, 14.09), (30.64, 12.68), (34.4, 12.23), (37.89, 13.04), (40.14, 15.41),
    (24.0, 18.31), (24.0, 21.64), (24.0, 24.82), (24.0, 28.17),
    (19.83, 30.5), (21.86, 31.2), (24.0, 31.79), (26.14, 31.2), (28.17, 30.5),
    (11.78, 18.76), (13.89, 17.47), (16.52, 17.52), (18.87, 19.36), (16.42, 19.71), (13.76, 19.65),
    (29.13, 19.36), (31.48, 17.52), (34.11, 17.47), (36.22, 18.76), (34.24, 19.65), (31.58, 19.71),
    (16.4, 36.69), (19.08, 35.47), (22.0, 34.88), (24.0, 35.4), (26.0, 34.88), (28.92, 35.47), (31.6, 36.69),
    (28.99, 39.26), (26.17, 40.7), (24.0, 40.94), (21.83, 40.7), (19.01, 39.26),
    (17.53, 36.83), (21.96, 36.45), (24.0, 36.69), (26.04, 36.45), (30.47, 36.83),
    (26.07, 38.07), (24.0, 38.32), (21.93, 38.07),
])  # fmt: skip


def frame_of_landmarks(points, side):
    """Return the frame of a face: where in the picture the pixels of a square of `side` pixels come from.

    Shapes     points (68,2) as x, y   frame (2,3) float64: row and column in the picture = frame @ (i, j, 1)
    """
    square = face_side(SIDE)
    standard, inner = (STANDARD - (SIDE - square) / 2) * (side / square), np.asarray(points, np.float64)[17:]
    z, w = ((p - p.mean(axis=0)) @ (1, 1j) for p in (standard, inner))
    a = np.sum(z.conj() * w) / np.sum(np.abs(z) ** 2)
    turn = np.array([[a.real, a.imag], [-a.imag, a.real]])  # of steps (down, across), rows first as kernels count
    # The middle of the first pixel lies at (1/2, 1/2), in the square and in the picture.
    corner = inner.mean(axis=0)[::-1] + turn @ (0.5 - standard.mean(axis=0)[::-1]) - 0.5
    return np.column_stack([turn, corner])


def frame_of_crop(image, predictor):
    """Return the frame (2,3) of the face that fills a picture such as FER2013's; of the picture's middle if none fits.

    The landmarks are found from the usual place of a face, and again from where that finds it.

    Shapes     image (H,H) uint8
    """
    side, square = len(image), face_side(len(image))
    points = predictor.predict(image, BOX * (side / SIDE))
    frame = frame_of_landmarks(predictor.predict(image, box_of_landmarks(points)), square)
    low, high = SCALES
    if low <= np.hypot(*frame[0, :2]) <= high:
        return frame
    return np.column_stack([np.eye(2), np.full(2, (side - square) / 2)])


def read_face(image, points, side):
    """Return what a registered network reads of one of the faces in a picture: its frame's pixels.

    A large face is halved first until neighbouring pixels of the square lie at most 1.6 apart: sampling skips what lies
    between more distant ones.

    Shapes     image (H,W) uint8   points (68,2)   returned: (side,side,1) float32 in [-1, 1]
    """
    frame = frame_of_landmarks(points, side)
    halvings = max(math.ceil(math.log2(np.hypot(*frame[0, :2]) / 1.6)), 0)
    corners = frame @ [[0, 0, side, side], [0, side, 0, side], [1, 1, 1, 1]]
    rim = 2 ** (halvings + 2)
    height, width = image.shape
    top, left = np.clip(corners.min(axis=1) - rim, 0, (height - 1, width - 1)).astype(int)
    bottom, right = np.clip(corners.max(axis=1) + rim, (top + 1, left + 1), (height, width)).astype(int)
    picture = image[top:bottom, left:right].astype(np.float32)
    frame[:, 2] -= top, left
    for _ in range(halvings):
        if min(picture.shape) < 2:
            break
        picture = halve(picture)
        frame /= 2
        frame[:, 2] -= 0.25  # pixel k of the half lies between 2k and 2k + 1
    return to_float(np.rint(picture).astype(np.uint8)[None], frame[None], side)[0]


def registered(dataset):
    """Return a Dataset with the frame of each of its pictures, whatever the number of threads.

    They take some milliseconds a picture and are kept in the cache folder, under a hash of pictures and predictor.

    Shapes     dataset.images (N,H,H) uint8   frames (N,2,3)
    """
    if dataset.frames is not None:
        return dataset
    if dataset.images.ndim != 3:
        raise ConfigError("register needs grey pictures: leave out --register or --colour")
    # Whatever the frames depend on.
    key = hashlib.sha256(SHIPPED.read_bytes() + str((dataset.images.shape, face_side(SIDE), BOX, SCALES)).encode())
    key.update(np.ascontiguousarray(dataset.images))
    path = cache_folder() / f"frames-{key.hexdigest()[:32]}.npz"
    with suppress(DataError), Npz(path) as file:
        return replace(dataset, frames=file.arrays({"frames": "f N 2 3"}, largest=1e6)["frames"])
    predictor = LandmarkPredictor.load()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        frames = list(pool.map(lambda image: frame_of_crop(image, predictor), dataset.images))
    frames = np.array(frames).reshape(-1, 2, 3)
    keep_arrays(path, {"frames": frames})
    return replace(dataset, frames=frames)
