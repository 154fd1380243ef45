"""Suppression of boxes: twins agree on many random boxes and on none."""

import numpy as np
import pytest

from minifer.faces.kernels import boxes as kernels


@pytest.mark.parametrize("count", [0, 1, 7, 60])
@pytest.mark.parametrize(("overlap", "inside"), [(0.3, 0.6), (0.0, 1.0), (1.0, 1.0)])
def test_suppression_agrees(count, overlap, inside, rng):
    corner, size = rng.uniform(0, 30, (count, 2)), rng.uniform(2, 20, (count, 2))
    boxes = np.concatenate([corner, corner + size], axis=1)
    arguments = (boxes, rng.permutation(count), overlap, inside)
    np.testing.assert_array_equal(kernels.suppress_boxes_numba(*arguments), kernels.suppress_boxes_numpy(*arguments))


def test_touching_boxes_are_both_kept():
    boxes = np.array([[0.0, 0, 10, 10], [10, 0, 20, 10]])
    for suppress in (kernels.suppress_boxes_numpy, kernels.suppress_boxes_numba):
        assert suppress(boxes, np.array([1, 0]), 0.0, 0.0).tolist() == [1, 0]
