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
        raise NotImplementedError("return y, and keep in self what backward needs; loop over the nine taps (hint 2)")

    def backward(self, dy):
        raise NotImplementedError("set self.weight.grad and return dx (hint 3)")
