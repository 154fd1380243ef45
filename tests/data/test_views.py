"""The views of test-time averaging."""

import numpy as np

from minifer.data.dataset import to_float
from minifer.data.views import ZOOM, views


def test_the_first_two_are_the_picture_and_its_mirror_image(rng):
    images = rng.integers(0, 256, (3, 12, 10), dtype=np.uint8)
    found = list(views(images))
    assert len(found) == 6
    assert all(view.shape == (3, 12, 10, 1) and view.dtype == np.float32 for view in found)
    np.testing.assert_allclose(found[0], to_float(images), atol=1e-5)
    np.testing.assert_allclose(found[1], to_float(images[:, :, ::-1]), atol=1e-5)


def test_the_others_are_smaller_and_larger(rng):
    i, j = np.mgrid[:48, :48] - 23.5
    disc = np.where(np.hypot(i, j) < 15, 255, 0).astype(np.uint8)[None]
    area = [float((view > 0).sum()) for view in views(disc)]
    assert area[0] == area[1]
    for smaller in area[2:4]:
        assert abs(smaller / area[0] - (1 - ZOOM) ** 2) < 0.03
    for larger in area[4:]:
        assert abs(larger / area[0] - (1 + ZOOM) ** 2) < 0.03
