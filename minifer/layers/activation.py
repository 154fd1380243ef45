"""Activations: ReLU, ReLU6 and softmax."""

import numpy as np

from minifer.kernels.activation import clip_forward, clip_grad_x, softmax_forward, softmax_grad_x
from minifer.layers.base import Layer


class ReLU(Layer):
    """Rectifier.

    Forward    y = max(x, 0)
    Backward   dx = dy where x > 0, else 0
    Shapes     any
    Saved      x
    Source     Nair & Hinton, 2010
    """

    low, high = 0.0, np.inf

    def forward(self, x, training=False):
        x = self.check_input(x, ["..."] * np.ndim(x))
        self.save(training, x)
        return clip_forward(x.reshape(-1), self.low, self.high).reshape(x.shape)

    def backward(self, dy):
        (x,) = self.saved()
        dy = self.check_dy(dy, x.shape, x.dtype)
        return clip_grad_x(dy.reshape(-1), x.reshape(-1), self.low, self.high).reshape(x.shape)


class ReLU6(ReLU):
    """Rectifier that saturates at 6, so that activations fit few bits.

    Forward    y = min(max(x, 0), 6)
    Backward   dx = dy where 0 < x < 6, else 0
    Shapes     any
    Saved      x
    Source     Krizhevsky, 2010; Howard et al., MobileNets, 2017
    """

    high = 6.0


class Softmax(Layer):
    """Positive numbers of sum 1 along the last axis. (Training uses losses.SoftmaxCrossEntropy, which takes logits.)

    Forward    y_c = exp(x_c) / sum_k exp(x_k)              computed after subtracting the largest x
    Backward   dx_c = y_c * (dy_c - sum_k dy_k y_k)
    Shapes     x, y (..., C)
    Saved      y
    Source     Bridle, 1990
    """

    def forward(self, x, training=False):
        x = self.check_input(x, ["..."] * (np.ndim(x) - 1) + ["C"])
        y = softmax_forward(x.reshape(-1, x.shape[-1]))
        self.save(training, y, x.shape)
        return y.reshape(x.shape)

    def backward(self, dy):
        y, shape = self.saved()
        dy = self.check_dy(dy, shape, y.dtype)
        return softmax_grad_x(dy.reshape(y.shape), y).reshape(shape)
