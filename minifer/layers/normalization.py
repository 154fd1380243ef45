"""Normalization over the batch (with the activation that follows it) and over the features of one token."""

import numpy as np

from minifer.errors import ConfigError
from minifer.kernels.normalization import (
    batch_moments,
    layer_norm_forward,
    layer_norm_grad_x,
    normalize,
    normalize_grad_x,
    normalize_sums,
)
from minifer.layers.base import Layer, Parameter, Statistic

CLIPS = {None: (-np.inf, np.inf), "relu": (0.0, np.inf), "relu6": (0.0, 6.0)}


class BatchNorm(Layer):
    """Batch normalization, optionally with the ReLU or ReLU6 that follows it, which saves a pass over memory.

    Forward    x_hat = (x - mean) / sqrt(var + eps)         y = clip(gamma * x_hat + beta)
               training: mean, var of the batch, and running = momentum * running + (1 - momentum) * batch
               else, or frozen: the running statistics
    Backward   dz = dy where nothing was clipped, else 0;  dbeta = sum dz;  dgamma = sum dz * x_hat
               dx = gamma / sqrt(var + eps) * (dz - dbeta/M - x_hat * dgamma/M)      M = N*H*W
               frozen: dx = gamma / sqrt(var + eps) * dz
    Shapes     x, y (..., C)   gamma, beta, mean, var (C,)
    Saved      x, mean, inv_std, whether they came from the batch
    Raises     ShapeError when the channels do not fit
    Source     Ioffe & Szegedy, 2015. var is the biased variance, also in the running statistics (as in Keras).
    """

    def __init__(self, channels, momentum=0.9, eps=1e-3, activation=None):
        if activation not in CLIPS:
            raise ConfigError(f"BatchNorm: activation is None, 'relu' or 'relu6', got {activation!r}")
        self.channels, self.momentum, self.eps, self.activation = channels, momentum, eps, activation
        self.gamma, self.beta = Parameter(np.ones(channels, np.float32)), Parameter(np.zeros(channels, np.float32))
        self.running_mean = Statistic(np.zeros(channels, np.float32))
        self.running_var = Statistic(np.ones(channels, np.float32))

    def forward(self, x, training=False):
        x = self.check_input(x, ["..."] * (np.ndim(x) - 1) + ["C"], self.channels)
        from_batch = training and not self.frozen
        if from_batch:
            mean, var = batch_moments(x.reshape(-1, self.channels))
            share = x.dtype.type(1 - self.momentum)
            for statistic, value in ((self.running_mean, mean), (self.running_var, var)):
                statistic.value += share * (value - statistic.value)
        else:
            # Copies: a later forward may move the running statistics before this one's backward reads them.
            mean, var = self.running_mean.value.copy(), self.running_var.value.copy()
        inv_std = 1 / np.sqrt(var + x.dtype.type(self.eps))
        self.save(training, x, mean, inv_std, from_batch)
        rows = x.reshape(-1, self.channels)
        gamma, beta = self.gamma.value, self.beta.value
        return normalize(rows, mean, inv_std, gamma, beta, *CLIPS[self.activation]).reshape(x.shape)

    def backward(self, dy):
        x, mean, inv_std, from_batch = self.saved()
        rows = x.reshape(-1, self.channels)
        dy = self.check_dy(dy, x.shape, x.dtype).reshape(rows.shape)
        given = (dy, rows, mean, inv_std, self.gamma.value, self.beta.value, *CLIPS[self.activation])
        dgamma = dbeta = np.zeros_like(mean)
        if not self.frozen:
            dgamma, dbeta = normalize_sums(*given)
            self.gamma.grad, self.beta.grad = dgamma, dbeta
        if not self.input_gradient:
            return None
        if not from_batch:
            dgamma = dbeta = np.zeros_like(mean)
        return normalize_grad_x(*given, dgamma, dbeta).reshape(x.shape)


class GroupNorm(Layer):
    """Group normalization: every picture by the mean and variance of a group of its channels, whatever the batch.

    Forward    x_hat = (x - mean) / sqrt(var + eps)        y = gamma * x_hat + beta        mean, var over H, W and the
               C/G channels of a group
    Backward   g = dy * gamma;  dx = (g - mean(g) - x_hat * mean(g * x_hat)) / sqrt(var + eps)    means over the group
               dgamma = sum dy * x_hat        dbeta = sum dy
    Shapes     x, y (N,H,W,C)   gamma, beta (C,)
    Saved      x_hat, 1 / sqrt(var + eps)
    Raises     ConfigError unless the groups divide the channels; ShapeError when the channels do not fit
    Source     Wu & He, Group Normalization, 2018

    One group is layer normalization over the whole picture, C groups are instance normalization.
    """

    def __init__(self, channels, groups=8, eps=1e-5):
        if groups < 1 or channels % groups:
            raise ConfigError(f"GroupNorm: {groups} groups do not divide {channels} channels")
        self.channels, self.groups, self.eps = channels, groups, eps
        self.gamma, self.beta = Parameter(np.ones(channels, np.float32)), Parameter(np.zeros(channels, np.float32))

    def rows(self, x):
        """Return (N,H,W,C) as rows (N*G, H*W*C/G): one of each group."""
        batch, height, width, channels = x.shape
        parts = x.reshape(batch, height * width, self.groups, channels // self.groups)
        return np.ascontiguousarray(parts.transpose(0, 2, 1, 3)).reshape(batch * self.groups, -1)

    def maps(self, rows, shape):
        """Return rows as maps (N,H,W,C) again."""
        batch, height, width, channels = shape
        parts = rows.reshape(batch, self.groups, height * width, channels // self.groups)
        return np.ascontiguousarray(parts.transpose(0, 2, 1, 3)).reshape(shape)

    def forward(self, x, training=False):
        x = self.check_input(x, "NHWC", self.channels)
        rows = self.rows(x)
        one = np.ones(rows.shape[1], x.dtype)
        _, x_hat, inv_std = layer_norm_forward(rows, one, one, self.eps)
        x_hat_of_maps = self.maps(x_hat, x.shape)
        self.save(training, x_hat, x_hat_of_maps, inv_std)
        return x_hat_of_maps * self.gamma.value + self.beta.value

    def backward(self, dy):
        x_hat, x_hat_of_maps, inv_std = self.saved()
        dy = self.check_dy(dy, x_hat_of_maps.shape, x_hat.dtype)
        if not self.frozen:
            self.gamma.grad, self.beta.grad = (dy * x_hat_of_maps).sum(axis=(0, 1, 2)), dy.sum(axis=(0, 1, 2))
        if not self.input_gradient:
            return None
        one = np.ones(x_hat.shape[1], dy.dtype)
        return self.maps(layer_norm_grad_x(self.rows(dy * self.gamma.value), x_hat, inv_std, one), dy.shape)


class LayerNorm(Layer):
    """Layer normalization: every token by the mean and variance of its own features.

    Forward    x_hat[d] = (x[d] - mean) / sqrt(var + eps)          y = gamma * x_hat + beta        mean, var over d
    Backward   g = dy * gamma;  dx = (g - mean(g) - x_hat * mean(g * x_hat)) / sqrt(var + eps)
               dgamma = sum dy * x_hat        dbeta = sum dy
    Shapes     x, y (..., D)   gamma, beta (D,)
    Saved      x_hat, 1 / sqrt(var + eps)
    Raises     ShapeError when the last axis does not fit
    Source     Ba, Kiros & Hinton, 2016
    """

    def __init__(self, width, eps=1e-5):
        self.width, self.eps = width, eps
        self.gamma, self.beta = Parameter(np.ones(width, np.float32)), Parameter(np.zeros(width, np.float32))

    def forward(self, x, training=False):
        x = self.check_input(x, ["..."] * (np.ndim(x) - 1) + ["D"], self.width)
        rows = x.reshape(-1, self.width)
        y, x_hat, inv_std = layer_norm_forward(rows, self.gamma.value, self.beta.value, self.eps)
        self.save(training, x_hat, inv_std, x.shape)
        return y.reshape(x.shape)

    def backward(self, dy):
        x_hat, inv_std, shape = self.saved()
        dy = self.check_dy(dy, shape, x_hat.dtype).reshape(x_hat.shape)
        if not self.frozen:
            self.gamma.grad, self.beta.grad = (dy * x_hat).sum(axis=0), dy.sum(axis=0)
        if not self.input_gradient:
            return None
        return layer_norm_grad_x(dy, x_hat, inv_std, self.gamma.value).reshape(shape)
