"""The resizing kernels: twins agree, and what can be said by hand holds."""

import numpy as np
import pytest

from minifer.faces.kernels import resize


@pytest.fixture(params=[np.uint8, np.float32], ids=["uint8", "float32"])
def draw(request, rng):
    return lambda *shape: (255 * rng.random(shape)).astype(request.param)


@pytest.fixture
def picture(draw):
    return draw(11, 14)


def test_halving_is_the_mean_of_four(picture):
    np.testing.assert_allclose(resize.halve(picture)[1, 2], picture[2:4, 4:6].mean(dtype=np.float32), rtol=1e-6)


@pytest.mark.parametrize("shape", [(11, 14), (2, 2), (3, 5), (1, 4)])
def test_halve_agrees_with_its_reference(shape, draw):
    x = draw(*shape)
    np.testing.assert_allclose(resize.halve_numba(x), resize.halve_numpy(x), rtol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(11, 14), (22, 9), (1, 1), (5, 40)])
def test_bilinear_agrees_with_its_reference(picture, height, width):
    expected = resize.bilinear_numpy(picture, height, width)
    np.testing.assert_allclose(resize.bilinear_numba(picture, height, width), expected, rtol=1e-5)


def test_bilinear_to_the_same_size_changes_nothing(picture):
    np.testing.assert_array_equal(resize.bilinear(picture, 11, 14), picture)


def test_affine_agrees_with_its_reference_also_over_the_edge(picture):
    matrix = np.array([[0.8, -0.3, -2.0], [0.3, 0.8, 4.5]])
    expected = resize.affine_numpy(picture, matrix, 20, 17)
    np.testing.assert_allclose(resize.affine_numba(picture, matrix, 20, 17), expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (2, 2)])
def test_affine_of_a_tiny_picture_agrees_with_its_reference(shape, draw):
    picture, matrix = draw(*shape), np.array([[2.0, -0.3, -3.0], [0.3, 2.0, -2.5]])
    expected = resize.affine_numpy(picture, matrix, 7, 8)
    np.testing.assert_allclose(resize.affine_numba(picture, matrix, 7, 8), expected, rtol=1e-5)
    assert expected[0, 0] == picture[0, 0] and expected[-1, -1] == picture[-1, -1]  # both lie beyond the edges


def test_points_of_a_patch_lie_where_its_pixels_come_from():
    picture = np.zeros((30, 30), np.float32)
    picture[20, 12] = 1
    matrix = np.array([[0.0, 1.0, 14.0], [-1.0, 0.0, 17.0]])  # a quarter turn
    (i,), (j,) = np.nonzero(resize.affine(picture, matrix, 10, 11))
    np.testing.assert_allclose(resize.affine_points_numpy(np.array([[j + 0.5, i + 0.5]]), matrix), [[12.5, 20.5]])


def test_affine_can_mirror(picture):
    mirror = np.array([[1.0, 0, 0], [0, -1.0, 13.0]])
    np.testing.assert_allclose(resize.affine(picture, mirror, 11, 14), picture[:, ::-1], rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (6, 2)], ids=str)
@pytest.mark.parametrize("border", [0, 1, 8])
def test_a_border_repeats_the_edge(shape, border, rng):
    picture = (255 * rng.random(shape)).astype(np.float32)
    picture.flat[0] = 2.5  # to the even number, as NumPy rounds
    expected = resize.bordered.reference(picture, border)
    np.testing.assert_array_equal(resize.bordered.compiled(picture, border), expected)
    assert expected[border, border] == 2
