"""Frames: where the standard face's square lies in a picture."""

from dataclasses import replace

import numpy as np
import pytest

from minifer.data.augment import Augmentation, augment_batch
from minifer.data.dataset import Dataset, face_side, picture_side, to_float
from minifer.faces import registration
from minifer.faces.registration import SIDE, STANDARD, frame_of_crop, frame_of_landmarks, read_face, registered

SQUARE = 40  # pixels of the 48 of a picture such as FER2013's
MIDDLE = np.array([[1.0, 0, 4], [0, 1, 4]])  # the frame of a face that stands where the standard one does
NOTHING = Augmentation(flip=False, shift=0, rotation=0, zoom=0, brightness=0, contrast=0)


def face(angle=0.0, scale=1.0, shift=(0.0, 0.0)):
    """Return landmarks (68,2) of the standard face turned clockwise, enlarged about the origin, then shifted."""
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points = np.concatenate([np.full((17, 2), 7.0), STANDARD])  # the jaw does not count
    return points @ turn + shift


class Finds:
    """A landmark predictor that always gives the same answer, and counts how often it was asked."""

    def __init__(self, points):
        self.points, self.asked = points, 0

    def predict(self, image, box):
        self.asked += 1
        return self.points


def test_the_standard_face_is_symmetric_and_its_frame_the_picture_without_its_rim():
    mirrored = {(round(SIDE - x, 2), y) for x, y in STANDARD.tolist()}
    assert mirrored == {tuple(point) for point in STANDARD.tolist()}
    np.testing.assert_allclose(frame_of_landmarks(face(), SQUARE), MIDDLE, atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.2])
@pytest.mark.parametrize("side", [40, 96])
def test_a_frame_carries_the_standard_face_onto_the_face(angle, side):
    points = face(angle, 2.5, (30, -11))
    frame = frame_of_landmarks(points, side)
    pixels = (STANDARD[:, ::-1] - 4) * side / SQUARE - 0.5  # (row, column); the first pixel is at (1/2, 1/2)
    places = pixels @ frame[:, :2].T + frame[:, 2]
    np.testing.assert_allclose(places[:, ::-1] + 0.5, points[17:], atol=1e-9)


def test_a_face_of_another_shape_gets_the_similarity_of_least_squares(rng):
    points = face(0.3, 1.2, (5, 9))
    points[17:] += rng.normal(0, 0.8, (51, 2))
    pixels = np.column_stack([STANDARD[:, ::-1] - 4.5, np.ones(51)])

    def error(frame):
        return np.sum((pixels @ frame.T - (points[17:, ::-1] - 0.5)) ** 2)

    frame = frame_of_landmarks(points, SQUARE)
    turn = np.array([[0.0, 1, 0], [-1, 0, 0]])
    for change in (np.eye(2, 3), turn, [[0, 0, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 1]]):
        for step in (1e-4, -1e-4):
            assert error(frame + step * np.asarray(change)) > error(frame)


@pytest.mark.parametrize(("scale", "fits"), [(0.5, False), (0.65, True), (1.6, True), (1.8, False)])
def test_a_fit_of_an_implausible_size_is_left_alone(scale, fits):
    predictor = Finds(face(0.2, scale))
    frame = frame_of_crop(np.zeros((48, 48), np.uint8), predictor)
    assert predictor.asked == 2
    np.testing.assert_allclose(frame, frame_of_landmarks(predictor.points, SQUARE) if fits else MIDDLE)


def test_a_turned_face_is_shown_upright(rng):
    """A smooth picture, and the same turned and enlarged by its formula, read along the frame of the turned face."""
    angle, scale, shift = 0.35, 1.1, np.array([8.0, -3.0])

    def picture(x, y):
        return 127.5 + 60 * np.sin(x / 5) + 50 * np.cos(y / 6)

    y, x = np.mgrid[:48, :48] + 0.5
    places = np.stack([x, y], axis=-1) - shift
    back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / scale
    u, v = np.moveaxis(places @ back.T, -1, 0)
    turned = np.rint(picture(u, v)).astype(np.uint8)
    frame = frame_of_landmarks(face(angle, scale, shift), SQUARE)
    seen = (to_float(turned[None], frame[None])[0, :, :, 0] + 1) * 127.5
    i, j = np.mgrid[:SQUARE, :SQUARE]
    row, column = frame[:, 0, None, None] * i + frame[:, 1, None, None] * j + frame[:, 2, None, None]
    inside = (1 <= row) & (row <= 46) & (1 <= column) & (column <= 46)
    assert inside.sum() > 1000
    assert np.abs(seen - picture(x, y)[4:44, 4:44])[inside].max() < 2


@pytest.mark.parametrize("scale", [0.7, 1.5, 6.0, 13.0])
def test_a_face_of_any_size_is_read_alike(scale):
    """A smooth picture at several sizes, its face at the border of it."""
    shift = np.array([-9.0 * scale, -4.0 * scale])
    side = int(60 * scale)
    y, x = (np.mgrid[:side, :side] + 0.5 - shift[::-1, None, None]) / scale
    image = np.rint(127.5 + 60 * np.sin(x / 5) + 50 * np.cos(y / 6)).astype(np.uint8)
    seen = (read_face(image, face(0.0, scale, shift), SQUARE) + 1) * 127.5
    y, x = np.mgrid[4:44, 4:44] + 0.5
    expected = 127.5 + 60 * np.sin(x / 5) + 50 * np.cos(y / 6)
    assert seen.shape == (SQUARE, SQUARE, 1)
    assert np.abs(seen[2:, 7:, 0] - expected[2:, 7:]).max() < 4
    np.testing.assert_array_equal(seen[16, :4, 0], seen[16, 0, 0])  # beyond the picture its border is repeated


@pytest.mark.parametrize("side", [1, 2, 5, 40, 48, 97])
def test_a_square_is_five_sixths_of_the_smallest_picture_that_has_it(side):
    assert face_side(picture_side(side)) == side > face_side(picture_side(side) - 1) - (side == 1)


def test_augmentation_is_composed_with_the_frame(rng):
    images = rng.integers(0, 256, (4, 12, 12), dtype=np.uint8)
    frames = np.eye(2, 3) + rng.normal(0, 0.1, (4, 2, 3))
    plain = to_float(images, frames)
    np.testing.assert_array_equal(augment_batch(images, np.arange(4), 0, 0, NOTHING, frames), plain)
    shifted = augment_batch(images, np.arange(4), 0, 0, replace(NOTHING, shift=0.25, whole=True), frames)
    for before, after in zip(plain, shifted, strict=True):
        found = [
            (i, j)
            for i in range(-3, 4)
            for j in range(-3, 4)
            if np.allclose(np.roll(before, (i, j), (0, 1))[3:-3, 3:-3], after[3:-3, 3:-3], atol=1e-5)
        ]
        assert len(found) == 1


def test_frames_are_found_once_and_kept(monkeypatch, rng):
    images = rng.integers(0, 256, (5, 48, 48), dtype=np.uint8)
    dataset = Dataset(images, np.zeros(5, np.int64), np.array(list("abcde")))
    predictor = Finds(face(0.1))
    monkeypatch.setattr(registration.LandmarkPredictor, "load", lambda: predictor)
    found = registered(dataset)
    np.testing.assert_allclose(found.frames, np.tile(frame_of_landmarks(predictor.points, SQUARE), (5, 1, 1)))
    assert found.take([2]).frames.shape == (1, 2, 3) and predictor.asked == 10
    np.testing.assert_array_equal(registered(dataset).frames, found.frames)  # from the cache
    assert registered(found) is found and predictor.asked == 10
    registered(replace(dataset, images=images[::-1]))  # other pictures have other frames
    assert predictor.asked == 20
