"""The layers at the end of the network: pooling, dropout, dense."""

import numpy as np

from minifer.errors import ConfigError
from minifer.initializers import glorot_uniform
from minifer.kernels.pointwise import pointwise_forward, pointwise_grad_weight, pointwise_grad_x
from minifer.kernels.pooling import global_average, global_average_grad_x
from minifer.layers.base import Layer, Parameter


class Linear(Layer):
    """Dense layer.

    Forward    y[n,f] = sum_c x[n,c] * weight[c,f] + bias[f]
    Backward   dx = dy @ weight.T        dweight = x.T @ dy        dbias = sum_n dy
    Shapes     x (N,C)   weight (C,F)   bias (F,)   y (N,F)
    Cost       C*F multiply-adds a row
    Saved      x
    Raises     ShapeError when the features do not fit
    """

    def __init__(self, channels, filters, *, bias=True, rng):
        self.channels, self.filters = channels, filters
        self.weight = Parameter(glorot_uniform(rng, (channels, filters), channels, filters))
        self.bias = Parameter(np.zeros(filters, np.float32)) if bias else None

    def forward(self, x, training=False):
        x = self.check_input(x, "NC", self.channels)
        self.save(training, x)
        y = pointwise_forward(x, self.weight.value)
        if self.bias is not None:
            y += self.bias.value
        return y

    def backward(self, dy):
        (x,) = self.saved()
        dy = self.check_dy(dy, (len(x), self.filters), x.dtype)
        if not self.frozen:
            self.weight.grad = pointwise_grad_weight(x, dy, self.weight.grad_memory())
            if self.bias is not None:
                self.bias.grad = dy.sum(axis=0)
        return pointwise_grad_x(dy, self.weight.value) if self.input_gradient else None


class GlobalAveragePool(Layer):
    """Mean over all positions of a map.

    Forward    y[n,c] = 1/(H*W) sum_ij x[n,i,j,c]
    Backward   dx[n,i,j,c] = dy[n,c] / (H*W)
    Shapes     x (N,H,W,C)   y (N,C)
    Saved      the shape of x
    Source     Lin, Chen & Yan, Network In Network, 2014
    """

    def forward(self, x, training=False):
        x = self.check_input(x, "NHWC")
        self.save(training, x.shape, x.dtype)
        return global_average(x)

    def backward(self, dy):
        (batch, height, width, channels), dtype = self.saved()
        return global_average_grad_x(self.check_dy(dy, (batch, channels), dtype), height, width)


class Dropout(Layer):
    """Sets a random part of its input to zero while training, and scales the rest up so that the mean stays.

    Forward    y = x * mask,  mask = 1/(1-rate) with probability 1-rate, else 0       (not training, or frozen: y = x)
    Backward   dx = dy * mask
    Shapes     any
    Saved      mask
    Raises     ConfigError unless 0 <= rate < 1
    Source     Srivastava et al., 2014
    """

    def __init__(self, rate, *, rng):
        if not 0 <= rate < 1:
            raise ConfigError(f"Dropout: rate must be at least 0 and below 1, got {rate}")
        self.rate, self.rng = rate, rng

    def forward(self, x, training=False):
        x = self.check_input(x, ["..."] * np.ndim(x))
        mask = np.ones(x.shape, x.dtype)
        if training and not self.frozen:
            mask = ((self.rng.random(x.shape, np.float32) >= self.rate) / (1 - self.rate)).astype(x.dtype)
        self.save(training, mask)
        return x * mask

    def backward(self, dy):
        (mask,) = self.saved()
        return self.check_dy(dy, mask.shape, mask.dtype) * mask
