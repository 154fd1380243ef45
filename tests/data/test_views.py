"""The views of test-time averaging."""

import numpy as np

from minifer.data.dataset import to_float
from minifer.data.views import views


def test_the_two_views_are_the_picture_and_its_mirror_image(rng):
    images = rng.integers(0, 256, (3, 12, 10), dtype=np.uint8)
    found = list(views(images))
    assert len(found) == 2
    assert all(view.shape == (3, 12, 10, 1) and view.dtype == np.float32 for view in found)
    np.testing.assert_array_equal(found[0], to_float(images))
    np.testing.assert_array_equal(found[1][:, :, ::-1], found[0])
