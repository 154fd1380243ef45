"""Exercise 2: the backward pass of batch normalization. Forward is given.

    mean[c] = 1/M sum_m x[m,c]     var[c] = 1/M sum_m (x[m,c] - mean[c])^2     inv_std = 1 / sqrt(var + eps)
    x_hat   = (x - mean) * inv_std
    y       = gamma * x_hat + beta

    Shapes     x, y, dy, dx (M,C)   gamma, beta and their gradients (C,)

The mean and the variance are made of x too: an entry of x reaches y on three paths. On paper, go backwards through
the four lines above, one at a time, and add what arrives at x.

Check as you go, in this folder:

    pytest test_batchnorm.py
    minifer gradcheck batchnorm.py:BatchNorm --with channels=3 --input 6x3

Hints
1. dbeta and dgamma are sums over the rows, one number per channel.
2. Begin with the gradient of x_hat. If mean and inv_std were constants, dx would be that times inv_std. The check tells
   you when this is all you have.
3. The other two paths take two means away from it: the mean of the gradient of x_hat, and x_hat times the mean of
   (the gradient of x_hat times x_hat). So dx has no mean left, and nothing along x_hat.
"""

import numpy as np

from minifer.layers import Layer, Parameter


class BatchNorm(Layer):
    """Batch normalization of rows, in training mode only."""

    def __init__(self, channels=3, eps=1e-5):
        self.eps = eps
        self.gamma, self.beta = Parameter(np.ones(channels, np.float32)), Parameter(np.zeros(channels, np.float32))

    def forward(self, x, training=False):
        inv_std = 1 / np.sqrt(x.var(axis=0) + self.eps)
        x_hat = (x - x.mean(axis=0)) * inv_std
        self.save(training, x_hat, inv_std)
        return self.gamma.value * x_hat + self.beta.value

    def backward(self, dy):
        x_hat, inv_std = self.saved()
        ### BEGIN SOLUTION: set self.gamma.grad and self.beta.grad and return dx (hints 1 and 2)
        # y = gamma * x_hat + beta: each of gamma and beta took part in all rows of its channel.
        self.gamma.grad = (dy * x_hat).sum(axis=0)
        self.beta.grad = dy.sum(axis=0)
        # Three paths lead from x to y: straight through x_hat, through the mean, and through the variance. The first
        # gives dx_hat * inv_std. The mean takes away what dx_hat has in common in all rows, the variance what points
        # along x_hat.
        dx_hat = dy * self.gamma.value
        through_mean = dx_hat.mean(axis=0)
        through_variance = x_hat * (dx_hat * x_hat).mean(axis=0)
        return inv_std * (dx_hat - through_mean - through_variance)
        ### END SOLUTION
