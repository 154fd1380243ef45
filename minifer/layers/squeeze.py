"""Squeeze-and-excitation: a picture as a whole says how much each of its channels counts."""

import numpy as np

from minifer.errors import ConfigError
from minifer.layers.activation import ReLU
from minifer.layers.base import Layer
from minifer.layers.dense import GlobalAveragePool, Linear


def sigmoid(z):
    """Return (gate, its derivative)."""
    gate = 1 / (1 + np.exp(-z))
    return gate, gate * (1 - gate)


def hard_sigmoid(z):
    """Return (gate, its derivative), out of three straight lines."""
    return np.clip(z + 3, 0, 6) / 6, ((z > -3) & (z < 3)).astype(z.dtype) / 6


GATES = {"sigmoid": sigmoid, "hard": hard_sigmoid}


class SqueezeExcitation(Layer):
    """Squeeze-and-excitation: channels are multiplied by gates that two dense layers find from their means.

    Forward    z = expand(max(reduce(mean of x over H, W), 0))        s = gate(z)        y[n,i,j,c] = x[n,i,j,c] s[n,c]
    Backward   ds[n,c] = sum_ij dy[n,i,j,c] x[n,i,j,c];  dz = ds gate'(z)
               dx = dy s + what comes back through the dense layers and the mean
    Shapes     x, y (N,H,W,C)   reduce.weight (C,R)   expand.weight (R,C)
    Cost       2 C R multiply-adds a picture
    Saved      x, s and gate'(z); the rest in the layers that it is made of
    Raises     ConfigError for an unknown gate; ShapeError when the channels do not fit
    Source     Hu, Shen & Sun, Squeeze-and-Excitation Networks, 2018 (gate="sigmoid"); Howard et al., Searching for
               MobileNetV3, 2019 (gate="hard": min(max(z + 3, 0), 6) / 6)
    """

    def __init__(self, channels, reduced, gate="sigmoid", *, rng):
        if gate not in GATES:
            raise ConfigError(f"SqueezeExcitation: unknown gate {gate!r}: choose {' or '.join(GATES)}")
        self.channels, self.gate = channels, gate
        self.pool, self.relu = GlobalAveragePool(), ReLU()
        self.reduce, self.expand = Linear(channels, reduced, rng=rng), Linear(reduced, channels, rng=rng)

    def forward(self, x, training=False):
        x = self.check_input(x, "NHWC", self.channels)
        z = x
        for layer in (self.pool, self.reduce, self.relu, self.expand):
            z = layer.forward(z, training=training)
        s, slope = GATES[self.gate](z)
        self.save(training, x, s, slope)
        return x * s[:, np.newaxis, np.newaxis]

    def backward(self, dy):
        x, s, slope = self.saved()
        dy = self.check_dy(dy, x.shape, x.dtype)
        d = (dy * x).sum(axis=(1, 2)) * slope
        for layer in (self.expand, self.relu, self.reduce, self.pool):
            d = layer.backward(d)
        return dy * s[:, np.newaxis, np.newaxis] + d
