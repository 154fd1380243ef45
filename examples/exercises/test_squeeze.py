"""Is SqueezeExcitation right?   pytest test_squeeze.py"""

import numpy as np
from squeeze import SqueezeExcitation

from minifer.testing import assert_gradients, assert_same_as

SHAPE = (2, 5, 4, 3)


def sigmoid(z):
    """Return 1 / (1 + exp(-z))."""
    return 1 / (1 + np.exp(-z))


def softmax(z):
    """Return the softmax of each row."""
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def gated(layer, pool=lambda x: x.mean(axis=(1, 2)), relu=lambda z: np.maximum(z, 0), gate=sigmoid):
    """Return the layer's forward pass, or with one of its steps changed a wrong one."""
    return lambda x: x * gate(relu(pool(x) @ layer.reduce.value) @ layer.expand.value)[:, None, None]


def layer():
    return SqueezeExcitation(3, 4, rng=np.random.default_rng(0)).astype(np.float64)


def test_forward():
    own = layer()
    mistakes = {
        "the sum over the positions; it is the mean": gated(own, pool=lambda x: x.sum(axis=(1, 2))),
        "the largest position; it is the mean": gated(own, pool=lambda x: x.max(axis=(1, 2))),
        "the mean is over the batch too; every picture has gates of its own": gated(
            own, pool=lambda x: np.broadcast_to(x.mean(axis=(0, 1, 2)), (len(x), x.shape[3]))
        ),
        "the ReLU after reduce is missing": gated(own, relu=lambda z: z),
        "the sigmoid is missing": gated(own, gate=lambda z: z),
        "a softmax in place of the sigmoid": gated(own, gate=softmax),
        "the sigmoid's sign: it is 1 / (1 + exp(-z))": gated(own, gate=lambda z: sigmoid(-z)),
        "the gate is added; x is multiplied by it": lambda x: x + gated(own)(x) / x,
        "these are the gates, repeated; y is x times the gate": lambda x: gated(own)(x) / x,
    }
    assert_same_as(gated(own), own.forward, SHAPE, mistakes=mistakes)


def test_gradients():
    own = layer()
    assert_gradients(own, SHAPE, forward=gated(own))
