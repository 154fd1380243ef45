"""Exercise 1: depthwise convolution, forward and both gradients.

Every channel has a small filter of its own. With one row and column of zeros around x, the map keeps its size:

    y[n,i,j,c] = sum_uv  x[n, i+u-1, j+v-1, c] * weight[u,v,c]          u, v = 0, 1, 2; x is 0 outside the map

    Shapes     x, y, dy, dx (N,H,W,C)   weight, dweight (3,3,C)

Write forward, then backward. For backward, ask of one weight, and of one input, which outputs it took part in: the
gradient is the sum over those outputs of dy times what it was multiplied with.

Check as you go, in this folder:

    pytest test_depthwise.py
    minifer gradcheck depthwise.py:Depthwise --with channels=3 --input 2x5x4x3

Hints
1. np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))) adds the zeros.
2. Loop over u and v only. For one tap, padded[:, u : u + H, v : v + W] is the part of x that it meets, at every
   position at once.
3. dx: put dy * weight[u, v] back to where that part of x came from, in an array of the padded shape, and crop it.
   Windows overlap, so add.
"""

import numpy as np

from minifer.layers import Layer, Parameter


class Depthwise(Layer):
    """Depthwise 3x3 convolution with stride 1."""

    def __init__(self, channels=3, *, rng):
        self.weight = Parameter(rng.standard_normal((3, 3, channels)).astype(np.float32))

    def forward(self, x, training=False):
        # One tap at a time: padded[:, u : u + H, v : v + W] is what weight[u,v] meets, at every position at once.
        height, width = x.shape[1:3]
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        y = np.zeros_like(x)
        for u, v in np.ndindex(3, 3):
            y += padded[:, u : u + height, v : v + width] * self.weight.value[u, v]
        self.save(training, padded)
        return y

    def backward(self, dy):
        # weight[u,v,c] took part in every position of every picture: its gradient is a sum over all of them. An entry
        # of padded took part in up to nine outputs, each through another tap: what comes back to it is added up.
        (padded,) = self.saved()
        height, width = dy.shape[1:3]
        dweight, dpadded = np.zeros_like(self.weight.value), np.zeros_like(padded)
        for u, v in np.ndindex(3, 3):
            dweight[u, v] = (padded[:, u : u + height, v : v + width] * dy).sum(axis=(0, 1, 2))
            dpadded[:, u : u + height, v : v + width] += dy * self.weight.value[u, v]
        self.weight.grad = dweight
        return dpadded[:, 1:-1, 1:-1]  # nobody reads the gradient of the zeros around x
