"""The kernels of the regression trees: twins agree, and small cases worked by hand."""

import numpy as np
import pytest

from minifer.faces.kernels import regression_trees as kernels
from minifer.faces.kernels.resize import affine_points_numpy


@pytest.fixture
def faces(rng):
    mean = rng.uniform(4, 16, (5, 2))
    return rng.integers(0, 256, (3, 20, 18)).astype(np.uint8), mean + rng.normal(0, 2, (3, 5, 2)), mean


@pytest.fixture
def forest(rng):
    a, b = rng.integers(0, 12, (2, 4, 6, 7))
    questions = np.stack([a, b, rng.integers(-60, 60, (4, 6, 7))], axis=-1).astype(np.int16)
    return questions, rng.integers(-127, 128, (4, 6, 8, 3)).astype(np.int8)


def places(rng):
    return rng.integers(0, 5, (4, 12)).astype(np.int16), rng.normal(0, 3, (4, 12, 2))


def test_pixels_agree_also_outside_the_patch(faces, rng):
    patches, shapes, mean = faces
    anchor, offset = places(rng)
    arguments = (patches, shapes, mean, anchor[0], 6 * offset[0])
    pixels = kernels.shape_pixels_numba(*arguments)
    np.testing.assert_array_equal(pixels, kernels.shape_pixels_numpy(*arguments))
    assert pixels.dtype == np.int16


def test_pixels_turn_and_grow_with_the_shape(rng):
    patch = rng.integers(0, 256, (1, 31, 31)).astype(np.uint8)
    mean = np.array([[14.0, 15.0], [16.0, 15.0], [15.0, 15.0]])
    quarter_turn_twice_as_large = np.array([[[15.0, 13.0], [15.0, 17.0], [15.0, 15.0]]])
    anchor, offset = np.array([2], np.int16), np.array([[3.0, 0.0]])
    pixel = kernels.shape_pixels(patch, quarter_turn_twice_as_large, mean, anchor, offset)
    assert pixel[0, 0] == patch[0, 21, 15]  # 3 to the right became 6 down


def test_best_splits_agree(rng):
    pixels, residual = rng.integers(0, 256, (40, 12)).astype(np.int16), rng.standard_normal((40, 5)).astype(np.float32)
    node = rng.integers(3, 7, 40)
    a, b = rng.integers(0, 12, (2, 4, 9)).astype(np.int16)
    threshold = rng.integers(-80, 80, (4, 9)).astype(np.int16)
    arguments = (pixels, residual, node, 3, 4, a, b, threshold)
    np.testing.assert_array_equal(kernels.best_splits_numba(*arguments), kernels.best_splits_numpy(*arguments))


def test_the_split_that_parts_the_residuals_is_the_best():
    pixels = np.array([[10, 0], [20, 0], [30, 0], [40, 0]], np.int16)
    residual = np.array([[-1.0], [-1.0], [1.0], [1.0]], np.float32)
    ask = (np.zeros((1, 3), np.int16), np.ones((1, 3), np.int16), np.array([[15, 25, 35]], np.int16))
    for split in (kernels.best_splits_numpy, kernels.best_splits_numba):
        assert split(pixels, residual, np.zeros(4, np.int64), 0, 1, *ask).tolist() == [1]


def test_a_node_without_samples_takes_the_first_question():
    pixels, residual = np.zeros((0, 2), np.int16), np.zeros((0, 1), np.float32)
    ask = np.zeros((2, 3), np.int16)
    for split in (kernels.best_splits_numpy, kernels.best_splits_numba):
        assert split(pixels, residual, np.zeros(0, np.int64), 1, 2, ask, ask, ask).tolist() == [0, 0]


def test_walking_and_summing_agree(forest, rng):
    questions, leaves = (part[0] for part in forest)
    pixels = rng.integers(0, 256, (9, 12)).astype(np.int16)
    leaf = kernels.walk_trees_numba(pixels, questions)
    np.testing.assert_array_equal(leaf, kernels.walk_trees_numpy(pixels, questions))
    np.testing.assert_array_equal(kernels.sum_leaves_numba(leaf, leaves), kernels.sum_leaves_numpy(leaf, leaves))


def test_a_tree_walked_by_hand():
    questions = np.array([[(0, 1, 0), (0, 2, 0), (1, 2, 0)]], np.int16)
    pixels = np.array([[5, 9, 1], [9, 5, 1], [9, 5, 7]], np.int16)
    # first: 5 - 9 > 0 no, then 5 - 1 > 0 yes: leaf 1; second: yes, then 5 - 1 > 0 yes: leaf 3; third: yes, no: leaf 2
    for walk in (kernels.walk_trees_numpy, kernels.walk_trees_numba):
        assert walk(pixels, questions).ravel().tolist() == [1, 3, 2]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("corner", [2.0, -15.0])
def test_cascades_agree_also_over_the_edge_of_the_picture(forest, rng, dtype, corner):
    picture = rng.integers(0, 256, (40, 37)).astype(dtype)
    matrix, mean = np.array([[1.3, 0.2, corner], [-0.2, 1.3, 5.0]]), rng.uniform(4, 16, (5, 2))
    basis = rng.normal(0, 0.01, (4, 3, 10)).astype(np.float32)
    arguments = (picture, matrix, 20, mean, *places(rng), *forest, basis)
    found = kernels.run_cascades_numba(*arguments)
    np.testing.assert_allclose(found, kernels.run_cascades_numpy(*arguments), rtol=1e-9)
    assert np.abs(found - affine_points_numpy(mean, matrix)).max() > 0.1
