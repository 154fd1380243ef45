"""The pyramid: sizes, octaves, and levels taken from the right octave."""

import numpy as np
import pytest

from minifer.faces.pyramid import level_sizes, octaves, resized


def test_octaves_halve_down_to_the_smallest(rng):
    pictures = octaves(rng.integers(0, 256, (65, 40)).astype(np.uint8), 10)
    assert [picture.shape for picture in pictures] == [(65, 40), (32, 20), (16, 10)]
    assert {picture.dtype for picture in pictures} == {np.dtype(np.float32)}


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 3)])
def test_a_tiny_picture_is_its_only_octave(shape):
    assert len(octaves(np.zeros(shape, np.uint8), 2)) == 1


def test_levels_shrink_until_the_window_fills_them():
    sizes = level_sizes((100, 60), 32, 2, 1.25)
    assert sizes[0] == (200, 120)
    assert min(sizes[-1]) >= 32
    assert min(sizes[-1]) / 1.25 < 33
    assert level_sizes((10, 10), 32, 1.3, 1.2) == []


def test_a_level_of_an_octaves_size_is_that_octave(rng):
    pictures = octaves(rng.integers(0, 256, (64, 48)).astype(np.uint8), 8)
    np.testing.assert_array_equal(resized(pictures, 32, 24), pictures[1])


def test_levels_keep_the_mean_grey(rng):
    picture = rng.integers(0, 256, (90, 70)).astype(np.uint8)
    for size in ((180, 140), (40, 31), (13, 10)):
        assert resized(octaves(picture, 5), *size).mean() == pytest.approx(picture.mean(), abs=6)
