"""What batch normalization does to rows of a map, each channel's numbers in registers, as vector instructions by hand.

    read_normalized     out = clip((v - mean) * scale + beta, low, high)    add_normalized    the same, + shortcut
    grad_normalized     out = scale * kept(dz) - offset - (v - mean) * slope
    sum_moments         sums += y - pivot, (y - pivot)^2                    copy_summing      the same, and out = y
    add_bias            y = clip(y + bias, low, high), in place: what is left of it in a trained network
    sum_kept            sums += kept(dx), kept(dx) * (v - mean)             copy_sum_kept     the same, and out = dx

kept(g) is g where nothing was clipped, low < (v - mean) * scale + beta < high, else 0. All have one form: a loop
over the channels, a line of the cache at a time, and inside it one over the rows. What belongs to a channel (mean,
scale, ...) is then loaded once for all rows, and its sums need no memory until the last row.

A loop over the channels inside one over the rows takes two to four times as long where channels are few: it loads five
numbers of the channel for each of the map, and writes every sum back at every row.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minifer.kernels.twin import serial
from minifer.kernels.vectors import INTEGER, VECTOR_BYTES, Emitter

# One number after another: what they compute, and what runs where there are no vector instructions.


def _read_loops(v, v_start, v_row, out, out_start, out_row, norm, low, high, rows, channels):
    for r in range(rows):
        for c in range(channels):
            z = (v[v_start + r * v_row + c] - norm[0, c]) * norm[1, c] + norm[2, c]
            z = low if z < low else z
            out[out_start + r * out_row + c] = high if z > high else z


def _grad_loops(dz, v, v_start, v_row, out, out_start, out_row, norm, low, high, rows, channels):
    for r in range(rows):
        for c in range(channels):
            d = v[v_start + r * v_row + c] - norm[0, c]
            z = d * norm[1, c] + norm[2, c]
            kept = dz[v_start + r * v_row + c] if low < z < high else dz.dtype.type(0)
            out[out_start + r * out_row + c] = norm[1, c] * kept - norm[4, c] - d * norm[3, c]


def _sum_moments_loops(y, y_start, y_row, pivot, sums, rows, channels):
    for c in range(channels):
        total = square = y.dtype.type(0)
        for r in range(rows):
            d = y[y_start + r * y_row + c] - pivot[c]
            total += d
            square += d * d
        sums[0, c] += total
        sums[1, c] += square


def _sum_kept_loops(dx, dx_start, dx_row, v, v_start, v_row, norm, low, high, sums, rows, channels):
    for c in range(channels):
        total = product = dx.dtype.type(0)
        for r in range(rows):
            d = v[v_start + r * v_row + c] - norm[0, c]
            z = d * norm[1, c] + norm[2, c]
            kept = dx[dx_start + r * dx_row + c] if low < z < high else dx.dtype.type(0)
            total += kept
            product += kept * d
        sums[0, c] += total
        sums[1, c] += product


def _add_normalized_loops(
    v, v_start, v_row, shortcut, shortcut_start, shortcut_row, out, norm, low, high, rows, channels
):  # fmt: skip
    for r in range(rows):
        for c in range(channels):
            z = (v[v_start + r * v_row + c] - norm[0, c]) * norm[1, c] + norm[2, c]
            z = low if z < low else z
            z = high if z > high else z
            out[v_start + r * v_row + c] = z + shortcut[shortcut_start + r * shortcut_row + c]


def _add_bias_loops(y, y_start, y_row, bias, bias_start, low, high, rows, channels):
    for r in range(rows):
        for c in range(channels):
            z = y[y_start + r * y_row + c] + bias[bias_start + c]
            z = low if z < low else z
            y[y_start + r * y_row + c] = high if z > high else z


# The same, emitted.


class _Rows:
    """The loops over channels and rows, and what a body of theirs may ask for."""

    def __init__(self, context, builder, signature, args):
        self.emit, self.builder, self.args = Emitter(context, builder, signature, args), builder, args

    def run(self, inputs, output, numbers, count, scalars, sums, body, numbers_start=None):
        """Emit them.

        inputs     (argument, start, row) of each map that is read, output that of the one that is written, or None
        numbers    argument of the array (.., C) whose first `count` rows are read once for each channel
        scalars    arguments that are the same for all
        sums       argument of the float64 array (2, C) that two sums are added to, or None
        body       (builder, values, numbers, scalars) -> (value written, two terms of the sums)
        numbers_start    argument that says where the numbers begin in their array, or None: at its start
        """
        emit, builder = self.emit, self.builder
        channels = self.args[-1]
        place = cgutils.alloca_once_value(builder, INTEGER(0))
        line = max(1, 64 // (emit.lanes * emit.element_bytes))
        for lanes, vectors in ((emit.lanes, line), (emit.lanes, 1), (1, 1)):
            kind = ir.VectorType(emit.element, lanes) if lanes > 1 else emit.element
            with emit.while_room(place, lanes * vectors, channels) as c:
                self._columns(
                    inputs, output, numbers, count, scalars, sums, body, numbers_start, kind, lanes, vectors, c
                )

    def _columns(self, inputs, output, numbers, count, scalars, sums, body, numbers_start, kind, lanes, vectors, c):
        """Emit the loop over the rows for some vectors of channels, from channel c on."""
        emit, builder, args = self.emit, self.builder, self.args
        rows, channels = args[-2:]

        def at(base, v, kind=kind):
            return emit.vector_at(base, INTEGER(v * lanes), kind)

        def of_channel(i, v):
            first = emit.data(numbers) if numbers_start is None else emit.pointer(numbers, args[numbers_start])
            return emit.load(at(builder.gep(first, [builder.add(builder.mul(INTEGER(i), channels), c)]), v))

        own = [[of_channel(i, v) for i in range(count)] for v in range(vectors)]
        filled = [emit.fill(args[i], kind) if lanes > 1 else args[i] for i in scalars]
        zero = ir.Constant(kind, [0.0] * lanes if lanes > 1 else 0.0)
        maps = [*inputs, *([output] if output else [])]
        starts = [builder.gep(emit.pointer(array, args[start]), [c]) for array, start, _ in maps]
        strides = [args[row] for _, _, row in maps]
        first = [zero] * (2 * vectors if sums is not None else 0)

        def step(values):
            pointers, totals = values[: len(starts)], values[len(starts) :]
            after = []
            for v in range(vectors):
                read = [emit.load(at(pointer, v)) for pointer in pointers[: len(inputs)]]
                value, terms = body(builder, read, own[v], filled)
                if output:
                    emit.store(value, at(pointers[-1], v))
                after += [builder.fadd(total, term) for total, term in zip(totals[2 * v :], terms, strict=False)]
            return [*(builder.gep(p, [s]) for p, s in zip(pointers, strides, strict=True)), *after]

        totals = emit.loop(rows, [*starts, *first], step)[len(starts) :]
        double = ir.VectorType(ir.DoubleType(), lanes) if lanes > 1 else ir.DoubleType()
        for i, total in enumerate(totals):
            v, part = divmod(i, 2)
            base = builder.gep(emit.data(sums), [builder.add(builder.mul(INTEGER(part), channels), c)])
            target = at(base, v, double)
            wide = total if kind == double else builder.fpext(total, double)
            builder.store(builder.fadd(builder.load(target, align=8), wide), target, align=8)


def _kept(builder, value, z, low, high, zero):
    inside = builder.and_(builder.fcmp_ordered("<", low, z), builder.fcmp_ordered("<", z, high))
    return builder.select(inside, value, zero)


def _zero(value):
    lanes = getattr(value.type, "count", 0)
    return ir.Constant(value.type, [0.0] * lanes if lanes else 0.0)


def _body_read(builder, values, numbers, scalars):
    (v,), (mean, scale, beta), (low, high) = values, numbers, scalars
    z = builder.fadd(builder.fmul(builder.fsub(v, mean), scale), beta)
    return _clipped(builder, z, low, high), ()


def _body_add(builder, values, numbers, scalars):
    z, _ = _body_read(builder, values[:1], numbers, scalars)
    return builder.fadd(z, values[1]), ()


def _clipped(builder, z, low, high):
    z = builder.select(builder.fcmp_ordered("<", z, low), low, z)  # a NaN stays one
    return builder.select(builder.fcmp_ordered(">", z, high), high, z)


def _body_bias(builder, values, numbers, scalars):
    (y,), (bias,), (low, high) = values, numbers, scalars
    return _clipped(builder, builder.fadd(y, bias), low, high), ()


def _body_grad(builder, values, numbers, scalars):
    (dz, v), (mean, scale, beta, slope, offset), (low, high) = values, numbers, scalars
    d = builder.fsub(v, mean)
    kept = _kept(builder, dz, builder.fadd(builder.fmul(d, scale), beta), low, high, _zero(dz))
    return builder.fsub(builder.fsub(builder.fmul(scale, kept), offset), builder.fmul(d, slope)), ()


def _body_moments(builder, values, numbers, scalars):
    (y,), (pivot,) = values, numbers
    d = builder.fsub(y, pivot)
    return y, (d, builder.fmul(d, d))


def _body_kept(builder, values, numbers, scalars):
    (dx, v), (mean, scale, beta), (low, high) = values, numbers, scalars
    d = builder.fsub(v, mean)
    kept = _kept(builder, dx, builder.fadd(builder.fmul(d, scale), beta), low, high, _zero(dx))
    return dx, (kept, builder.fmul(kept, d))


def row_emitter(**what):
    """Return what Numba calls to emit a function: see _Rows.run."""

    def emitted(context, builder, signature, args):
        _Rows(context, builder, signature, args).run(**what)
        return context.get_dummy_value()

    return emitted


if VECTOR_BYTES:
    _emit_read = row_emitter(
        inputs=[(0, 1, 2)], output=(3, 4, 5), numbers=6, count=3, scalars=(7, 8), sums=None, body=_body_read
    )
    _emit_grad = row_emitter(
        inputs=[(0, 2, 3), (1, 2, 3)], output=(4, 5, 6), numbers=7, count=5, scalars=(8, 9), sums=None, body=_body_grad
    )
    moments = {"inputs": [(0, 1, 2)], "count": 1, "scalars": (), "body": _body_moments}
    _emit_moments = row_emitter(output=None, numbers=3, sums=4, **moments)
    _emit_copy_summing = row_emitter(output=(3, 4, 5), numbers=6, sums=7, **moments)
    kept = {"inputs": [(0, 1, 2), (3, 4, 5)], "count": 3, "body": _body_kept}
    _emit_kept = row_emitter(output=None, numbers=6, scalars=(7, 8), sums=9, **kept)
    _emit_copy_kept = row_emitter(output=(6, 4, 5), numbers=7, scalars=(8, 9), sums=10, **kept)

    _emit_add = row_emitter(
        inputs=[(0, 1, 2), (3, 4, 5)], output=(6, 1, 2), numbers=7, count=3, scalars=(8, 9), sums=None, body=_body_add
    )
    _emit_bias = row_emitter(
        inputs=[(0, 1, 2)], output=(0, 1, 2), numbers=3, numbers_start=4, count=1, scalars=(5, 6), sums=None,
        body=_body_bias,
    )  # fmt: skip

    @intrinsic
    def add_normalized(
        typing, v, v_start, v_row, shortcut, shortcut_start, shortcut_row, out, norm, low, high, rows, channels
    ):  # fmt: skip
        """Write the normalized rows of v plus those of a shortcut (which may be out) to where v's lie in out."""
        i = types.intp
        return types.void(v, i, i, shortcut, i, i, out, norm, v.dtype, v.dtype, i, i), _emit_add

    @intrinsic
    def add_bias(typing, y, y_start, y_row, bias, bias_start, low, high, rows, channels):
        """Add a number of each channel to rows of y and clip them, in place."""
        i = types.intp
        return types.void(y, i, i, bias, i, y.dtype, y.dtype, i, i), _emit_bias

    @intrinsic
    def read_normalized(typing, v, v_start, v_row, out, out_start, out_row, norm, low, high, rows, channels):
        """Write the normalized and clipped rows of v; norm (3 or more, C); rows, channels >= 1."""
        i = types.intp
        return types.void(v, i, i, out, i, i, norm, v.dtype, v.dtype, i, i), _emit_read

    @intrinsic
    def grad_normalized(typing, dz, v, v_start, v_row, out, out_start, out_row, norm, low, high, rows, channels):
        """Write the gradient of rows of v, given that of what they became; norm (5, C)."""
        i = types.intp
        return types.void(dz, v, i, i, out, i, i, norm, v.dtype, v.dtype, i, i), _emit_grad

    @intrinsic
    def sum_moments(typing, y, y_start, y_row, pivot, sums, rows, channels):
        """Add the moments of rows of y about pivot (C,) to sums (2, C) float64."""
        i = types.intp
        return types.void(y, i, i, pivot, sums, i, i), _emit_moments

    @intrinsic
    def copy_summing(typing, y, y_start, y_row, out, out_start, out_row, pivot, sums, rows, channels):
        """Copy rows of y, and add up their moments."""
        i = types.intp
        return types.void(y, i, i, out, i, i, pivot, sums, i, i), _emit_copy_summing

    @intrinsic
    def sum_kept(typing, dx, dx_start, dx_row, v, v_start, v_row, norm, low, high, sums, rows, channels):
        """Add what the gradients of v's normalization are made of to sums (2, C) float64."""
        i = types.intp
        return types.void(dx, i, i, v, i, i, norm, v.dtype, v.dtype, sums, i, i), _emit_kept

    @intrinsic
    def copy_sum_kept(typing, dx, dx_start, dx_row, v, v_start, v_row, out, norm, low, high, sums, rows, channels):
        """Copy rows of dx to where those of v lie in out, and add up what v's normalization needs of them."""
        i = types.intp
        return types.void(dx, i, i, v, i, i, out, norm, v.dtype, v.dtype, sums, i, i), _emit_copy_kept
else:
    read_normalized, grad_normalized = serial(_read_loops), serial(_grad_loops)
    sum_moments, sum_kept = serial(_sum_moments_loops), serial(_sum_kept_loops)
    add_normalized, add_bias = serial(_add_normalized_loops), serial(_add_bias_loops)

    @serial
    def copy_summing(y, y_start, y_row, out, out_start, out_row, pivot, sums, rows, channels):
        """Copy rows of y, and add up their moments."""
        for r in range(rows):
            for c in range(channels):
                out[out_start + r * out_row + c] = y[y_start + r * y_row + c]
        sum_moments(y, y_start, y_row, pivot, sums, rows, channels)

    @serial
    def copy_sum_kept(dx, dx_start, dx_row, v, v_start, v_row, out, norm, low, high, sums, rows, channels):
        """Copy rows of dx to where those of v lie in out, and add up what v's normalization needs of them."""
        for r in range(rows):
            for c in range(channels):
                out[v_start + r * v_row + c] = dx[dx_start + r * dx_row + c]
        sum_kept(dx, dx_start, dx_row, v, v_start, v_row, norm, low, high, sums, rows, channels)
