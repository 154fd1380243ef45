"""Is Attention right?   pytest test_attention.py"""

from attention import Attention

from minifer.testing import assert_gradients


def test_gradients():
    assert_gradients(Attention(), *[(2, 5, 3)] * 3)


def test_gradients_of_one_token():
    assert_gradients(Attention(), *[(2, 1, 4)] * 3)
