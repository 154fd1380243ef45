"""Pointwise products of bytes: a setting of inference (see minifer/inference.py).

    y[f] = scale[f] * sum_c  u[c] * q[c,f]            u[c]   = x[c] * 255 / 6, rounded: 0 to 255, for x from 0 to 6
                                                      q[c,f] = weight[c,f] / step[f], rounded: -127 to 127
    step[f] = max_c |weight[c,f]| / 127               scale  = step * 6 / 255

What ReLU6 leaves lies between 0 and 6, so that no pictures are needed to find out its range. A processor with VNNI
multiplies four bytes by four others and adds the products to one sum, total + u_0 * q_0 + ... + u_3 * q_3, in a lane.
So neighbours along the sum are kept as four in the place of one float32 (an array of int32), and the register tile of
kernels/tile.py runs as it does, over a quarter of the steps. Sums of integers are exact; only u and q are rounded.

Source: Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference,
2018, with a step for each output channel.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minifer.kernels import matmul
from minifer.kernels.normalized import row_emitter
from minifer.kernels.twin import Twin, serial
from minifer.kernels.vectors import VECTOR_BYTES

FOUR = 4
LARGEST = 6.0  # of what ReLU6 leaves
UNITS = np.float32(255 / LARGEST)  # steps of u in 1
HALF = np.float32(0.5)


@serial
def round_to_bytes(x, start, row, octets, place, octets_row, rows, channels):
    """Write rows of x, between 0 and 6, as bytes; rows lie `row` numbers of x and `octets_row` bytes apart."""
    for r in range(rows):
        source = x[start + r * row : start + r * row + channels]
        target = octets[place + r * octets_row : place + r * octets_row + channels]
        for c in range(channels):
            target[c] = np.uint8(np.int32(source[c] * UNITS + HALF))


def fours_of_columns(octets):
    """Return bytes (M, C) as (M, ceil(C / 4)) int32, those of the last filled up with zeros."""
    padded = np.pad(octets, ((0, 0), (0, -octets.shape[1] % FOUR)))
    return np.ascontiguousarray(padded).view(np.int32)


def fours_of_rows(octets):
    """Return bytes (C, F) as (ceil(C / 4), F) int32, those of the last filled up with zeros."""
    return np.ascontiguousarray(fours_of_columns(octets.T).T)


def quantize(weight):
    """Return (q (C,F) int8, step (F,) float32) of weight (C,F); a column of zeros stays one."""
    largest = np.abs(weight).max(axis=0, initial=0)
    step = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.rint(weight / step).astype(np.int8), step


def octets_forward_numpy(x, weight):
    """Return y (M,F) for x (M,C) between 0 and 6, weight (C,F), float32."""
    q, step = quantize(weight)
    u = np.floor(x * UNITS + HALF).astype(np.int64)
    return (u @ q).astype(np.float32) * (step / UNITS)


def octets_forward_numba(x, weight):
    """Return y in register tiles of fours."""
    q, step = quantize(weight)
    u = np.empty(x.shape, np.uint8)
    round_to_bytes(x.reshape(-1), 0, x.shape[1], u.reshape(-1), 0, x.shape[1], *x.shape)
    sums = matmul.multiply(fours_of_columns(u), fours_of_rows(q))
    return sums.astype(np.float32) * (step / UNITS)


def _body_rescale(builder, values, numbers, scalars):
    (y,), (scale,) = values, numbers
    lanes = getattr(y.type, "count", 0)
    whole = ir.VectorType(ir.IntType(32), lanes) if lanes else ir.IntType(32)
    return builder.fmul(builder.sitofp(builder.bitcast(y, whole), y.type), scale), ()


if VECTOR_BYTES:
    _emit_rescale = row_emitter(
        inputs=[(0, 1, 2)], output=(0, 1, 2), numbers=3, numbers_start=4, count=1, scalars=(), sums=None,
        body=_body_rescale,
    )  # fmt: skip

    @intrinsic
    def rescale(typing, y, y_start, y_row, scale, scale_start, rows, columns):
        """Turn rows of int32, kept in the place of float32, into these, times the scale of each column."""
        i = types.intp
        return types.void(y, i, i, scale, i, i, i), _emit_rescale
else:

    @serial
    def rescale(y, y_start, y_row, scale, scale_start, rows, columns):
        """The same."""
        whole = y.view(np.int32)
        for r in range(rows):
            for v in range(columns):
                place = y_start + r * y_row + v
                y[place] = np.float32(whole[place]) * scale[scale_start + v]


octets_forward = Twin(octets_forward_numpy, octets_forward_numba)
