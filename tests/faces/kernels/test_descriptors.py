"""The descriptors round a shape's points: twins agree, what lies outside counts for nothing, contrast does not
matter."""

import numpy as np
import pytest

from minifer.faces.kernels import descriptors as kernels
from minifer.faces.kernels.resize import affine_points_numpy


@pytest.fixture
def patches(rng):
    return rng.integers(0, 256, (3, 22, 19)).astype(np.uint8)


@pytest.mark.parametrize("cell", [2, 4, 6])
def test_descriptors_agree_inside_and_outside_the_patch(patches, cell, rng):
    arguments = (patches, rng.uniform(-15, 35, (3, 7, 2)), cell, 0.25)
    expected = kernels.point_descriptors_numpy(*arguments)
    np.testing.assert_allclose(kernels.point_descriptors_numba(*arguments), expected, atol=1e-6)
    assert expected.shape == (3, 7 * 81)


def test_the_descriptor_of_an_edge_by_hand():
    patch = np.zeros((1, 20, 20), np.uint8)
    patch[:, :, 10:] = 100  # gradients point right, orientation 0, in columns 9 and 10: the middle cells of 4 pixels
    for describe in (kernels.point_descriptors_numpy, kernels.point_descriptors_numba):
        d = describe(patch, np.array([[[10.0, 10.0]]]), 4, 1.0).reshape(3, 3, 9)
        np.testing.assert_allclose(d[:, 1, 0], np.full(3, 3**-0.5), atol=1e-6)
        assert np.count_nonzero(d) == 3


@pytest.mark.parametrize("place", [-500.0, 500.0])
def test_a_point_far_outside_has_an_empty_descriptor(patches, place):
    for describe in (kernels.point_descriptors_numpy, kernels.point_descriptors_numba):
        assert not describe(patches, np.full((3, 1, 2), place), 4, 0.25).any()


def test_half_the_contrast_gives_the_same_descriptor(patches, rng):
    shapes = rng.uniform(5, 15, (3, 4, 2))
    even = patches // 2 * 2
    found = [kernels.point_descriptors(picture, shapes, 4, 0.25) for picture in (even, even // 2)]
    np.testing.assert_allclose(*found, atol=1e-3)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("directions", "depth"), [(1, 30), (4, 30), (5, 300)])
def test_linear_steps_agree(count, directions, depth, rng):
    rows = rng.standard_normal((count, depth)).astype(np.float32)
    weight = rng.integers(-127, 128, (directions, depth)).astype(np.int8)
    np.testing.assert_allclose(
        kernels.linear_step_numba(rows, weight), kernels.linear_step_numpy(rows, weight), rtol=1e-4, atol=1e-3
    )


def test_runs_of_steps_agree(patches, rng):
    mean, cell, matrix = rng.uniform(5, 15, (4, 2)), np.array([6, 4]), np.array([[1.0, 0.2, 3.0], [-0.2, 1.0, -4.0]])
    weight = rng.integers(-127, 128, (2, 5, 4 * 81)).astype(np.int8)
    basis, bias = rng.normal(0, 0.002, (2, 5, 8)).astype(np.float32), rng.normal(0, 0.1, (2, 8)).astype(np.float32)
    arguments = (patches[0] + np.float32(0.3), matrix, mean, cell, weight, basis, bias, 0.25)
    found = kernels.run_steps_numba(*arguments)
    np.testing.assert_allclose(found, kernels.run_steps_numpy(*arguments), rtol=1e-4)
    assert np.abs(found - affine_points_numpy(mean, matrix)).max() > 0.1
