"""A window of 3x3 pixels that slides along a row, what is in it kept in registers: for depthwise kernels of that size.

    filter_row            out[q] = sum_uv  a[u, q+v-1] * weight[u,v]                a: three rows of pixels
    sum_row               sums[u,v] += sum_q  x[q] * a[u, q*stride+v-left]          0 where there is no pixel
    filter_and_sum_row    filter_row, and sum_row with left and stride 1

Each is for all channels c, which are lanes of one vector. One step to the right loads three pixels (six by a stride of
2) for nine products of filter_row and nine of sum_row, where kernels/rows.py loads two for each product.

A convolution's forward is filter_row of x, and its gradient by x filter_row of dy, with the nine weights in reverse
order. Its gradient by the weights is sum_row of x, with dy in the place of x above; or of the window that dx needs,
with x in the middle, and the sums are in reverse order: one window for both.

Plain loops take over where the processor lacks fused multiply-add or the JIT is off (see kernels/vectors.py).
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minifer.kernels.twin import serial
from minifer.kernels.vectors import INTEGER, VECTOR_BYTES, Emitter

SIDE, TAPS = 3, 9
SMALLEST = 4  # side of a map; on smaller ones too much of the window lies outside
ZEROS = 16  # that a vector reads where there is no pixel: as many as the widest has numbers


def slides(kernel, stride, dilation, picture):
    """Whether a window can slide over a picture (height, width), and is fast at it: what sum_row is for."""
    return tuple(kernel) == (SIDE, SIDE) and stride in (1, 2) and dilation == 1 and min(picture) >= SMALLEST


def keeps_size(kernel, stride, padding, dilation, picture):
    """Whether a window slides and as many pixels come out as go in: what filter_row is for."""
    return slides(kernel, stride, dilation, picture) and stride == 1 and tuple(padding) == (1, 1, 1, 1)


@serial
def three_rows(row, height, start, line, kept):
    """Return where a row of a picture and the two after it begin; -1 for one that is not there.

    The array holds rows of `line` numbers from start on: all of them (kept = height), or three that take turns (3).
    """
    first = start + row % kept * line if 0 <= row < height else -1
    second = start + (row + 1) % kept * line if 0 <= row + 1 < height else -1
    third = start + (row + 2) % kept * line if 0 <= row + 2 < height else -1
    return first, second, third


def _pixel(a, start, position, width, c, channels):
    return a[start + position * channels + c] if start >= 0 and 0 <= position < width else a.dtype.type(0)


def _filter_row_loops(out, out_start, a, first, second, third, zeros, weight, width, channels):
    for q in range(width):
        for c in range(channels):
            total = a.dtype.type(0)
            for u, start in enumerate((first, second, third)):
                for v in range(SIDE):
                    total += pixel(a, start, q + v - 1, width, c, channels) * weight[(SIDE * u + v) * channels + c]
            out[out_start + q * channels + c] = total


def _sum_row_loops(
    a, first, second, third, zeros, a_width, left, stride, x, x_start, sums, sums_start, width, channels
):  # fmt: skip
    for q in range(width):
        for c in range(channels):
            here = x[x_start + q * channels + c]
            for u, start in enumerate((first, second, third)):
                for v in range(SIDE):
                    place = sums_start + (SIDE * u + v) * channels + c
                    sums[place] += here * pixel(a, start, q * stride + v - left, a_width, c, channels)


class _Window:
    """What emits the way along a row. The arguments are numbers of those of the emitted function.

    a          the array with the rows, which their three starts and the zeros follow
    shape      the width of the row that is computed, which the channels follow
    out, x, sums    arrays that their start follows, and weight; None where there is none
    geometry   the width of a's rows, which left and stride follow; None: a's are as wide as the computed one, 1 and 1
    """

    def __init__(self, a, shape, out=None, weight=None, x=None, sums=None, geometry=None):
        self.a, self.shape, self.out, self.weight, self.x, self.sums = a, shape, out, weight, x, sums
        self.geometry = geometry

    def __call__(self, context, builder, signature, args):
        """Emit: what Numba calls."""
        emit = Emitter(context, builder, signature, args)
        if self.geometry is None:
            self.row(emit, args[self.shape], INTEGER(1), 1)
        else:
            a_width, left, stride = args[self.geometry : self.geometry + 3]
            with builder.if_else(builder.icmp_signed("==", stride, INTEGER(1))) as (one, two):
                with one:
                    self.row(emit, a_width, left, 1)
                with two:
                    self.row(emit, a_width, left, 2)
        return context.get_dummy_value()

    def row(self, emit, a_width, left, stride):
        """Emit loops over the channels, by whole vectors, then narrow ones, then single numbers."""
        place = cgutils.alloca_once_value(emit.builder, INTEGER(0))
        for lanes in (emit.lanes, emit.few_lanes, 1):
            kind = ir.VectorType(emit.element, lanes) if lanes > 1 else emit.element
            with emit.while_room(place, lanes, emit.args[self.shape + 1]) as c:
                self.slide(emit, a_width, left, stride, kind, c)

    def slide(self, emit, a_width, left, stride, kind, c):
        """Emit the way along the row for the channels of one vector, from channel c on."""
        builder, args = emit.builder, emit.args
        width, channels = args[self.shape : self.shape + 2]
        zeros, rows, sizes = emit.data(self.a + 4), [], []
        for start in args[self.a + 1 : self.a + 4]:
            absent = builder.icmp_signed("<", start, INTEGER(0))  # then all its pixels are the zeros
            begin = builder.gep(emit.pointer(self.a, start), [builder.sub(c, builder.mul(left, channels))])
            rows.append(builder.select(absent, zeros, begin))
            sizes.append(builder.select(absent, INTEGER(0), channels))

        def read(pointer):
            return emit.load(emit.vector_at(pointer, 0, kind))

        def column(position, rows):
            """Return three pixels, one above the other, and the place of the next ones."""
            inside = builder.icmp_unsigned("<", position, a_width)  # a negative one is a large one
            pixels = [read(builder.select(inside, row, zeros)) for row in rows]
            rows = [builder.gep(row, [size]) for row, size in zip(rows, sizes, strict=True)]
            return pixels, builder.add(position, INTEGER(1)), rows

        def tap(base, t):
            return emit.vector_at(base, builder.add(builder.mul(INTEGER(t), channels), c), kind)

        def product(x, y, total):
            return builder.call(emit.fma(kind), [x, y, total])

        weights = [emit.load(tap(emit.data(self.weight), t)) for t in range(TAPS)] if self.weight is not None else []
        parts = emit.pointer(self.sums, args[self.sums + 1]) if self.sums is not None else None
        totals = [emit.load(tap(parts, t)) for t in range(TAPS)] if parts is not None else []
        moving = [builder.gep(emit.pointer(i, args[i + 1]), [c]) for i in (self.out, self.x) if i is not None]
        position, carried = builder.neg(left), []
        for _ in range(SIDE - stride):
            pixels, position, rows = column(position, rows)
            carried += pixels
        moving_at = 1 + SIDE + len(carried)
        totals_at = moving_at + len(moving)

        def step(values):
            position, rows, carried = values[0], values[1 : 1 + SIDE], values[1 + SIDE : moving_at]
            moving, sums = values[moving_at:totals_at], values[totals_at:]
            for _ in range(stride):
                pixels, position, rows = column(position, rows)
                carried = [*carried, *pixels]
            window = [carried[SIDE * v + u] for u in range(SIDE) for v in range(SIDE)]
            if weights:
                total = builder.fmul(window[0], weights[0])
                for t in range(1, TAPS):  # one after another, as kernels/rows.py adds: the same bits
                    total = product(window[t], weights[t], total)
                emit.store(total, emit.vector_at(moving[0], 0, kind))
            if sums:
                here = read(moving[-1])
                sums = [product(here, seen, total) for seen, total in zip(window, sums, strict=True)]
            moving = [builder.gep(pointer, [channels]) for pointer in moving]
            return [position, *rows, *carried[SIDE * stride :], *moving, *sums]

        after = emit.loop(width, [position, *rows, *carried, *moving, *totals], step)
        for t, total in enumerate(after[totals_at:]):
            emit.store(total, tap(parts, t))


if VECTOR_BYTES:
    _emit_filter = _Window(out=0, a=2, weight=7, shape=8)
    _emit_sum = _Window(a=0, geometry=5, x=8, sums=10, shape=12)
    _emit_both = _Window(out=0, a=2, weight=7, x=8, sums=10, shape=12)

    @intrinsic
    def filter_row(typing, out, out_start, a, first, second, third, zeros, weight, width, channels):
        """Write a row of sums over a window.

        first, second, third    where three rows begin in a; -1 for one that is not there
        zeros                   ZEROS of them
        width                   of all rows, in pixels, at least 1
        Shapes                  out, a, zeros, weight (9 * channels,) one-dimensional, of one floating-point dtype
        """
        i = types.intp
        return types.void(out, i, a, i, i, i, zeros, weight, i, i), _emit_filter

    @intrinsic
    def sum_row(
        typing, a, first, second, third, zeros, a_width, left, stride, x, x_start, sums, sums_start, width, channels
    ):  # fmt: skip
        """Add the products of a row of x with what the window shows to nine sums for each channel.

        a_width, left, stride   pixels in a row of a; columns of the first window to the left of it; 1 or 2
        width                   of the row of x, at least 1
        """
        i = types.intp
        return types.void(a, i, i, i, zeros, i, i, i, x, i, sums, i, i, i), _emit_sum

    @intrinsic
    def filter_and_sum_row(
        typing, out, out_start, a, first, second, third, zeros, weight, x, x_start, sums, sums_start, width, channels
    ):  # fmt: skip
        """Both, with one window."""
        i = types.intp
        return types.void(out, i, a, i, i, i, zeros, weight, x, i, sums, i, i, i), _emit_both
else:
    pixel, filter_row, sum_row = serial(_pixel), serial(_filter_row_loops), serial(_sum_row_loops)

    @serial
    def filter_and_sum_row(
        out, out_start, a, first, second, third, zeros, weight, x, x_start, sums, sums_start, width, channels
    ):  # fmt: skip
        """Both."""
        filter_row(out, out_start, a, first, second, third, zeros, weight, width, channels)
        sum_row(a, first, second, third, zeros, width, 1, 1, x, x_start, sums, sums_start, width, channels)
