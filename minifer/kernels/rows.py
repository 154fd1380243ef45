"""Sums of products of rows, as vector instructions written by hand: what all three depthwise passes are made of.

    out[c] (+)= sum_t  a[a_start + a_offsets[t] + c] * b[b_start + b_offsets[t] + c]        c < length

For an output pixel t runs over the taps of the kernel; for a weight, over the positions of a row of outputs. The sums
stay in registers while t runs. A loop over c around the nine products of a 3x3 kernel looks as good, but with nineteen
arrays in it the compiler can't rule out that two of them overlap, and leaves it one number at a time: ten times slower.

Plain loops take over where the processor lacks fused multiply-add or the JIT is off (see kernels/vectors.py).
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minifer.kernels.twin import serial
from minifer.kernels.vectors import INTEGER, VECTOR_BYTES, Emitter


def _multiply_rows_loops(out, out_start, a, a_start, a_offsets, b, b_start, b_offsets, first, last, length, accumulate):
    """Sum products of rows: plain loops (see multiply_rows)."""
    for c in range(length):
        total = out[out_start + c] if accumulate else out.dtype.type(0)
        for t in range(first, last):
            total += a[a_start + a_offsets[t] + c] * b[b_start + b_offsets[t] + c]
        out[out_start + c] = total


def _emit_rows(context, builder, signature, args):
    """Emit loops over c that take eight vectors at a time, then four, two, one, a quarter, and single numbers."""
    emit = Emitter(context, builder, signature, args)
    _, out_start, _, a_start, _, _, b_start, _, first_term, last_term, length, accumulate = args
    out, a, b = emit.pointer(0, out_start), emit.pointer(2, a_start), emit.pointer(5, b_start)
    a_offsets, b_offsets = emit.data(4), emit.data(7)
    place = cgutils.alloca_once_value(builder, INTEGER(0))
    terms = builder.sub(last_term, first_term)

    def loop_of(lanes, vectors):
        kind = ir.VectorType(emit.element, lanes) if lanes > 1 else emit.element
        zero = ir.Constant(kind, [0.0] * lanes if lanes > 1 else 0.0)

        def at(base, c, v):
            return emit.vector_at(base, builder.add(c, INTEGER(v * lanes)), kind)

        with emit.while_room(place, lanes * vectors, length) as c:
            body = builder.block
            sums, store = builder.append_basic_block("rows_sums"), builder.append_basic_block("rows_store")
            first = [builder.select(accumulate, emit.load(at(out, c, v)), zero) for v in range(vectors)]
            builder.cbranch(builder.icmp_signed("<", INTEGER(0), terms), sums, store)
            builder.position_at_end(sums)

            def term(values):
                t, *running = values
                a_row = builder.gep(a, [builder.load(builder.gep(a_offsets, [t]))])
                b_row = builder.gep(b, [builder.load(builder.gep(b_offsets, [t]))])
                totals = [
                    builder.call(emit.fma(kind), [emit.load(at(a_row, c, v)), emit.load(at(b_row, c, v)), running[v]])
                    for v in range(vectors)
                ]
                return [builder.add(t, INTEGER(1)), *totals]

            totals = emit.loop(terms, [first_term, *first], term)[1:]
            summed = builder.block
            builder.branch(store)
            builder.position_at_end(store)
            for v in range(vectors):
                result = builder.phi(kind)
                result.add_incoming(first[v], body)
                result.add_incoming(totals[v], summed)
                totals[v] = result
            for v in range(vectors):
                emit.store(totals[v], at(out, c, v))

    # Eight sums at a time keep the multipliers busy while each of them waits for its last product.
    for lanes, vectors in (
        (emit.lanes, 8),
        (emit.lanes, 4),
        (emit.lanes, 2),
        (emit.lanes, 1),
        (emit.few_lanes, 1),
        (1, 1),
    ):
        loop_of(lanes, vectors)
    return context.get_dummy_value()


if VECTOR_BYTES:

    @intrinsic
    def multiply_rows(
        typing, out, out_start, a, a_start, a_offsets, b, b_start, b_offsets, first, last, length, accumulate
    ):
        """Sum products of rows into out, or add the sum to what is there.

        out[out_start + c] (+)= sum_t a[a_start + a_offsets[t] + c] * b[b_start + b_offsets[t] + c]

        for c < length, first <= t < last. out, a and b are one-dimensional arrays of one floating-point dtype, the
        offsets arrays of int64.
        """
        i = types.intp
        arguments = (out, i, a, i, a_offsets, b, i, b_offsets, i, i, i, types.boolean)
        return types.void(*arguments), _emit_rows
else:
    multiply_rows = serial(_multiply_rows_loops)
