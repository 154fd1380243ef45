"""The softmax of a row of numbers, as vector instructions written by hand.

    exponentials    x[s] = exp(scale * x[s] - shift)        returns their sum
    largest         returns max_s x[s]

    exp(z) = 2^n exp(r)        n = z / ln 2 rounded, r = z - n ln 2, so that |r| <= ln 2 / 2: a short series of r

A compiled loop calls the library for one number after another; made of multiplications and additions only, it does a
vector at a time. 2^n needs no arithmetic: n goes where a floating-point number keeps its exponent. Adding ROUNDING, so
large that nothing after the point has room, rounds z / ln 2 and leaves n in the lowest bits at once.
"""

import functools
import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minifer.kernels.twin import serial
from minifer.kernels.vectors import INDEX, INTEGER, VECTOR_BYTES, Emitter


class _Form:
    """The numbers of one floating-point format; 1.5 * 2^fraction is ROUNDING."""

    def __init__(self, fraction, bias, terms, ln2_high, ln2_low):
        self.fraction, self.bias, self.rounding = fraction, bias, 1.5 * 2.0**fraction
        self.series = [1 / math.factorial(k) for k in range(terms)]
        self.ln2_high, self.ln2_low = (
            ln2_high,
            ln2_low,
        )  # ln 2 in two parts, the first so short that n times it is exact
        self.least = -(bias - 1) * math.log(2)  # below it 2^n would be denormal; its exponential counts as nothing


FORMS = {
    4: _Form(23, 127, 8, 0.693359375, -2.12194440e-4),
    8: _Form(52, 1023, 14, 0.693145751953125, 1.42860682030941723e-6),
}


def _exponentials_loops(x, start, length, scale, shift):
    total = x.dtype.type(0)
    for s in range(start, start + length):
        x[s] = np.exp(scale * x[s] - shift)
        total += x[s]
    return total


def _largest_loops(x, start, length):
    top = -np.inf
    for s in range(start, start + length):
        top = x[s] if x[s] > top else top
    return x.dtype.type(top)


def _emit_exponential(emit, z, kind):
    """Return exp(z) for a vector or a number z; a NaN stays one, and what is too small counts as the least."""
    builder, fma, form = emit.builder, emit.fma(kind), FORMS[emit.element_bytes]
    lanes = getattr(kind, "count", None)
    bits = ir.IntType(8 * emit.element_bytes)
    bits = ir.VectorType(bits, lanes) if lanes else bits

    def number(value, of=kind):
        return ir.Constant(of, [value] * lanes if lanes else value)

    least = number(form.least)
    z = builder.select(builder.fcmp_ordered("<", z, least), least, z)
    rounded = builder.call(fma, [z, number(1 / math.log(2)), number(form.rounding)])
    n = builder.fsub(rounded, number(form.rounding))
    r = builder.call(fma, [n, number(-form.ln2_high), z])
    r = builder.call(fma, [n, number(-form.ln2_low), r])
    value = number(form.series[-1])
    for coefficient in reversed(form.series[:-1]):
        value = builder.call(fma, [value, r, number(coefficient)])
    exponent = builder.add(builder.bitcast(rounded, bits), number(form.bias, bits))
    power = builder.bitcast(builder.shl(exponent, number(form.fraction, bits)), kind)
    return builder.fmul(value, power)


def _widths(emit):
    """Return the lanes of the loops along a row: by whole vectors, then narrow ones, then single numbers."""
    return [
        (lanes, ir.VectorType(emit.element, lanes) if lanes > 1 else emit.element)
        for lanes in (emit.lanes, emit.few_lanes, 1)
    ]


def _folded(builder, value, combine):
    """Return what combine makes of all numbers of a vector, one half with the other, until there is one."""
    lanes = getattr(value.type, "count", 1)
    while lanes > 1:
        lanes //= 2
        kind = ir.VectorType(INDEX, lanes)
        halves = [
            builder.shuffle_vector(value, value, ir.Constant(kind, [first + lane for lane in range(lanes)]))
            for first in (0, lanes)
        ]
        value = combine(*halves)
    return builder.extract_element(value, INDEX(0)) if isinstance(value.type, ir.VectorType) else value


def _emit_exponentials(context, builder, signature, args):
    """Emit the loops of exponentials."""
    emit = Emitter(context, builder, signature, args)
    _, start, length, scale, shift = args
    x = emit.pointer(0, start)
    place = cgutils.alloca_once_value(builder, INTEGER(0))
    sums = []
    for lanes, kind in _widths(emit):
        scales, shifts = (emit.fill(number, kind) if lanes > 1 else number for number in (scale, shift))
        total = cgutils.alloca_once_value(builder, ir.Constant(kind, None))
        with emit.while_room(place, lanes, length) as s:
            pointer = emit.vector_at(x, s, kind)
            # Not fused: where shift is scale * the largest x, rounded, z must not become larger than 0.
            z = builder.fsub(builder.fmul(emit.load(pointer), scales), shifts)
            value = _emit_exponential(emit, z, kind)
            emit.store(value, pointer)
            builder.store(builder.fadd(builder.load(total), value), total)
        sums.append(_folded(builder, builder.load(total), builder.fadd))
    return functools.reduce(builder.fadd, sums)


def _emit_largest(context, builder, signature, args):
    """Emit the loops of largest; four vectors at a time, since each comparison waits for the one before."""
    emit = Emitter(context, builder, signature, args)
    x, length = emit.pointer(0, args[1]), args[2]
    place = cgutils.alloca_once_value(builder, INTEGER(0))

    def larger(a, b):
        return builder.select(builder.fcmp_ordered(">", a, b), a, b)

    found, widths = [], _widths(emit)
    for (lanes, kind), vectors in zip([widths[0], *widths], (4, 1, 1, 1), strict=True):
        least = ir.Constant(kind, [-math.inf] * lanes if lanes > 1 else -math.inf)
        tops = [cgutils.alloca_once_value(builder, least) for _ in range(vectors)]
        with emit.while_room(place, lanes * vectors, length) as s:
            for v, top in enumerate(tops):
                value = emit.load(emit.vector_at(x, builder.add(s, INTEGER(v * lanes)), kind))
                builder.store(larger(value, builder.load(top)), top)
        found.append(_folded(builder, functools.reduce(larger, [builder.load(top) for top in tops]), larger))
    return functools.reduce(larger, found)


if VECTOR_BYTES:

    @intrinsic
    def exponentials(typing, x, start, length, scale, shift):
        """x[start + s] = exp(scale * x[start + s] - shift) for 0 <= s < length; return their sum.

        x is a one-dimensional array of a floating-point dtype, scale and shift are numbers of it. scale * x - shift is
        at most 0, as after taking the largest away, or a NaN, which stays one. What would be smaller than the least
        normal number of the dtype counts as that number.
        """
        number = x.dtype
        return number(x, types.intp, types.intp, number, number), _emit_exponentials

    @intrinsic
    def largest(typing, x, start, length):
        """Return the largest x[start + s] for 0 <= s < length; a NaN is none."""
        return x.dtype(x, types.intp, types.intp), _emit_largest
else:
    exponentials, largest = serial(_exponentials_loops), serial(_largest_loops)
