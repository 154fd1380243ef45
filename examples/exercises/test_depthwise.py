"""Is Depthwise right?   pytest test_depthwise.py"""

import numpy as np
from depthwise import Depthwise

from minifer.kernels.depthwise import depthwise_forward
from minifer.testing import assert_gradients, assert_same_as

SHAPE = (2, 5, 4, 3)


def test_forward():
    layer = Depthwise(3, rng=np.random.default_rng(0)).astype(np.float64)
    weight = layer.weight.value

    def convolve(x, weight=weight, padding=(1, 1, 1, 1)):
        return depthwise_forward.reference(x, weight, 1, padding)

    mistakes = {
        "the filter is rotated by 180 degrees": lambda x: convolve(x, weight[::-1, ::-1]),
        "the rows and columns of the filter are swapped": lambda x: convolve(x, weight.swapaxes(0, 1)),
        "the zeros are all at the bottom and right": lambda x: convolve(x, padding=(0, 2, 0, 2)),
        "the zeros are all at the top and left": lambda x: convolve(x, padding=(2, 0, 2, 0)),
        "every channel uses the filter of channel 0": lambda x: convolve(x, np.repeat(weight[:, :, :1], 3, axis=2)),
    }
    assert_same_as(convolve, layer.forward, SHAPE, mistakes=mistakes)


def test_gradients():
    assert_gradients(Depthwise(3, rng=np.random.default_rng(0)), SHAPE)
