"""A network's training step with its batch normalization fused into the convolutions on both sides of it.

    network = fused(model)                         # model itself, where nothing can be fused
    logits = network.forward(x, training=True)
    network.backward(dlogits)                      # sets the gradients of model's parameters

The layers compute one after another and write every map that lies between them. This goes through the same layers, but
a convolution followed by a BatchNorm leaves its map as it is, with the statistics that it summed on the way; who reads
the map normalizes what it reads (kernels/fused.py). In backward the reader hands down the sums that the normalization's
own gradients are made of. The numbers are those of the layers up to rounding: sums are added in another order.
"""

import numpy as np

from minifer.errors import BackwardError
from minifer.kernels.elementwise import add
from minifer.kernels.fused import begin_norm, end_norm, kept_sums, normalize_add
from minifer.kernels.fused_depthwise import fused_depthwise_backward, fused_depthwise_forward
from minifer.kernels.fused_pointwise import fused_pointwise_backward, fused_pointwise_forward
from minifer.kernels.normalization import batch_moments, normalize, normalize_grad_x
from minifer.kernels.pointwise import MANY_WEIGHTS
from minifer.layers import BatchNorm, Conv2D, DepthwiseConv2D, PointwiseConv2D, Residual, Sequential
from minifer.layers.base import computes_as
from minifer.layers.normalization import CLIPS

FEW_PICTURES = 8  # below that a picture for each thread is too coarse a cut
FEW_ROWS = 768  # below that a product's maps stay in the cache anyway, and the weights are what is read


def _is(layer, *kinds):
    return any(computes_as(layer, kind, "forward", "backward") for kind in kinds)


class _Map:
    """A map between two layers: as it is, or as a convolution left it, whose BatchNorm its reader does."""

    def __init__(self, raw, norm=None, moments=None, made_of=()):
        self.raw, self.norm = raw, norm
        self.low, self.high = CLIPS[norm.activation if norm else None]
        self.value, self._made_of = None, made_of
        if norm is None:
            self.value, self.coefficients = raw, np.empty((0, raw.shape[-1]), raw.dtype)
            return
        norm.check_input(raw, "NHWC", norm.channels)
        self.coefficients, self.inv_std = begin_norm(
            *moments, norm.gamma.value, norm.beta.value, norm.eps, 1 - norm.momentum,
            norm.running_mean.value, norm.running_var.value,
        )  # fmt: skip

    @property
    def rows(self):
        """The map as (M, C)."""
        return self.raw.reshape(-1, self.raw.shape[-1])

    def read(self):
        """Return the map's value as an array, which is then kept."""
        if self.value is None:
            given = (self.coefficients[0], self.inv_std, self.norm.gamma.value, self.norm.beta.value)
            self.value = normalize(self.rows, *given, self.low, self.high).reshape(self.raw.shape)
        return self.value

    @property
    def made_of(self):
        """The maps whose BatchNorm ends in this one's value: what its reader may sum for them."""
        return self._made_of if self.norm is None else (self,)

    def source(self):
        """Return (array, coefficients, low, high) for a kernel that reads the map."""
        if self.value is not None:
            return self.value, self.coefficients[:0], -np.inf, np.inf
        return self.raw, self.coefficients, self.low, self.high

    def end_norm(self, dy, sums):
        """Set the gradients of the BatchNorm and complete the coefficients; return dy, checked.

        sums       [what the map's reader has summed for it], or None where it has not
        """
        dy = self.norm.check_dy(dy, self.raw.shape, self.raw.dtype)
        if sums is None:
            sums = [kept_sums(dy.reshape(self.rows.shape), self.rows, self.coefficients, self.low, self.high)]
        self.norm.gamma.grad, self.norm.beta.grad = end_norm(self.coefficients, self.inv_std, sums[0], len(self.rows))
        return dy

    def grad_raw(self, dy, sums):
        """Return the gradient of the map as the convolution left it, from that of its value."""
        dy, norm = self.end_norm(dy, sums), self.norm
        given = (dy.reshape(self.rows.shape), self.rows, self.coefficients[0], self.inv_std)
        own = (norm.gamma.value, norm.beta.value, self.low, self.high)
        return normalize_grad_x(*given, *own, norm.gamma.grad, norm.beta.grad).reshape(self.raw.shape)


def fused(model):
    """Return a FusedTraining of a Sequential whose layers all train, once each, one of them a BatchNorm; else model."""
    layers = list(_layers(model))
    once = len({id(layer) for layer in layers}) == len(layers)
    frozen = any(layer.frozen for _, layer in model.walk())
    if not _is(model, Sequential) or not once or frozen or not any(_is(layer, BatchNorm) for layer in layers):
        return model
    return FusedTraining(model)


def _layers(layer):
    """Yield a layer and those that it is a sequence of, as often as they stand there."""
    yield layer
    if _is(layer, Sequential, Residual):
        for part in (*layer.layers.values(), *([layer.projection] if getattr(layer, "projection", None) else [])):
            yield from _layers(part)


class FusedTraining:
    """forward and backward of a network that trains, as the model has them; for one thread."""

    def __init__(self, model):
        self.model = model
        self._back = None

    def forward(self, x, training=False):
        """Return logits; without training those of the model."""
        if not training:
            return self.model.forward(x)
        y, self._back = _sequence(self.model, _Map(np.ascontiguousarray(x)))
        return y.read()

    def backward(self, dy):
        """Set every parameter's grad."""
        if self._back is None:
            raise BackwardError("there is nothing to go back through: call forward(..., training=True) first")
        back, self._back = self._back, None
        back(dy, None)


# Each function takes a layer (or two) and a map x, and returns the map y that comes out and a function `back`:
#     back(dy, sums, more=None, stride=1) -> (dx, sums of x)
# dy is the gradient of y's value; sums what y's reader has summed for each of the maps that y is made_of, or None. more
# is another gradient of every stride-th row and column of x, which is added to dx.


def _sequence(sequence, x):
    layers, backs = list(sequence.layers.values()), []
    while layers:
        layer = layers.pop(0)
        if _is_pair(layer, layers):
            x, back = _convolution(layer, layers.pop(0), x)
        elif _is(layer, Residual):
            x, back = _residual(layer, x)
        elif _is(layer, Sequential):
            x, back = _sequence(layer, x)
        else:
            x, back = _other(layer, x)
        backs.append(back)

    def go_back(dy, sums, more=None, stride=1):
        while backs:
            back = backs.pop()
            dy, sums = back(dy, sums) if backs else back(dy, sums, more, stride)
            if dy is None:
                return None, None
        return dy, sums

    return x, go_back


def _is_pair(layer, following):
    """Say whether a layer is a convolution with a BatchNorm after it."""
    return _is(layer, Conv2D, DepthwiseConv2D, PointwiseConv2D) and bool(following) and _is(following[0], BatchNorm)


def _plus(dx, more, stride):
    """Return dx with another gradient of every stride-th row and column added."""
    if more is None or dx is None:
        return dx
    if stride == 1:
        return add(dx, more)
    dx = dx.copy()  # it may be somebody's dy
    dx[:, ::stride, ::stride] += more
    return dx


def _other(layer, x):
    """Any layer, by its own passes."""
    y = layer.forward(x.read(), training=True)

    def back(dy, sums, more=None, stride=1):
        dx = layer.backward(dy) if layer.has_backward() else None
        return _plus(dx, more, stride), None

    return _Map(y), back


def _residual(block, x):
    """A Residual: the sum at its end normalizes what it reads, of both paths."""
    x.read()
    y, back_body = _sequence(block, x)
    shortcut, back_projection, stride = (x, None, 1) if block.projection is None else _projection(block.projection, x)
    block.check_same(y.raw, shortcut.raw)
    if y.value is not None or (shortcut.low, shortcut.high) != CLIPS[None]:
        total = _Map(add(y.read(), shortcut.read()))
    else:
        source, coefficients, _, _ = shortcut.source()
        source = source.reshape(y.rows.shape)
        raw = normalize_add(y.rows, y.coefficients, y.low, y.high, source, coefficients).reshape(y.raw.shape)
        total = _Map(raw, made_of=(y, shortcut) if len(coefficients) else (y,))

    def back(dy, sums, more=None, more_stride=1):
        of_body, of_shortcut = (sums[:1], sums[1:] or None) if sums else (None, None)
        around = dy if back_projection is None else back_projection(dy, of_shortcut)[0]
        if more is None:
            return back_body(dy, of_body, around, stride)
        dx, _ = back_body(dy, of_body, around, stride)
        return _plus(dx, more, more_stride), None

    return total, back


def _projection(projection, x):
    """What a shortcut passes through; also the stride of the rows and columns that its gradient belongs to."""
    layers = list(projection.layers.values()) if _is(projection, Sequential) else [projection]
    if len(layers) == 2 and _is_pair(layers[0], layers[1:]) and isinstance(layers[0], PointwiseConv2D):
        stride = layers[0].stride
        seen = _Map(np.ascontiguousarray(x.read()[:, ::stride, ::stride]))
        if _pays(layers[0], seen):
            return *_pointwise(*layers, seen), stride
    return *(_sequence(projection, x) if _is(projection, Sequential) else _other(projection, x)), 1


def _convolution(layer, norm, x):
    """A convolution and the BatchNorm after it."""
    if isinstance(layer, DepthwiseConv2D) and len(x.raw) >= FEW_PICTURES:
        return _depthwise(layer, norm, x)
    if isinstance(layer, PointwiseConv2D) and layer.stride == 1 and _pays(layer, x):
        return _pointwise(layer, norm, x)
    raw = layer.forward(x.read(), training=True)
    y = _Map(raw, norm, batch_moments(raw.reshape(-1, raw.shape[-1])))

    def back(dy, sums, more=None, stride=1):
        dx = layer.backward(y.grad_raw(dy, sums))
        return _plus(dx, more, stride), None

    return y, back


def _pays(layer, x):
    """Say whether a pointwise convolution is faster fused."""
    return len(x.rows) >= FEW_ROWS and layer.channels * layer.filters <= MANY_WEIGHTS


def _depthwise(layer, norm, x):
    v, *promised = x.source()
    v = layer.check_input(v, "NHWC", layer.channels)
    padding, _, _ = layer.geometry(*v.shape[1:3])
    geometry = (layer.stride, padding, layer.dilation)
    raw, moments = fused_depthwise_forward(v, *promised, layer.weight.value, *geometry)
    y = _Map(raw, norm, moments)
    empty = np.empty(0, raw.dtype)
    nothing = (empty, np.empty((0, layer.channels), raw.dtype))

    def back(dy, sums, more=None, stride=1):
        dy = y.end_norm(dy, sums)
        of, also = ([(m.raw, m.coefficients, m.low, m.high) for m in x.made_of] + [(*nothing, -np.inf, np.inf)] * 2)[:2]
        dx, layer.weight.grad, *sums = fused_depthwise_backward(
            dy, y.raw, y.coefficients, y.low, y.high, v, *promised, layer.weight.value, *geometry,
            empty if more is None else more, stride, *of, *also[:2],
        )  # fmt: skip
        return dx, sums[: len(x.made_of)] or None

    return y, back


def _pointwise(layer, norm, x):
    v, *promised = x.source()
    v = layer.check_input(v, "NHWC", layer.channels)
    rows = v.reshape(-1, layer.channels)
    raw, moments = fused_pointwise_forward(rows, *promised, layer.weight.value)
    y = _Map(raw.reshape(*v.shape[:3], layer.filters), norm, moments)

    def back(dy, sums, more=None, stride=1):
        dy = y.end_norm(dy, sums)
        dweight = layer.weight.grad_memory()
        dweight = np.empty(layer.weight.value.shape, v.dtype) if dweight is None else dweight
        dx, sums = fused_pointwise_backward(
            dy.reshape(y.rows.shape), y.rows, y.coefficients, y.low, y.high, rows, *promised, layer.weight.value,
            dweight,
        )  # fmt: skip
        layer.weight.grad = dweight
        summed = more is None and len(promised[0]) > 0
        return _plus(dx.reshape(v.shape), more, stride), [sums] if summed else None

    return y, back
