"""Is BatchNorm right?   pytest test_batchnorm.py"""

from batchnorm import BatchNorm

from minifer.testing import assert_gradients


def test_gradients():
    assert_gradients(BatchNorm(3), (6, 3))


def test_gradients_of_another_size():
    assert_gradients(BatchNorm(2), (9, 2))
