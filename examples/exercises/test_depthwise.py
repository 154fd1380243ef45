"""Is Depthwise right?   pytest test_depthwise.py"""

import numpy as np
from depthwise import Depthwise

from minifer.kernels.depthwise import depthwise_forward
from minifer.testing import assert_gradients, assert_same_as

SHAPE = (2, 5, 4, 3)
TAPS = np.indices((3, 3, 1))[:2]


def convolve(layer, weight=None, padding=(1, 1, 1, 1)):
    """Return the right forward pass with the layer's weights; with others, or other zeros around x, a wrong one."""
    weight = layer.weight.value if weight is None else weight
    return lambda x: depthwise_forward.reference(x, weight, 1, padding)


def layer():
    return Depthwise(3, rng=np.random.default_rng(0)).astype(np.float64)


def test_forward():
    own = layer()
    weight, (row, column) = own.weight.value, TAPS
    mistakes = {
        "the filter is rotated by 180 degrees": convolve(own, weight[::-1, ::-1]),
        "the rows and columns of the filter are swapped": convolve(own, weight.swapaxes(0, 1)),
        "the zeros are all at the bottom and right": convolve(own, padding=(0, 2, 0, 2)),
        "the zeros are all at the top and left": convolve(own, padding=(2, 0, 2, 0)),
        "every channel uses the filter of channel 0": convolve(own, np.repeat(weight[:, :, :1], 3, axis=2)),
        "only the last tap counts: = where += belongs": convolve(own, weight * (row + column == 4)),
        "only the first tap counts: is return inside the loop?": convolve(own, weight * (row + column == 0)),
        "the last row of taps is left out: u runs over 0, 1, 2": convolve(own, weight * (row < 2)),
        "the last column of taps is left out: v runs over 0, 1, 2": convolve(own, weight * (column < 2)),
        "the last row and column of taps are left out: u, v are 0, 1, 2": convolve(
            own, weight * (row < 2) * (column < 2)
        ),
        "only the taps on the diagonal count: u and v run over all nine pairs": convolve(own, weight * (row == column)),
        "all nine taps use one weight: weight[u, v] changes with the tap": convolve(own, weight[:1, :1] + 0 * weight),
        "the channels are added up; each has an output of its own": lambda x: (
            convolve(own)(x).sum(axis=-1, keepdims=True) + 0 * x
        ),
    }
    for u, v in np.ndindex(3, 3):
        mistakes[f"the tap weight[{u},{v}] is left out"] = convolve(own, weight * ((row != u) | (column != v)))
    assert_same_as(convolve(own), own.forward, SHAPE, mistakes=mistakes)


def test_gradients():
    own = layer()
    assert_gradients(own, SHAPE, forward=convolve(own))
