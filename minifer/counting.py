"""Count multiply-adds by doing them one at a time: the proof of the formulas in minifer/cost.py.

    with counting() as counter:
        y = layer.forward(x, training=True)
    counter.multiply_adds

Inside the with statement the loops below take the place of the kernels that multiply (the others run as their NumPy
references), so it is the layer itself that runs: its padding, its strides, the gradients that it skips. Every
multiply-add goes through Counter.multiply_add, nothing else is counted: no bias, normalization, activation, softmax or
pooling. Loops in Python are some thousand times slower than the kernels: use small shapes.

A layer that multiplies by itself, in NumPy or in loops of its own, would count nothing: it is refused, with the name of
its method. What such a layer multiplies can go through minifer's layers, or through Counter.multiply_add by hand.

Convolutions multiply the zeros of the padding too, as in the usual formula. (The fast depthwise kernels leave them out:
in a 3x3 kernel on a 2x2 map five products of nine.)
"""

import copy
import dis
import functools
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minifer.errors import LayerError
from minifer.kernels.twin import use_backend, use_kernels
from minifer.layers import Layer, ScaledDotProductAttention
from minifer.own_code import PACKAGE, is_library_file


class Counter:
    """Does multiply-adds and counts them."""

    def __init__(self):
        self.multiply_adds = 0

    def multiply_add(self, total, a, b):
        """Return total + a * b."""
        self.multiply_adds += 1
        return total + a * b

    # Matrix products: ordinary convolutions (after im2col), pointwise ones, dense layers.

    def pointwise_forward(self, x, weight):
        """y[m,f] = sum_c x[m,c] * weight[c,f]."""
        return self._product(x, weight, np.zeros((len(x), weight.shape[1]), x.dtype))

    def pointwise_grad_x(self, dy, weight):
        """dx[m,c] = sum_f dy[m,f] * weight[c,f]."""
        return self._product(dy, weight.T, np.zeros((len(dy), len(weight)), dy.dtype))

    def pointwise_grad_weight(self, x, dy, out=None):
        """dweight[c,f] = sum_m x[m,c] * dy[m,f], in `out` if it is given."""
        out = np.empty((x.shape[1], dy.shape[1]), x.dtype) if out is None else out
        out[...] = 0
        return self._product(x.T, dy, out)

    def _product(self, a, b, out):
        """Add a (rows, inner) @ b (inner, columns) to out (rows, columns)."""
        rows, inner = a.shape
        for row in range(rows):
            for column in range(b.shape[1]):
                for k in range(inner):
                    out[row, column] = self.multiply_add(out[row, column], a[row, k], b[k, column])
        return out

    # Depthwise convolutions, on a padded copy.

    def depthwise_forward(self, x, weight, stride, padding, dilation=1):
        """y[n,i,j,c] = sum_uv x[n, i*s+u*d, j*s+v*d, c] * weight[u,v,c]."""
        x = _padded(x, padding)
        kh, kw, channels = weight.shape
        rows, columns = (
            (size - dilation * (k - 1) - 1) // stride + 1 for size, k in zip(x.shape[1:3], (kh, kw), strict=True)
        )
        y = np.zeros((len(x), rows, columns, channels), x.dtype)
        for n, i, j, c, u, v in np.ndindex(*y.shape, kh, kw):
            factor = x[n, i * stride + u * dilation, j * stride + v * dilation, c]
            y[n, i, j, c] = self.multiply_add(y[n, i, j, c], factor, weight[u, v, c])
        return y

    def depthwise_grad_x(self, dy, weight, stride, padding, height, width, dilation=1):
        """dx[n, i*s+u*d, j*s+v*d, c] += dy[n,i,j,c] * weight[u,v,c]."""
        top, _, left, _ = padding
        dx = _padded(np.zeros((len(dy), height, width, dy.shape[3]), dy.dtype), padding)
        for n, i, j, c, u, v in np.ndindex(*dy.shape, *weight.shape[:2]):
            p, q = i * stride + u * dilation, j * stride + v * dilation
            dx[n, p, q, c] = self.multiply_add(dx[n, p, q, c], dy[n, i, j, c], weight[u, v, c])
        return np.ascontiguousarray(dx[:, top : top + height, left : left + width])

    def depthwise_grad_weight(self, x, dy, stride, padding, kh, kw, dilation=1):
        """dweight[u,v,c] = sum_nij x[n, i*s+u*d, j*s+v*d, c] * dy[n,i,j,c]."""
        x = _padded(x, padding)
        dweight = np.zeros((kh, kw, x.shape[3]), x.dtype)
        for n, i, j, c, u, v in np.ndindex(*dy.shape, kh, kw):
            factor = x[n, i * stride + u * dilation, j * stride + v * dilation, c]
            dweight[u, v, c] = self.multiply_add(dweight[u, v, c], factor, dy[n, i, j, c])
        return dweight

    # Attention: two products forward, five backward.

    def attention_forward(self, query, key, value, scale):
        """Return y[t] = sum_s softmax_s(scale * query[t] . key[s]) * value[s], and the logarithm of each row's sum."""
        scores = self._dots(query, key) * scale
        log_sum = np.log(np.exp(scores).sum(axis=-1))
        return self._mix(np.exp(scores - log_sum[..., None]), value), log_sum

    def attention_backward(self, dy, query, key, value, y, log_sum, scale):
        """Return dquery, dkey, dvalue; the scores are computed once more, since forward did not keep them."""
        probs = np.exp(self._dots(query, key) * scale - log_sum[..., None])
        dprobs = self._dots(dy, value)
        dscores = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True)) * scale
        swapped = dscores.swapaxes(2, 3), probs.swapaxes(2, 3)
        return self._mix(dscores, key), self._mix(swapped[0], query), self._mix(swapped[1], dy)

    def _dots(self, a, b):
        """Return table[n,h,t,s] = sum_d a[n,t,h,d] * b[n,s,h,d]."""
        batch, tokens, heads, width = a.shape
        table = np.zeros((batch, heads, tokens, tokens), a.dtype)
        for n, h, t, s, d in np.ndindex(*table.shape, width):
            table[n, h, t, s] = self.multiply_add(table[n, h, t, s], a[n, t, h, d], b[n, s, h, d])
        return table

    def _mix(self, table, rows):
        """Return out[n,t,h,d] = sum_s table[n,h,t,s] * rows[n,s,h,d]."""
        out = np.zeros_like(rows)
        for n, h, t, s, d in np.ndindex(*table.shape, rows.shape[-1]):
            out[n, t, h, d] = self.multiply_add(out[n, t, h, d], table[n, h, t, s], rows[n, s, h, d])
        return out


KERNELS = (  # all kernels with a cost; each is a method of Counter
    "pointwise_forward",
    "pointwise_grad_x",
    "pointwise_grad_weight",
    "depthwise_forward",
    "depthwise_grad_x",
    "depthwise_grad_weight",
    "attention_forward",
    "attention_backward",
)


def _padded(x, padding):
    """Return x (N,H,W,C) with (top, bottom, left, right) rows and columns of zeros."""
    top, bottom, left, right = padding
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))


@contextmanager
def counting():
    """Run the body of a with statement on loops that count; gives the Counter.

    Raises   LayerError when a forward or backward that is not minifer's multiplies, which nobody would count
    """
    counter = Counter()
    before = sys.getprofile()
    with use_backend("numpy"), use_kernels({name: _unwatched(getattr(counter, name)) for name in KERNELS}):
        sys.setprofile(_refuse_products)
        try:
            yield counter
        finally:
            sys.setprofile(before)


def _unwatched(kernel):
    """Return a kernel that runs without the watch on calls: its loops call millions of times."""

    def run(*arguments):
        sys.setprofile(None)
        try:
            return kernel(*arguments)
        finally:
            sys.setprofile(_refuse_products)

    return run


# What Python runs is watched call by call, since nothing else sees that a @ b was computed.

PRODUCTS = {"dot", "matmul", "einsum", "tensordot", "inner", "outer", "vdot", "vecdot", "matvec", "multi_dot", "kron"}
PRODUCTS |= {"multiply", "mul", "convolve", "correlate", "convolve2d", "correlate2d", "fftconvolve", "average"}
SIGNS = {"*", "@", "*=", "@="}


def _refuse_products(frame, event, _):
    if event == "call" and _multiplies(frame.f_code):
        method = frame
        while method is not None and not (method.f_code.co_name in ("forward", "backward") and _is_own(method.f_code)):
            method = method.f_back
        if method is not None:
            name = f"{type(method.f_locals.get('self')).__name__}.{method.f_code.co_name}"
            place = f"{Path(frame.f_code.co_filename).name}, line {frame.f_code.co_firstlineno}"
            raise LayerError(
                f"{name} multiplies by itself ({place}), which is not counted: only what minifer's layers multiply is; "
                "use those, or do your products with Counter().multiply_add (sizes can be had from math.prod)"
            )


def _is_own(code):
    return not is_library_file(code.co_filename)


@functools.cache
def _multiplies(code):
    """Whether a function has a product in it and is not the libraries', or is a kernel called past its Twin."""
    if not _is_own(code):
        return code.co_name.removesuffix("_numpy") in KERNELS and code.co_filename.startswith(str(PACKAGE))
    steps = dis.get_instructions(code)  # in Python 3.10 a product is a BINARY_MULTIPLY, later a BINARY_OP with a sign
    signs = any(step.argrepr in SIGNS or step.opname.endswith("_MULTIPLY") for step in steps)
    return signs or not PRODUCTS.isdisjoint(code.co_names)


@dataclass(frozen=True)
class Counted:
    """The multiply-adds that forward and backward executed for one picture."""

    forward: int
    backward: int


def counted(layer, input_shape, seed=0):
    """Run a copy of a layer or model on one random picture, forward and backward, and return what it Counted.

    counted(layer, shape).forward == count(layer, shape).forward.multiply_adds, and the same of backward.

    Raises   LayerError for a layer that is none of minifer's, or multiplies by itself
    """
    if not isinstance(layer, Layer):
        raise LayerError(f"{type(layer).__name__} is no minifer.layers.Layer: what it multiplies is not counted")
    rng, layer = np.random.default_rng(seed), copy.deepcopy(layer)
    arguments = 3 if isinstance(layer, ScaledDotProductAttention) else 1  # query, key and value
    inputs = [rng.standard_normal((1, *input_shape)).astype(np.float32) for _ in range(arguments)]
    with counting() as counter:
        y = layer.forward(*inputs, training=True)
        forward = counter.multiply_adds
        if layer.has_backward():
            layer.backward(rng.standard_normal(y.shape).astype(np.float32))
    return Counted(forward, counter.multiply_adds - forward)
