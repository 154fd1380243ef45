"""Pointwise products from numbers rounded to bfloat16, half as wide: a setting of training.

    y = round(x) @ round(weight)        round(v): v with 8 significant bits in place of float32's 24, to nearest even

bfloat16 is the upper half of a float32: its range, less than its precision. A product of two such numbers is exact in
float32, where the sums are kept: only the factors lose bits. A processor with AVX-512 BF16 multiplies pairs of them,
total + a_0 * b_0 + a_1 * b_1 in each of 16 lanes. So neighbours along the sum are kept as a pair in the place of one
float32 (an array of uint32), and the product of kernels/matmul.py runs as it does, over half as many steps.

    with products("bfloat16"):                       # in this thread alone
        logits = model.forward(x, training=True)
        model.backward(dlogits)

What is stored and updated, weights, gradients and all maps, stays float32. So do layers of few weights, which wait for
memory: the stem, the first blocks and the classifier. Denormal numbers count as 0 (kernels/denormals.py).

Source: Kalamkar et al., A study of BFLOAT16 for deep learning training, 2019.
"""

from contextlib import nullcontext

import numpy as np
from numba import prange

from minifer.kernels import matmul
from minifer.kernels.pointwise import (
    MANY_WEIGHTS,
    pointwise_forward,
    pointwise_grad_weight,
    pointwise_grad_weight_numpy,
    pointwise_grad_x,
)
from minifer.kernels.twin import Twin, parallel, serial, use_kernels
from minifer.kernels.vectors import HAS_BFLOAT16

UPPER = np.uint32(0xFFFF0000)


def round_to_bfloat16(x):
    """Return float32 x rounded to the nearest bfloat16, a tie to the even one; NaN stays NaN."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1)) & UPPER
    return np.where(np.isnan(x), np.float32(np.nan), rounded.view(np.float32))


@serial
def _rounded(number):
    """Return the bits of a float32 whose upper half is that of round_to_bfloat16."""
    if np.isnan(number):
        return np.uint32(0x7FC00000)
    bits = np.float32(number).view(np.uint32)
    return np.uint32(np.uint32(bits + np.uint32(0x7FFF)) + np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1)))


@serial
def _pair(first, second):
    """Return two numbers as one: the first in the lower half."""
    return np.uint32(np.uint32(_rounded(second) & UPPER) | np.uint32(_rounded(first) >> np.uint32(16)))


@parallel
def pairs_of_columns(x):
    """pairs[m, k] = x[m, 2k] and x[m, 2k+1], for sums along the rows of x; an odd last one is paired with 0."""
    rows, columns = x.shape
    pairs = np.empty((rows, (columns + 1) // 2), np.uint32)
    for m in prange(rows):
        source, target = x[m], pairs[m]
        for k in range(columns // 2):
            target[k] = _pair(source[2 * k], source[2 * k + 1])
        if columns % 2:
            target[columns // 2] = _pair(source[columns - 1], np.float32(0))
    return pairs


@parallel
def pairs_of_rows(x):
    """pairs[k, n] = x[2k, n] and x[2k+1, n], for sums along the columns of x; an odd last one is paired with 0."""
    rows, columns = x.shape
    pairs = np.empty(((rows + 1) // 2, columns), np.uint32)
    nothing = np.zeros(columns, x.dtype)
    for k in prange(pairs.shape[0]):
        first, second, target = x[2 * k], x[2 * k + 1] if 2 * k + 1 < rows else nothing, pairs[k]
        for n in range(columns):
            target[n] = _pair(first[n], second[n])
    return pairs


def bfloat16_forward_numpy(x, weight):
    """y = round(x) @ round(weight) for x (M, C), weight (C, F), float32."""
    return round_to_bfloat16(x) @ round_to_bfloat16(weight)


def bfloat16_grad_x_numpy(dy, weight):
    """Return dx = round(dy) @ round(weight).T for dy (M, F)."""
    return round_to_bfloat16(dy) @ round_to_bfloat16(weight).T


def bfloat16_grad_weight_numpy(x, dy, out=None):
    """Return dweight = round(x).T @ round(dy) for x (M, C), dy (M, F), in `out` if it is given."""
    return pointwise_grad_weight_numpy(round_to_bfloat16(x), round_to_bfloat16(dy), out)


def bfloat16_forward_numba(x, weight):
    """y in register tiles of pairs."""
    return matmul.multiply(pairs_of_columns(x), pairs_of_rows(weight))


def bfloat16_grad_x_numba(dy, weight):
    """Return dx in register tiles of pairs."""
    return matmul.multiply_transposed_right(pairs_of_columns(dy), pairs_of_columns(weight))


def bfloat16_grad_weight_numba(x, dy, out=None):
    """Return dweight in register tiles of pairs, in `out` if it is given."""
    return matmul.multiply_transposed_left(pairs_of_rows(x), pairs_of_rows(dy), out)


bfloat16_forward = Twin(bfloat16_forward_numpy, bfloat16_forward_numba)
bfloat16_grad_x = Twin(bfloat16_grad_x_numpy, bfloat16_grad_x_numba)
bfloat16_grad_weight = Twin(bfloat16_grad_weight_numpy, bfloat16_grad_weight_numba)


def _forward(x, weight):
    return (bfloat16_forward if weight.size > MANY_WEIGHTS else pointwise_forward.itself)(x, weight)


def _grad_x(dy, weight):
    return (bfloat16_grad_x if weight.size > MANY_WEIGHTS else pointwise_grad_x.itself)(dy, weight)


def _grad_weight(x, dy, out=None):
    many = x.shape[1] * dy.shape[1] > MANY_WEIGHTS
    return (bfloat16_grad_weight if many else pointwise_grad_weight.itself)(x, dy, out)


STAND_INS = {"pointwise_forward": _forward, "pointwise_grad_x": _grad_x, "pointwise_grad_weight": _grad_weight}


def check_products(name):
    """Raise ValueError where this processor cannot multiply "float32" or "bfloat16", as the setting is called."""
    if name == "bfloat16" and not HAS_BFLOAT16:
        raise ValueError("this processor has no instructions for bfloat16 (AVX-512 BF16), or nothing is compiled")


def products(name):
    """Return a context in which pointwise products multiply numbers of that name; errors as in check_products."""
    check_products(name)
    return use_kernels(STAND_INS) if name == "bfloat16" else nullcontext()
