"""Exercise 7: squeeze-and-excitation, forward and backward. A picture as a whole says how much each channel counts.

    mean[n,c]   = 1/(H W) sum_ij x[n,i,j,c]                        squeeze: one number for each channel
    hidden      = max(mean @ reduce, 0)                            a small dense layer with ReLU
    gate        = sigmoid(hidden @ expand)                         sigmoid(z) = 1 / (1 + exp(-z))
    y[n,i,j,c]  = x[n,i,j,c] * gate[n,c]                           excite: every channel by its own gate

    Shapes     x, y, dy, dx (N,H,W,C)   mean, gate (N,C)   hidden (N,R)   reduce (C,R)   expand (R,C)

x reaches y on two paths: directly, and through the gate. Go backwards line by line, and add what arrives at x.

Check as you go, in this folder:

    pytest test_squeeze.py
    minifer gradcheck squeeze.py:SqueezeExcitation --with channels=3 --with reduced=4 --input 2x5x4x3

Hints
1. gate[:, None, None] is the gate in a shape that multiplies a map.
2. dgate[n,c]: that gate took part in all positions of its channel, so it is a sum over i and j of dy * x.
3. The slope of the sigmoid is gate * (1 - gate). The ReLU passes a gradient where hidden is above 0.
4. Every position gets an equal part, 1/(H W), of its channel's dmean.
"""

import numpy as np

from minifer.layers import Layer, Parameter


class SqueezeExcitation(Layer):
    """Multiplies every channel by a gate that the means of all channels decide."""

    def __init__(self, channels=3, reduced=4, *, rng):
        self.reduce = Parameter(rng.standard_normal((channels, reduced)).astype(np.float32))
        self.expand = Parameter(rng.standard_normal((reduced, channels)).astype(np.float32))

    def forward(self, x, training=False):
        mean = x.mean(axis=(1, 2))
        hidden = np.maximum(mean @ self.reduce.value, 0)
        gate = 1 / (1 + np.exp(-hidden @ self.expand.value))
        self.save(training, x, mean, hidden, gate)
        return x * gate[:, None, None]

    def backward(self, dy):
        x, mean, hidden, gate = self.saved()
        # y = x * gate: each factor's gradient is dy times the other one. A gate is shared by all positions: a sum.
        dgate = (dy * x).sum(axis=(1, 2))
        dz = dgate * gate * (1 - gate)
        self.expand.grad = hidden.T @ dz
        dhidden = (dz @ self.expand.value.T) * (hidden > 0)
        self.reduce.grad = mean.T @ dhidden
        dmean = dhidden @ self.reduce.value.T
        # The direct path, and the one through the gate, which is the same for all positions of a channel.
        return dy * gate[:, None, None] + dmean[:, None, None] / (x.shape[1] * x.shape[2])
