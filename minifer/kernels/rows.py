"""Sums of products of rows, as vector instructions written by hand: what all three depthwise passes are made of.

    out[c] (+)= sum_t  a[a_start + a_offsets[t] + c] * b[b_start + b_offsets[t] + c]        c < length

For an output pixel t runs over the taps of the kernel; for a weight, over the positions of a row of outputs. The sums
stay in registers while t runs. A loop over c around the nine products of a 3x3 kernel looks as good, but with nineteen
arrays in it the compiler can't rule out that two of them overlap, and leaves it one number at a time: ten times slower.

As in kernels/tile.py there are plain loops where the processor lacks fused multiply-add or the JIT is off, and the same
exception from the rule on helpers in other files: after editing this file, empty Numba's cache.
"""

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from minifer.kernels.tile import VECTOR_BYTES


def _multiply_rows_loops(out, out_start, a, a_start, a_offsets, b, b_start, b_offsets, first, last, length, accumulate):
    """Sum products of rows: plain loops (see multiply_rows)."""
    for c in range(length):
        total = out[out_start + c] if accumulate else out.dtype.type(0)
        for t in range(first, last):
            total += a[a_start + a_offsets[t] + c] * b[b_start + b_offsets[t] + c]
        out[out_start + c] = total


def _emit_rows(context, builder, signature, args):
    """Emit loops over c that take four vectors at a time, then one, then a quarter, then single numbers."""
    first_term, last_term, length, accumulate = args[8:]
    element = context.get_value_type(signature.args[0].dtype)
    element_bytes = context.get_abi_sizeof(element)
    integer = ir.IntType(64)
    if VECTOR_BYTES == 64:
        set.add(builder.function.attributes, '"min-legal-vector-width"="512"')  # see kernels/tile.py

    def data(index):
        return context.make_array(signature.args[index])(context, builder, args[index]).data

    out = builder.gep(data(0), [args[1]])
    a, a_offsets = builder.gep(data(2), [args[3]]), data(4)
    b, b_offsets = builder.gep(data(5), [args[6]]), data(7)
    place = cgutils.alloca_once_value(builder, integer(0))

    def loop_of(lanes, vectors):
        kind = ir.VectorType(element, lanes) if lanes > 1 else element
        name = f"llvm.fma.v{lanes}f{8 * element_bytes}" if lanes > 1 else f"llvm.fma.f{8 * element_bytes}"
        fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
        zero = ir.Constant(kind, [0.0] * lanes if lanes > 1 else 0.0)

        def at(base, c, v):
            return builder.bitcast(builder.gep(base, [builder.add(c, integer(v * lanes))]), kind.as_pointer())

        test, body = builder.append_basic_block("rows_test"), builder.append_basic_block("rows_body")
        sums, store = builder.append_basic_block("rows_sums"), builder.append_basic_block("rows_store")
        done = builder.append_basic_block("rows_done")
        builder.branch(test)
        builder.position_at_end(test)
        c = builder.load(place)
        following = builder.add(c, integer(lanes * vectors))
        builder.cbranch(builder.icmp_signed("<=", following, length), body, done)
        builder.position_at_end(body)
        first = [
            builder.select(accumulate, builder.load(at(out, c, v), align=element_bytes), zero) for v in range(vectors)
        ]
        builder.cbranch(builder.icmp_signed("<", first_term, last_term), sums, store)
        builder.position_at_end(sums)
        t = builder.phi(integer)
        running = [builder.phi(kind) for _ in range(vectors)]
        a_row = builder.gep(a, [builder.load(builder.gep(a_offsets, [t]))])
        b_row = builder.gep(b, [builder.load(builder.gep(b_offsets, [t]))])
        totals = [
            builder.call(
                fma,
                [
                    builder.load(at(a_row, c, v), align=element_bytes),
                    builder.load(at(b_row, c, v), align=element_bytes),
                    running[v],
                ],
            )
            for v in range(vectors)
        ]
        after = builder.add(t, integer(1))
        for phi, start, then in [(t, first_term, after), *zip(running, first, totals, strict=True)]:
            phi.add_incoming(start, body)
            phi.add_incoming(then, sums)
        builder.cbranch(builder.icmp_signed("<", after, last_term), sums, store)
        builder.position_at_end(store)
        for v in range(vectors):
            result = builder.phi(kind)
            result.add_incoming(first[v], body)
            result.add_incoming(totals[v], sums)
            totals[v] = result
        for v in range(vectors):
            builder.store(totals[v], at(out, c, v), align=element_bytes)
        builder.store(following, place)
        builder.branch(test)
        builder.position_at_end(done)

    full = VECTOR_BYTES // element_bytes
    for lanes, vectors in ((full, 4), (full, 1), (full // 4, 1), (1, 1)):
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
    multiply_rows = njit(cache=True, error_model="numpy")(_multiply_rows_loops)
