"""The three convolutions of a MobileNet: ordinary (the stem), depthwise and pointwise."""

import numpy as np

from minifer.errors import ConfigError, ShapeError
from minifer.initializers import glorot_uniform, he_normal
from minifer.kernels.conv2d import gather_patches, scatter_patches
from minifer.kernels.depthwise import depthwise_forward, depthwise_grad_weight, depthwise_grad_x
from minifer.kernels.pointwise import pointwise_forward, pointwise_grad_weight, pointwise_grad_x
from minifer.layers.base import Layer, Parameter


def resolve_padding(padding, height, width, kernel, stride):
    """Return (top, bottom, left, right) rows and columns of zeros for an input of height x width.

    padding is a number (the same on all sides), two pairs ((top, bottom), (left, right)), or one of two names, with
    which an odd kernel gives ceil(size / stride) rows:
    "same"         TensorFlow's: as few rows as that needs; when their number is odd, one more at the bottom and right
    "symmetric"    usual in PyTorch: (kernel - 1) / 2 on all sides
    Weights trained elsewhere need the padding that they were trained with.
    """
    if padding == "symmetric":
        padding = (kernel - 1) // 2
    if padding == "same":
        pairs = []
        for size in (height, width):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pairs.append((total // 2, total - total // 2))
    else:
        pairs = [(padding, padding)] * 2 if isinstance(padding, int) else padding
    (top, bottom), (left, right) = pairs
    return top, bottom, left, right


class Windowed(Layer):
    """What layers share that look through windows: the geometry."""

    dilation = 1

    def __init__(self, kernel, stride, padding):
        if kernel < 1 or stride < 1:
            raise ConfigError(f"{type(self).__name__}: kernel and stride must be at least 1, got {kernel} and {stride}")
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def geometry(self, height, width):
        """Return the padding as four numbers and the output size (OH, OW)."""
        window = self.dilation * (self.kernel - 1) + 1
        padding = resolve_padding(self.padding, height, width, window, self.stride)
        top, bottom, left, right = padding
        oh = (height + top + bottom - window) // self.stride + 1
        ow = (width + left + right - window) // self.stride + 1
        if oh < 1 or ow < 1:
            raise ShapeError(
                f"{type(self).__name__}: a {window}x{window} kernel does not fit into {height}x{width} with "
                f"padding {self.padding!r}"
            )
        return padding, oh, ow


class Conv2D(Windowed):
    """Ordinary convolution: every output channel sees every input channel.

    Forward    y[n,i,j,f] = sum_uvc  x[n, i*s+u, j*s+v, c] * weight[u,v,c,f] (+ bias[f])      (x already padded)
    Backward   dx[n, i*s+u, j*s+v, c] += sum_f dy[n,i,j,f] * weight[u,v,c,f]
               dweight[u,v,c,f] = sum_nij x[n, i*s+u, j*s+v, c] * dy[n,i,j,f]        dbias[f] = sum_nij dy[n,i,j,f]
    Shapes     x (N,H,W,C)   weight (KH,KW,C,F)   y (N,OH,OW,F)   OH = (H + top + bottom - KH)//s + 1
    Cost       OH*OW*F*C*KH*KW multiply-adds a picture
    Saved      x; its windows are gathered as rows (im2col), (n*OH*OW, KH*KW*C), for so many pictures at a time that the
               product finds them in a cache
    Raises     ShapeError when the channels or the window do not fit
    Source     LeCun et al., 1989. Only the stem of a MobileNet is one.
    """

    part_bytes = 4 << 20  # of the windows that are gathered at once: with all of a batch's the product waits for memory

    def __init__(self, channels, filters, kernel=3, stride=1, padding="same", *, bias=False, rng):
        super().__init__(kernel, stride, padding)
        self.channels, self.filters = channels, filters
        fan_in = kernel * kernel * channels
        self.weight = Parameter(he_normal(rng, (kernel, kernel, channels, filters), fan_in))
        self.bias = Parameter(np.zeros(filters, np.float32)) if bias else None

    def forward(self, x, training=False):
        x = self.check_input(x, "NHWC", self.channels)
        padding, oh, ow = self.geometry(*x.shape[1:3])
        weight = self.weight.value.reshape(-1, self.filters)
        parts = []
        for part in self._parts(x, oh * ow):
            patches = gather_patches(x[part], self.kernel, self.kernel, self.stride, padding)
            parts.append(pointwise_forward(patches, weight))
        y = parts[0] if len(parts) == 1 else np.concatenate(parts)
        y = y.reshape(len(x), oh, ow, self.filters)
        if self.bias is not None:
            y += self.bias.value
        self.save(training, x, padding, y.shape)
        return y

    def backward(self, dy):
        x, padding, y_shape = self.saved()
        dy = self.check_dy(dy, y_shape, x.dtype)
        weight = self.weight.value.reshape(-1, self.filters)
        dweight = np.zeros_like(weight)
        dx = np.empty_like(x) if self.input_gradient else None
        for part in self._parts(x, y_shape[1] * y_shape[2]):
            rows = dy[part].reshape(-1, self.filters)
            if not self.frozen:
                patches = gather_patches(x[part], self.kernel, self.kernel, self.stride, padding)
                dweight += pointwise_grad_weight(patches, rows)
            if dx is not None:
                dpatches = pointwise_grad_x(rows, weight)
                dx[part] = scatter_patches(
                    dpatches, len(x[part]), *x.shape[1:], self.kernel, self.kernel, self.stride, padding
                )
        if not self.frozen:
            self.weight.grad = dweight.reshape(self.weight.value.shape)
            if self.bias is not None:
                self.bias.grad = dy.reshape(-1, self.filters).sum(axis=0)
        return dx

    def _parts(self, x, positions):
        """Return slices of the pictures whose windows take about part_bytes together."""
        one = positions * self.kernel * self.kernel * self.channels * x.itemsize
        step = max(1, self.part_bytes // max(one, 1))
        return [slice(start, start + step) for start in range(0, len(x), step)]


class DepthwiseConv2D(Windowed):
    """Depthwise convolution: one small filter for each channel.

    Forward    y[n,i,j,c] = sum_uv  x[n, i*s+u*d, j*s+v*d, c] * weight[u,v,c]                 (x already padded)
    Backward   dx[n, i*s+u*d, j*s+v*d, c] += dy[n,i,j,c] * weight[u,v,c]
               dweight[u,v,c] = sum_nij x[n, i*s+u*d, j*s+v*d, c] * dy[n,i,j,c]
               d is the dilation: the taps of the kernel lie d pixels apart and see further for the same work
    Shapes     x (N,H,W,C)   weight (KH,KW,C)   y (N,OH,OW,C)   OH = (H + top + bottom - d*(KH-1) - 1)//s + 1
    Cost       OH*OW*C*KH*KW multiply-adds a picture: 1/F of the ordinary convolution's
    Saved      x
    Raises     ShapeError when the channels or the window do not fit
    Source     Howard et al., MobileNets, 2017, section 3.1; dilation: Yu & Koltun, Multi-scale context aggregation by
               dilated convolutions, 2016
    """

    def __init__(self, channels, kernel=3, stride=1, padding="same", *, dilation=1, rng):
        super().__init__(kernel, stride, padding)
        if dilation < 1:
            raise ConfigError(f"DepthwiseConv2D: dilation must be at least 1, got {dilation}")
        self.channels, self.dilation = channels, dilation
        self.weight = Parameter(he_normal(rng, (kernel, kernel, channels), kernel * kernel))

    def forward(self, x, training=False):
        x = self.check_input(x, "NHWC", self.channels)
        padding, oh, ow = self.geometry(*x.shape[1:3])
        self.save(training, x, padding, (len(x), oh, ow, self.channels))
        return depthwise_forward(x, self.weight.value, self.stride, padding, self.dilation)

    def backward(self, dy):
        x, padding, y_shape = self.saved()
        dy = self.check_dy(dy, y_shape, x.dtype)
        if not self.frozen:
            taps = self.kernel, self.kernel
            self.weight.grad = depthwise_grad_weight(x, dy, self.stride, padding, *taps, self.dilation)
        if not self.input_gradient:
            return None
        return depthwise_grad_x(dy, self.weight.value, self.stride, padding, *x.shape[1:3], self.dilation)


class PointwiseConv2D(Layer):
    """Pointwise (1 x 1) convolution: mixes the channels, one position at a time. It has nothing to pad.

    Forward    y[n,i,j,f] = sum_c  x[n, i*s, j*s, c] * weight[c,f]
    Backward   dx[n, i*s, j*s, c] = sum_f dy[n,i,j,f] * weight[c,f], 0 between the strides
               dweight[c,f] = sum_nij x[n, i*s, j*s, c] * dy[n,i,j,f]
    Shapes     x (N,H,W,C)   weight (C,F)   y (N,OH,OW,F)   OH = (H - 1)//s + 1
    Cost       OH*OW*C*F multiply-adds a picture: 1/K^2 of the ordinary convolution's
    Saved      x at the strides
    Raises     ShapeError when the channels do not fit
    Source     Howard et al., MobileNets, 2017, section 3.1
    """

    def __init__(self, channels, filters, stride=1, *, rng):
        if stride < 1:
            raise ConfigError(f"PointwiseConv2D: stride must be at least 1, got {stride}")
        self.channels, self.filters, self.stride = channels, filters, stride
        self.weight = Parameter(glorot_uniform(rng, (channels, filters), channels, filters))

    def forward(self, x, training=False):
        x = self.check_input(x, "NHWC", self.channels)
        full_shape = x.shape
        if self.stride > 1:
            x = np.ascontiguousarray(x[:, :: self.stride, :: self.stride])
        self.save(training, x, full_shape)
        return pointwise_forward(x.reshape(-1, self.channels), self.weight.value).reshape(*x.shape[:3], self.filters)

    def backward(self, dy):
        x, full_shape = self.saved()
        dy = self.check_dy(dy, (*x.shape[:3], self.filters), x.dtype).reshape(-1, self.filters)
        if not self.frozen:
            self.weight.grad = pointwise_grad_weight(x.reshape(-1, self.channels), dy, self.weight.grad_memory())
        if not self.input_gradient:
            return None
        dx = pointwise_grad_x(dy, self.weight.value).reshape(x.shape)
        if self.stride == 1:
            return dx
        spread = np.zeros(full_shape, x.dtype)
        spread[:, :: self.stride, :: self.stride] = dx
        return spread
