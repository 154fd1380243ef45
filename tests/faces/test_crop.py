"""Cropping: the landmarks' region, never stretched, padded with black, turned level when asked."""

import numpy as np
import pytest

from minifer.errors import ShapeError
from minifer.faces.crop import crop_face, fit_square


def points_on(x1, y1, x2, y2):
    points = np.tile([(x1 + x2) / 2, (y1 + y2) / 2], (68, 1))
    points[0], points[1] = (x1, y1), (x2, y2)
    return points


def test_a_region_of_the_crops_own_size_is_copied(rng):
    image = rng.integers(0, 256, (100, 120)).astype(np.uint8)
    crop = crop_face(image, points_on(30, 20, 78, 68), margin=0)
    np.testing.assert_array_equal(crop, image[20:68, 30:78])


def test_a_tall_region_is_padded_left_and_right_not_stretched():
    image = np.full((200, 200), 200, np.uint8)
    crop = crop_face(image, points_on(80, 20, 120, 116), margin=0)
    assert (crop[:, 14:34] == 200).all()
    assert not crop[:, :14].any()
    assert not crop[:, 34:].any()


def test_the_margin_is_a_share_of_the_longer_side():
    image = np.zeros((100, 100), np.uint8)
    image[30:70, 30:70] = 255
    crop = crop_face(image, points_on(30, 30, 70, 70), margin=0.1)  # 48 pixels of the picture
    assert crop[24, 24] == 255
    assert (crop[24] == 255).sum() == 40


def test_what_lies_outside_the_picture_is_black():
    image = np.full((40, 40), 255, np.uint8)
    crop = crop_face(image, points_on(-24, 0, 24, 48), margin=0)
    assert not crop[:, :24].any()
    assert (crop[:40, 24:] == 255).all()
    assert not crop[40:].any()


def test_a_level_crop_has_level_eyes():
    image = np.zeros((200, 200), np.uint8)
    roll = np.deg2rad(30)
    points = np.tile([100.0, 100.0], (68, 1))
    across = 30 * np.array([np.cos(roll), np.sin(roll)])
    for eye, sign in ((slice(36, 42), -1), (slice(42, 48), 1)):
        points[eye] += sign * across
        x, y = points[eye][0].astype(int)
        image[y - 4 : y + 5, x - 4 : x + 5] = 255
    points[8] = 100 + 60 * np.array([-np.sin(roll), np.cos(roll)])
    crop = crop_face(image, points, level=True).astype(float)
    left, right = (part.sum(axis=1) @ np.arange(48) / part.sum() for part in (crop[:, :24], crop[:, 24:]))
    assert abs(left - right) < 1


@pytest.mark.parametrize("shape", [(10, 10), (48, 48), (3, 1000), (1, 1), (500, 300)])
def test_whole_pictures_fit_into_the_square(shape):
    square = fit_square(np.full(shape, 90, np.uint8))
    assert square.shape == (48, 48)
    filled = square == 90
    height, width = max(round(48 * shape[0] / max(shape)), 1), max(round(48 * shape[1] / max(shape)), 1)
    assert filled.any(axis=1).sum() == height
    assert filled.any(axis=0).sum() == width


def test_a_large_region_is_averaged_not_sampled():
    stripes = np.tile(np.array([0, 255], np.uint8), (400, 200))
    crop = crop_face(stripes, points_on(8, 8, 392, 392), margin=0)
    assert np.abs(crop[4:-4, 4:-4].astype(int) - 128).max() < 10


@pytest.mark.parametrize("points", [np.zeros((68, 3)), np.zeros(68), np.full((68, 2), np.nan)])
def test_points_that_are_none(points):
    with pytest.raises(ShapeError, match="68, 2"):
        crop_face(np.zeros((9, 9), np.uint8), points)


def test_points_all_in_one_place_do_not_crash():
    assert crop_face(np.full((9, 9), 7, np.uint8), np.full((68, 2), 4.0)).shape == (48, 48)
