"""Smooth activations, each entry by itself.

silu        y = x s                        dx = dy s (1 + x (1 - s))            s = 1 / (1 + exp(-x))
gelu        y = x P                        dx = dy (P + x p)                    P = (1 + erf(x / sqrt 2)) / 2
                                                                                p = exp(-x^2 / 2) / sqrt(2 pi)
hard_swish  y = x min(max(x + 3, 0), 6) / 6
            dx = dy (2 x + 3) / 6 where -3 < x < 3, dy where x >= 3, else 0

Source      Elfwing et al. 2018 and Ramachandran et al. 2017 (SiLU, or swish); Hendrycks & Gimpel 2016 (GELU);
            Howard et al., Searching for MobileNetV3, 2019, section 5.2 (hard swish).
"""

import math

import numpy as np
from numba import prange

from minifer.kernels.denormals import flush_denormals, restore
from minifer.kernels.twin import Twin, parallel

CHUNK = 4096  # entries per task
ROOT_HALF, DENSITY = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)


def silu_forward_numpy(x):
    """y for x of one dimension."""
    return x / (1 + np.exp(-x))


def silu_grad_x_numpy(dy, x):
    """Return dx for dy, x of one dimension."""
    s = 1 / (1 + np.exp(-x))
    return dy * s * (1 + x * (1 - s))


def _normal_cdf(x):
    erf = np.array([math.erf(each) for each in ROOT_HALF * x.astype(np.float64)])
    return (0.5 * (1 + erf)).astype(x.dtype)


def gelu_forward_numpy(x):
    """y for x of one dimension."""
    return x * _normal_cdf(x)


def gelu_grad_x_numpy(dy, x):
    """Return dx for dy, x of one dimension."""
    return dy * (_normal_cdf(x) + x * x.dtype.type(DENSITY) * np.exp(-x * x / 2))


def hard_swish_forward_numpy(x):
    """y for x of one dimension."""
    return x * np.clip(x + 3, 0, 6) / 6


def hard_swish_grad_x_numpy(dy, x):
    """Return dx for dy, x of one dimension."""
    return dy * np.where(x >= 3, x.dtype.type(1), np.where(x > -3, (2 * x + 3) / 6, x.dtype.type(0)))


@parallel
def silu_forward_numba(x):
    """Twin of silu_forward_numpy: one chunk per task."""
    y = np.empty_like(x)
    one = x.dtype.type(1)
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        control = flush_denormals()
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        x_part, y_part = x[part], y[part]
        for i in range(y_part.size):
            y_part[i] = x_part[i] / (one + np.exp(-x_part[i]))
        restore(control)
    return y


@parallel
def silu_grad_x_numba(dy, x):
    """Twin of silu_grad_x_numpy."""
    dx = np.empty_like(x)
    one = x.dtype.type(1)
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        control = flush_denormals()
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        dy_part, x_part, dx_part = dy[part], x[part], dx[part]
        for i in range(dx_part.size):
            s = one / (one + np.exp(-x_part[i]))
            dx_part[i] = dy_part[i] * s * (one + x_part[i] * (one - s))
        restore(control)
    return dx


@parallel
def gelu_forward_numba(x):
    """Twin of gelu_forward_numpy."""
    y = np.empty_like(x)
    one, half, root = x.dtype.type(1), x.dtype.type(0.5), x.dtype.type(ROOT_HALF)
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        control = flush_denormals()
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        x_part, y_part = x[part], y[part]
        for i in range(y_part.size):
            y_part[i] = x_part[i] * half * (one + math.erf(root * x_part[i]))
        restore(control)
    return y


@parallel
def gelu_grad_x_numba(dy, x):
    """Twin of gelu_grad_x_numpy."""
    dx = np.empty_like(x)
    one, half, root = x.dtype.type(1), x.dtype.type(0.5), x.dtype.type(ROOT_HALF)
    density = x.dtype.type(DENSITY)
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        control = flush_denormals()
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        dy_part, x_part, dx_part = dy[part], x[part], dx[part]
        for i in range(dx_part.size):
            z = x_part[i]
            dx_part[i] = dy_part[i] * (half * (one + math.erf(root * z)) + z * density * np.exp(-half * z * z))
        restore(control)
    return dx


@parallel
def hard_swish_forward_numba(x):
    """Twin of hard_swish_forward_numpy."""
    y = np.empty_like(x)
    zero, three, six = x.dtype.type(0), x.dtype.type(3), x.dtype.type(6)
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        control = flush_denormals()
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        x_part, y_part = x[part], y[part]
        for i in range(y_part.size):
            y_part[i] = x_part[i] * min(max(x_part[i] + three, zero), six) / six
        restore(control)
    return y


@parallel
def hard_swish_grad_x_numba(dy, x):
    """Twin of hard_swish_grad_x_numpy."""
    dx = np.empty_like(x)
    zero, two, three, six = x.dtype.type(0), x.dtype.type(2), x.dtype.type(3), x.dtype.type(6)
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        control = flush_denormals()
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        dy_part, x_part, dx_part = dy[part], x[part], dx[part]
        for i in range(dx_part.size):
            z = x_part[i]
            if z >= three:
                dx_part[i] = dy_part[i]
            elif z > -three:
                dx_part[i] = dy_part[i] * (two * z + three) / six
            else:
                dx_part[i] = zero
        restore(control)
    return dx


silu_forward = Twin(silu_forward_numpy, silu_forward_numba)
silu_grad_x = Twin(silu_grad_x_numpy, silu_grad_x_numba)
gelu_forward = Twin(gelu_forward_numpy, gelu_forward_numba)
gelu_grad_x = Twin(gelu_grad_x_numpy, gelu_grad_x_numba)
hard_swish_forward = Twin(hard_swish_forward_numpy, hard_swish_forward_numba)
hard_swish_grad_x = Twin(hard_swish_grad_x_numpy, hard_swish_grad_x_numba)
