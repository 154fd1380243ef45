"""The HOG kernels: equal to scikit-image, twins agree, one pass gives the scores of all windows."""

import numpy as np
import pytest

from minifer.errors import ShapeError
from minifer.faces.hog import block_features
from minifer.faces.kernels import hog


def skimage_blocks(image, cell):
    from skimage.feature import hog as skimage_hog

    blocks = skimage_hog(image, 9, (cell, cell), (2, 2), "L2-Hys", feature_vector=False)
    return blocks.reshape(*blocks.shape[:2], 36)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize(("height", "width", "cell"), [(8, 8, 4), (13, 9, 4), (17, 30, 3), (12, 12, 6), (40, 25, 5)])
def test_the_features_are_those_of_scikit_image(dtype, height, width, cell, rng):
    image = (rng.random((height, width)) * 255).astype(dtype)
    assert np.abs(block_features(image, cell) - skimage_blocks(image, cell)).max() < 1e-5


@pytest.mark.parametrize(
    "name", ["black", "white", "ramp across", "ramp down", "diagonal", "checkerboard", "dot", "noise in float"]
)
def test_flat_and_regular_pictures_give_the_features_of_scikit_image(name, rng):
    i, j = np.mgrid[:24, :20]
    image = {
        "black": np.zeros((24, 20), np.uint8),
        "white": np.full((24, 20), 255, np.uint8),
        "ramp across": (10 * j).astype(np.uint8),
        "ramp down": (10 * i[::-1]).astype(np.uint8),
        "diagonal": (5 * (i + j)).astype(np.float64),
        "checkerboard": (255 * ((i + j) % 2)).astype(np.uint8),
        "dot": (255 * ((i == 12) & (j == 10))).astype(np.uint8),
        "noise in float": 0.5 + 1e-17 * rng.standard_normal((24, 20)) + np.sin(j / 3.0),
    }[name]
    assert np.abs(block_features(image, 4) - skimage_blocks(image, 4)).max() < 1e-5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_gradient_of_whole_numbers_falls_into_the_bin_of_its_angle(dtype):
    gx = np.arange(-255, 256)
    row = np.stack([np.maximum(0, -gx), 0 * gx, np.maximum(0, gx)], axis=1).astype(dtype).ravel()
    directions = (np.arange(8) + 1) * (np.pi / 9)
    cosine, sine = np.cos(directions).astype(dtype), np.sin(directions).astype(dtype)
    magnitude, orientation = np.empty_like(row), np.empty_like(row)
    for gy in range(-255, 256):
        up, down = np.full_like(row, max(0, -gy)), np.full_like(row, max(0, gy))
        hog._row_votes(up, row, down, cosine, sine, magnitude, orientation)
        np.testing.assert_array_equal(orientation[1::3], np.rad2deg(np.arctan2(gy, gx)) % 180 // 20)
        np.testing.assert_allclose(magnitude[1::3], np.hypot(gx, gy), rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cell", [3, 4])
def test_cells_and_blocks_agree_with_their_numpy_reference(dtype, cell, rng):
    image = rng.integers(0, 256, (19, 26)).astype(dtype)
    cells = hog.hog_cells_numpy(image, cell)
    compiled = hog.hog_cells_numba(image, cell)
    np.testing.assert_allclose(compiled, cells, rtol=1e-5, atol=1e-4)
    for given in (cells, compiled):  # of either order in memory
        np.testing.assert_allclose(
            hog.hog_blocks_numba(given, 1e-5, 0.2), hog.hog_blocks_numpy(cells, 1e-5, 0.2), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("height", "width"), [(3, 2), (1, 1), (7, 7)])
@pytest.mark.parametrize(("rows", "columns"), [(7, 9), (3, 2), (2, 9), (1, 1), (9, 40), (30, 7)])
def test_window_scores_agree_and_are_empty_where_the_template_does_not_fit(rows, columns, height, width, dtype, rng):
    blocks = rng.standard_normal((rows, columns, 36)).astype(dtype)
    weight = rng.standard_normal((height, width, 36)).astype(dtype)
    expected = hog.window_scores_numpy(blocks, weight)
    assert expected.shape == (max(rows - height + 1, 0), max(columns - width + 1, 0))
    for given in (blocks, np.ascontiguousarray(blocks.swapaxes(1, 2)).swapaxes(1, 2)):  # of either order in memory
        np.testing.assert_allclose(hog.window_scores_numba(given, weight), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("least", [-np.inf, 0.3, np.inf])
@pytest.mark.parametrize("shape", [(45, 61), (20, 20), (12, 40)])
def test_passing_windows_agree_with_their_reference(shape, least, rng):
    level, template = rng.integers(0, 256, shape).astype(np.float32), rng.normal(size=(4, 4, 36)).astype(np.float32)
    arguments = (level[1:, 2:], 4, 1e-5, 0.2, template, 0.1, least)
    expected, found = (f(*arguments) for f in (hog.passing_windows.reference, hog.passing_windows.compiled))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)
        assert other.dtype == one.dtype


def test_a_score_is_the_dot_product_of_the_gathered_window(rng):
    blocks = rng.standard_normal((6, 7, 36)).astype(np.float32)
    weight = rng.standard_normal((3, 3, 36)).astype(np.float32)
    rows, columns = np.array([0, 3, 1]), np.array([4, 0, 2])
    features = hog.gather_windows_numba(blocks, rows, columns, 3, 3)
    np.testing.assert_array_equal(features, hog.gather_windows_numpy(blocks, rows, columns, 3, 3))
    np.testing.assert_allclose(
        features @ weight.ravel(), hog.window_scores(blocks, weight)[rows, columns], rtol=1e-4, atol=1e-4
    )


def test_no_windows_gather_to_no_rows():
    none = np.zeros(0, np.int64)
    for gather in (hog.gather_windows_numpy, hog.gather_windows_numba):
        assert gather(np.zeros((5, 5, 36), np.float32), none, none, 2, 2).shape == (0, 144)


def test_features_of_a_window_inside_a_picture_do_not_depend_on_where_it_was_cut(rng):
    image = rng.integers(0, 256, (40, 44)).astype(np.uint8)
    whole = block_features(image, 4)[2:7, 3:8]
    cut = block_features(image[4:36, 8:40], 4)[1:-1, 1:-1]
    np.testing.assert_allclose(whole, cut, atol=1e-6)


@pytest.mark.parametrize("shape", [(7, 40), (40, 7), (1, 1), (16, 16, 3), (0, 16)])
def test_a_picture_without_a_block_is_refused(shape):
    with pytest.raises(ShapeError, match="at least 8 x 8"):
        block_features(np.zeros(shape, np.uint8), 4)


@pytest.mark.parametrize("units", [5, 48])
@pytest.mark.parametrize("count", [1, 4, 7, 100])
def test_hidden_layer_agrees_with_its_reference(count, units, rng):
    blocks = rng.standard_normal((9, 8, 36)).astype(np.float32)
    rows, columns = rng.integers(0, 6, count), rng.integers(0, 6, count)
    hidden = rng.standard_normal((4, 3, 36, units)).astype(np.float32)
    bias = rng.standard_normal(units).astype(np.float32)
    expected = hog.hidden_layer.reference(blocks, rows, columns, hidden, bias)
    got = hog.hidden_layer.compiled(blocks, rows, columns, hidden, bias)
    assert (expected == 0).any() and (expected > 0).any()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
