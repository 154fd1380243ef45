"""Activations: ReLU and ReLU6, the smooth ones, and softmax."""

import numpy as np

from minifer.kernels.activation import clip_forward, clip_grad_x, softmax_forward, softmax_grad_x
from minifer.kernels.smooth import (
    gelu_forward,
    gelu_grad_x,
    hard_swish_forward,
    hard_swish_grad_x,
    silu_forward,
    silu_grad_x,
)
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


class _Smooth(Layer):
    """What activations share that have kernels of their own and save x."""

    def forward(self, x, training=False):
        x = self.check_input(x, ["..."] * np.ndim(x))
        self.save(training, x)
        return self.forward_kernel(x.reshape(-1)).reshape(x.shape)

    def backward(self, dy):
        (x,) = self.saved()
        dy = self.check_dy(dy, x.shape, x.dtype)
        return self.grad_x_kernel(dy.reshape(-1), x.reshape(-1)).reshape(x.shape)


class SiLU(_Smooth):
    """Sigmoid-weighted linear unit, also called swish.

    Forward    y = x s                             s = 1 / (1 + exp(-x))
    Backward   dx = dy s (1 + x (1 - s))
    Shapes     any
    Saved      x
    Source     Elfwing et al., 2018; Ramachandran et al., 2017
    """

    forward_kernel, grad_x_kernel = silu_forward, silu_grad_x


class GELU(_Smooth):
    """Gaussian error linear unit, with the error function itself and no approximation.

    Forward    y = x P(x)                          P(x) = (1 + erf(x / sqrt 2)) / 2, of the normal distribution
    Backward   dx = dy (P(x) + x p(x))             p(x) = exp(-x^2 / 2) / sqrt(2 pi)
    Shapes     any
    Saved      x
    Source     Hendrycks & Gimpel, 2016
    """

    forward_kernel, grad_x_kernel = gelu_forward, gelu_grad_x


class HardSwish(_Smooth):
    """SiLU out of straight lines and one parabola.

    Forward    y = x min(max(x + 3, 0), 6) / 6
    Backward   dx = dy (2 x + 3) / 6 where -3 < x < 3, dy where x >= 3, else 0
    Shapes     any
    Saved      x
    Source     Howard et al., Searching for MobileNetV3, 2019
    """

    forward_kernel, grad_x_kernel = hard_swish_forward, hard_swish_grad_x


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
