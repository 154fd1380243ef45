"""A window of 3x3 pixels that slides along a row, what is in it kept in registers: for depthwise kernels of stride 1.

    filter_row            out[q] = sum_uv  a[u, q+v-1] * weight[u,v]           a: the rows above, at, and below
    sum_row               sums[u,v] += sum_q  x[q] * a[u, q+v-1]               0 where there is no pixel
    filter_and_sum_row    both

Each is for all channels c, which are lanes of one vector. One step to the right loads three pixels, for nine products
of filter_row and nine more of sum_row, where kernels/rows.py loads two for each product. A sum over a window is the
convolution's forward; with the nine weights in reverse order it is the gradient by x, and the window that this needs,
of dy, is the one that the gradient by the weights needs (sums[t] is then that of weight 8-t).

Plain loops take over where the processor lacks fused multiply-add or the JIT is off (see kernels/vectors.py).
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minifer.kernels.twin import serial
from minifer.kernels.vectors import INTEGER, VECTOR_BYTES, Emitter

SIDE, TAPS = 3, 9


def slides(kh, kw, stride, padding, dilation):
    """Whether a depthwise convolution is one that this file is for: 3x3, and as many pixels come out as go in."""
    return (kh, kw, stride, dilation) == (SIDE, SIDE, 1, 1) and tuple(padding) == (1, 1, 1, 1)


@serial
def neighbours(row, height, start, line, kept):
    """Return where the rows above, at and below a row of a picture begin, -1 for one that is not there.

    The array holds rows of `line` numbers from start on: all of them (kept = height), or three that take turns (3).
    """
    above = start + (row - 1) % kept * line if row > 0 else -1
    below = start + (row + 1) % kept * line if row + 1 < height else -1
    return above, start + row % kept * line, below


def _at(a, start, q, width, c, channels):
    return a[start + q * channels + c] if start >= 0 and 0 <= q < width else a.dtype.type(0)


def _filter_row_loops(out, out_start, a, above, middle, below, zeros, weight, width, channels):
    for q in range(width):
        for c in range(channels):
            total = a.dtype.type(0)
            for v in range(3):
                total += at(a, above, q + v - 1, width, c, channels) * weight[v * channels + c]
                total += at(a, middle, q + v - 1, width, c, channels) * weight[(3 + v) * channels + c]
                total += at(a, below, q + v - 1, width, c, channels) * weight[(6 + v) * channels + c]
            out[out_start + q * channels + c] = total


def _sum_row_loops(a, above, middle, below, zeros, x, x_start, sums, sums_start, width, channels):
    for q in range(width):
        for c in range(channels):
            xq = x[x_start + q * channels + c]
            for v in range(3):
                place = sums_start + v * channels + c
                sums[place] += xq * at(a, above, q + v - 1, width, c, channels)
                sums[place + 3 * channels] += xq * at(a, middle, q + v - 1, width, c, channels)
                sums[place + 6 * channels] += xq * at(a, below, q + v - 1, width, c, channels)


def _emitter(a, shape, out=None, weight=None, x=None, sums=None):
    """Return what emits one of the three.

    a          argument of the array with the rows, which their three starts and the zeros follow
    out, x, sums    arguments of arrays that their start follows, or None; weight is None like out
    shape      argument of the width, which the channels follow
    """

    def emitted(context, builder, signature, args):
        emit = Emitter(context, builder, signature, args)
        width, channels = args[shape : shape + 2]
        zeros, rows = emit.data(a + 4), []
        for start in args[a + 1 : a + 4]:
            absent = builder.icmp_signed("<", start, INTEGER(0))  # then all its pixels are the zeros
            first = builder.select(absent, zeros, builder.gep(emit.data(a), [start]))
            rows.append((first, builder.select(absent, INTEGER(0), channels)))
        place = cgutils.alloca_once_value(builder, INTEGER(0))
        for lanes in (emit.lanes, emit.lanes // 4, 1):
            kind = ir.VectorType(emit.element, lanes) if lanes > 1 else emit.element
            with emit.while_room(place, lanes, channels) as c:
                slide(emit, kind, c, rows, zeros, width, channels)
        return context.get_dummy_value()

    def slide(emit, kind, c, rows, zeros, width, channels):
        """Emit the way along the row for the channels of one vector, from channel c on."""
        builder, args = emit.builder, emit.args
        zero = ir.Constant(kind, [0.0] * kind.count if isinstance(kind, ir.VectorType) else 0.0)

        def read(pointer):
            return emit.load(emit.vector_at(pointer, 0, kind))

        def tap(base, t):
            return emit.vector_at(base, builder.add(builder.mul(INTEGER(t), channels), c), kind)

        def product(x, y, total):
            return builder.call(emit.fma(kind), [x, y, total])

        weights = [emit.load(tap(emit.data(weight), t)) for t in range(TAPS)] if weight is not None else []
        totals = (
            [emit.load(tap(emit.pointer(sums, args[sums + 1]), t)) for t in range(TAPS)] if sums is not None else []
        )
        moving = [builder.gep(emit.pointer(i, args[i + 1]), [c]) for i in (out, x) if i is not None]
        pixels = [builder.gep(first, [c]) for first, _ in rows]

        def step(values):
            q, pixels, left, middle, moving = values[0], values[1:4], values[4:7], values[7:10], values[10:totals_at]
            sums = values[totals_at:]
            following = builder.add(q, INTEGER(1))
            more = builder.icmp_signed("<", following, width)
            steps = [builder.gep(pixel, [size]) for pixel, (_, size) in zip(pixels, rows, strict=True)]
            pixels = [builder.select(more, pixel, zeros) for pixel in steps]
            right = [read(pixel) for pixel in pixels]
            window = [column[u] for u in range(SIDE) for column in (left, middle, right)]
            if weights:
                lines = []  # a sum for each row, which need not wait for each other
                for u in range(0, TAPS, SIDE):
                    line = builder.fmul(window[u], weights[u])
                    line = product(window[u + 1], weights[u + 1], line)
                    lines.append(product(window[u + 2], weights[u + 2], line))
                total = builder.fadd(builder.fadd(lines[0], lines[1]), lines[2])
                emit.store(total, emit.vector_at(moving[0], 0, kind))
            if sums:
                here = read(moving[-1])
                sums = [product(here, seen, total) for seen, total in zip(window, sums, strict=True)]
            moving = [builder.gep(pointer, [channels]) for pointer in moving]
            return [following, *pixels, *middle, *right, *moving, *sums]

        totals_at = 10 + len(moving)
        before_first = [zero] * SIDE
        start = [INTEGER(0), *pixels, *before_first, *(read(pixel) for pixel in pixels), *moving, *totals]
        for t, total in enumerate(emit.loop(width, start, step)[totals_at:]):
            emit.store(total, tap(emit.pointer(sums, args[sums + 1]), t))

    return emitted


if VECTOR_BYTES:
    _emit_filter = _emitter(out=0, a=2, weight=7, shape=8)
    _emit_sum = _emitter(a=0, x=5, sums=7, shape=9)
    _emit_both = _emitter(out=0, a=2, weight=7, x=8, sums=10, shape=12)

    @intrinsic
    def filter_row(typing, out, out_start, a, above, middle, below, zeros, weight, width, channels):
        """Write a row of sums over a window.

        above, middle, below    where three rows begin in a; -1 for one that is not there
        zeros                   at least `channels` zeros
        Shapes                  out, a, zeros one-dimensional, weight (9 * channels,): of one floating-point dtype
        """
        i = types.intp
        return types.void(out, i, a, i, i, i, zeros, weight, i, i), _emit_filter

    @intrinsic
    def sum_row(typing, a, above, middle, below, zeros, x, x_start, sums, sums_start, width, channels):
        """Add the products of a row of x with what the window shows to nine sums for each channel."""
        i = types.intp
        return types.void(a, i, i, i, zeros, x, i, sums, i, i, i), _emit_sum

    @intrinsic
    def filter_and_sum_row(
        typing, out, out_start, a, above, middle, below, zeros, weight, x, x_start, sums, sums_start, width, channels
    ):  # fmt: skip
        """Both, with one window."""
        i = types.intp
        return types.void(out, i, a, i, i, i, zeros, weight, x, i, sums, i, i, i), _emit_both
else:
    at, filter_row, sum_row = serial(_at), serial(_filter_row_loops), serial(_sum_row_loops)

    @serial
    def filter_and_sum_row(
        out, out_start, a, above, middle, below, zeros, weight, x, x_start, sums, sums_start, width, channels
    ):  # fmt: skip
        """Both."""
        filter_row(out, out_start, a, above, middle, below, zeros, weight, width, channels)
        sum_row(a, above, middle, below, zeros, x, x_start, sums, sums_start, width, channels)
