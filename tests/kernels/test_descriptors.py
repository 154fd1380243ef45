"""The descriptors round a shape's points: twins agree, what lies outside counts for nothing, contrast does not
matter."""

import numpy as np
import pytest

from minifer.kernels import descriptors as kernels


@pytest.fixture
def patches(rng):
    return rng.integers(0, 256, (3, 22, 19)).astype(np.uint8)


def test_gradients_agree(patches):
    magnitude, orientation = kernels.patch_gradients_numba(patches)
    expected_magnitude, expected_orientation = kernels.patch_gradients_numpy(patches)
    np.testing.assert_allclose(magnitude, expected_magnitude, rtol=1e-6)
    np.testing.assert_array_equal(orientation, expected_orientation)


@pytest.mark.parametrize("cell", [2, 4, 6])
def test_descriptors_agree_inside_and_outside_the_patch(patches, cell, rng):
    gradients = kernels.patch_gradients(patches)
    shapes = rng.uniform(-15, 35, (3, 7, 2))
    arguments = (*gradients, shapes, cell, 3, 0.25)
    expected = kernels.point_descriptors_numpy(*arguments)
    np.testing.assert_allclose(kernels.point_descriptors_numba(*arguments), expected, atol=1e-6)
    assert expected.shape == (3, 7 * 81)


def test_a_point_far_outside_has_an_empty_descriptor(patches):
    gradients = kernels.patch_gradients(patches)
    for describe in (kernels.point_descriptors_numpy, kernels.point_descriptors_numba):
        assert not describe(*gradients, np.full((3, 1, 2), 500.0), 4, 3, 0.25).any()


def test_half_the_contrast_gives_the_same_descriptor(patches, rng):
    shapes = rng.uniform(5, 15, (3, 4, 2))
    even = patches // 2 * 2
    found = [
        kernels.point_descriptors(*kernels.patch_gradients(picture), shapes, 4, 3, 0.25)
        for picture in (even, even // 2)
    ]
    np.testing.assert_allclose(*found, atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_linear_steps_agree(count, rng):
    rows = rng.standard_normal((count, 30)).astype(np.float32)
    weight = rng.integers(-127, 128, (30, 8)).astype(np.int8)
    np.testing.assert_allclose(
        kernels.linear_step_numba(rows, weight), kernels.linear_step_numpy(rows, weight), rtol=1e-4, atol=1e-3
    )
