"""The innermost rung of the ladder: a register tile of a matrix product, as vector instructions written by hand.

    out[r, v] (+)= sum_k  a[r, k] * b[k, v]        r < TILE_ROWS, v < PANEL

A processor multiplies and adds whole vectors, and only from registers. The tile keeps all its sums in registers
(12 rows x 2 vectors = 24 of the 32 that AVX-512 has, 6 x 2 = 12 of AVX2's 16) while k runs: every b vector that is
loaded serves all rows, every a value serves both vectors, so arithmetic and not memory sets the pace.

No loop that Numba compiles gets this form by itself, so the tile is emitted as LLVM instructions. Where the processor
has no fused multiply-add, or the JIT is off, `multiply_tile` is the same sum as plain loops.

Numba's cache does not notice when a compiled helper in another file changes. This file is the one exception to the
rule that helpers live beside their callers: after editing it, empty the cache folder (`minifer doctor` names it).
"""

import platform

import llvmlite.binding
import numba
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic


def _vector_bytes():
    """Bytes of the widest vector this processor can multiply and add in one instruction; 0 if it has none."""
    if numba.config.DISABLE_JIT:
        return 0
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    if features.get("avx2") and features.get("fma"):
        return 32
    return 16 if platform.machine() in ("aarch64", "arm64") else 0


VECTOR_BYTES = _vector_bytes()
TILE_ROWS = 6 if VECTOR_BYTES == 32 else 12
PANEL = 2 * (VECTOR_BYTES or 64) // 4  # columns of b in one panel: two vectors of float32 (four of float64)


def _multiply_tile_loops(a, a_start, a_row, a_step, b, b_start, out, out_start, out_row, steps, accumulate):
    """Add a tile of products to `out`, or overwrite it: plain loops (see multiply_tile)."""
    for r in range(TILE_ROWS):
        for v in range(PANEL):
            total = out[out_start + r * out_row + v] if accumulate else out.dtype.type(0)
            for k in range(steps):
                total += a[a_start + r * a_row + k * a_step] * b[b_start + k * PANEL + v]
            out[out_start + r * out_row + v] = total


def _emit_tile(context, builder, signature, args):
    """Emit the tile: one LLVM loop over k with a phi node, that is a register, for every partial sum."""
    a_start, a_row, a_step = args[1:4]
    steps, accumulate = args[9:]
    element = context.get_value_type(signature.args[0].dtype)
    element_bytes = context.get_abi_sizeof(element)
    lanes = VECTOR_BYTES // element_bytes
    vector, integer = ir.VectorType(element, lanes), ir.IntType(64)
    rows, vectors = range(TILE_ROWS), range(PANEL // lanes)
    fma = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(vector, [vector] * 3),
        f"llvm.fma.v{lanes}f{8 * element_bytes}",
    )
    if VECTOR_BYTES == 64:
        # Left to itself LLVM splits 64-byte vectors into halves on most processors; llvmlite's list of permitted
        # attributes lacks this one, hence set.add.
        set.add(builder.function.attributes, '"min-legal-vector-width"="512"')

    def pointer(index, start):
        return builder.gep(context.make_array(signature.args[index])(context, builder, args[index]).data, [start])

    def vector_at(base, offset):
        return builder.bitcast(builder.gep(base, [offset]), vector.as_pointer())

    a, b, out = pointer(0, a_start), pointer(4, args[5]), pointer(6, args[7])
    places = [
        [vector_at(out, builder.add(builder.mul(integer(r), args[8]), integer(h * lanes))) for h in vectors]
        for r in rows
    ]
    zero = ir.Constant(vector, [0.0] * lanes)
    first = [[builder.select(accumulate, builder.load(p, align=element_bytes), zero) for p in row] for row in places]

    before = builder.block
    loop, done = builder.append_basic_block("tile_loop"), builder.append_basic_block("tile_done")
    builder.branch(loop)
    builder.position_at_end(loop)
    k, a_k, b_k = builder.phi(integer), builder.phi(a.type), builder.phi(b.type)
    sums = [[builder.phi(vector) for _ in vectors] for _ in rows]
    b_vectors = [builder.load(vector_at(b_k, integer(h * lanes)), align=element_bytes) for h in vectors]
    undefined, all_lanes = ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
    totals = []
    for r in rows:
        value = builder.load(builder.gep(a_k, [builder.mul(integer(r), a_row)]))
        value = builder.insert_element(undefined, value, ir.IntType(32)(0))
        value = builder.shuffle_vector(value, undefined, all_lanes)
        totals.append([builder.call(fma, [value, b_vectors[h], sums[r][h]]) for h in vectors])
    carried = [(k, integer(0), builder.add(k, integer(1)))]
    carried += [(a_k, a, builder.gep(a_k, [a_step])), (b_k, b, builder.gep(b_k, [integer(PANEL)]))]
    carried += [(sums[r][h], first[r][h], totals[r][h]) for r in rows for h in vectors]
    for phi, start, following in carried:
        phi.add_incoming(start, before)
        phi.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", carried[0][2], steps), loop, done)
    builder.position_at_end(done)
    for r in rows:
        for h in vectors:
            builder.store(totals[r][h], places[r][h], align=element_bytes)
    return context.get_dummy_value()


if VECTOR_BYTES:

    @intrinsic
    def multiply_tile(typing, a, a_start, a_row, a_step, b, b_start, out, out_start, out_row, steps, accumulate):
        """Add a tile of products to `out`, or overwrite it.

        out[out_start + r*out_row + v] (+)= sum_k a[a_start + r*a_row + k*a_step] * b[b_start + k*width + v]

        for r < TILE_ROWS, v < PANEL, 0 <= k < steps (steps >= 1). a, b and out are
        one-dimensional arrays of one floating-point dtype; b is packed: the values of a k stand side by side.
        """
        i = types.intp
        return types.void(a, i, i, i, b, i, out, i, i, i, types.boolean), _emit_tile
else:
    multiply_tile = njit(cache=True, error_model="numpy")(_multiply_tile_loops)
