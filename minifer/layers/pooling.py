"""Pooling over windows, and the step from a map to a row of features."""

import numpy as np

from minifer.errors import ConfigError
from minifer.kernels.window_pooling import average_pool_forward, average_pool_grad_x, max_pool_forward, max_pool_grad_x
from minifer.layers.base import Layer
from minifer.layers.convolution import Windowed


class _Pool2D(Windowed):
    """The window of a pooling layer: as wide as its stride, unless something else is said."""

    def __init__(self, kernel=2, stride=None, padding=0):
        super().__init__(kernel, kernel if stride is None else stride, padding)

    def window(self, height, width):
        """Return (padding above and on the left, output rows and columns).

        Raises   ConfigError for a window that may lie outside the picture altogether
        """
        padding, oh, ow = self.geometry(height, width)
        if max(padding) >= self.kernel:
            raise ConfigError(
                f"{type(self).__name__}: a padding of {max(padding)} leaves {self.kernel}x{self.kernel} windows empty"
            )
        top, _, left, _ = padding
        return top, left, oh, ow


class MaxPool2D(_Pool2D):
    """The largest value of each window. What lies outside the picture is never the largest.

    Forward    y[n,i,j,c] = max over u, v of x[n, i*s+u-top, j*s+v-left, c]
    Backward   dx at the first largest entry of each window += dy
    Shapes     x (N,H,W,C)   y (N,OH,OW,C)   OH = (H + top + bottom - K)//s + 1
    Saved      which tap of each window was the largest
    Raises     ShapeError when the window does not fit; ConfigError for a padding as wide as it
    """

    def forward(self, x, training=False):
        x = self.check_input(x, "NHWC")
        top, left, oh, ow = self.window(*x.shape[1:3])
        y, tap = max_pool_forward(x, self.kernel, self.stride, top, left, oh, ow)
        self.save(training, tap, x.shape, x.dtype)
        return y

    def backward(self, dy):
        tap, (_, height, width, _), dtype = self.saved()
        dy = self.check_dy(dy, tap.shape, dtype)
        top, left, _, _ = self.window(height, width)
        return max_pool_grad_x(dy, tap, self.kernel, self.stride, top, left, height, width)


class AveragePool2D(_Pool2D):
    """The mean of each window's pixels that lie in the picture.

    Forward    y[n,i,j,c] = 1/size[i,j] sum over u, v of x[n, i*s+u-top, j*s+v-left, c]
    Backward   dx at all of them += dy / size
    Shapes     x (N,H,W,C)   y (N,OH,OW,C)   OH = (H + top + bottom - K)//s + 1
    Saved      the shape of x
    Raises     ShapeError when the window does not fit; ConfigError for a padding as wide as it
    """

    def forward(self, x, training=False):
        x = self.check_input(x, "NHWC")
        top, left, oh, ow = self.window(*x.shape[1:3])
        self.save(training, x.shape, x.dtype)
        return average_pool_forward(x, self.kernel, self.stride, top, left, oh, ow)

    def backward(self, dy):
        (batch, height, width, channels), dtype = self.saved()
        top, left, oh, ow = self.window(height, width)
        dy = self.check_dy(dy, (batch, oh, ow, channels), dtype)
        return average_pool_grad_x(dy, self.kernel, self.stride, top, left, height, width)


class Flatten(Layer):
    """All features of a picture in one row, channels innermost.

    Forward    y = x as (N, H*W*C)
    Backward   dx = dy as (N,H,W,C)
    Shapes     x (N, ...)   y (N, product of the others)
    Saved      the shape of x
    """

    def forward(self, x, training=False):
        x = self.check_input(x, ["N"] + ["..."] * (np.ndim(x) - 1))
        self.save(training, x.shape, x.dtype)
        return x.reshape(len(x), -1)

    def backward(self, dy):
        shape, dtype = self.saved()
        return self.check_dy(dy, (shape[0], int(np.prod(shape[1:]))), dtype).reshape(shape)
