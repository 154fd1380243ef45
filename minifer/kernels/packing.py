"""Copies of parts of a matrix, laid out as the register tile reads them, as vector instructions written by hand.

    copy_panel         out[k, v] = a[k, v]        k < steps, v < PANEL
    copy_tile          out[k, r] = a[k, r]        k < steps, r < TILE_ROWS
    transpose          out[k, v] = a[v, k]        k < columns, v < rows        transpose_panel    the same, v < PANEL

Rows of a large matrix lie far apart in memory, often a power of two, and then compete for the same few lines of the
cache; read in a strided order they also arrive one by one. A copy is read front to back many times over. The price is
a pass over memory, so the copies ask for the lines they will need before they need them.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minifer.kernels.tile import PANEL, TILE_ROWS
from minifer.kernels.twin import serial
from minifer.kernels.vectors import INDEX, INTEGER, VECTOR_BYTES, Emitter

AHEAD = 16  # rows between the one that is copied and the one that is asked for
AHEAD_BYTES = 128  # the same along a row, for the transpose


def _copy_loops(a, a_start, a_step, out, out_start, out_step, steps, valid, width):
    """Copy rows: plain loops (see copy_panel)."""
    for k in range(steps):
        for v in range(width):
            value = a[a_start + k * a_step + v] if v < valid else a.dtype.type(0)
            out[out_start + k * out_step + v] = value


def _emit_copy(context, builder, signature, args, width):
    """Emit a loop over k with masked loads, which read nothing beyond `valid`, and whole stores."""
    emit = Emitter(context, builder, signature, args)
    _, a_start, a_step, _, out_start, out_step, steps, valid = args
    vectors = range(-(-width // emit.lanes))
    positions, mask = ir.VectorType(INTEGER, emit.lanes), ir.VectorType(ir.IntType(1), emit.lanes)
    masks = [
        builder.icmp_signed(
            "<", ir.Constant(positions, [h * emit.lanes + v for v in range(emit.lanes)]), emit.fill(valid, positions)
        )
        for h in vectors
    ]
    kind = "i" if isinstance(emit.element, ir.IntType) else "f"
    masked_load = emit.function(
        f"llvm.masked.load.v{emit.lanes}{kind}{8 * emit.element_bytes}.p0",
        emit.vector, emit.vector.as_pointer(), INDEX, mask, emit.vector,
    )  # fmt: skip

    def step(values):
        a_k, out_k = values
        ahead = builder.gep(a_k, [builder.mul(a_step, INTEGER(AHEAD))])
        for line in range(0, width * emit.element_bytes, 64):
            emit.prefetch(builder.gep(ahead, [INTEGER(line // emit.element_bytes)]))
        for h in vectors:
            source = emit.vector_at(a_k, h * emit.lanes)
            value = builder.call(masked_load, [source, INDEX(emit.element_bytes), masks[h], emit.zero(emit.vector)])
            emit.store(value, emit.vector_at(out_k, h * emit.lanes))
        return builder.gep(a_k, [a_step]), builder.gep(out_k, [out_step])

    emit.loop(steps, [emit.pointer(0, a_start), emit.pointer(3, out_start)], step)
    return context.get_dummy_value()


def _emit_transpose(context, builder, signature, args):
    """Emit the transpose of a square as wide as a vector: log2(lanes) perfect shuffles of its rows.

    Each shuffle interleaves row r with row r + lanes/2, which moves one bit of an entry's row number to its column.
    """
    emit = Emitter(context, builder, signature, args)
    _, a_start, a_row, _, out_start, out_row = args
    lanes, half = emit.lanes, emit.lanes // 2

    def row(index, start, length, r):
        return builder.gep(emit.data(index), [builder.add(start, builder.mul(INTEGER(r), length))])

    rows = []
    for r in range(lanes):
        source = row(0, a_start, a_row, r)
        rows.append(emit.load(emit.vector_at(source, 0)))
        emit.prefetch(builder.gep(source, [INTEGER(AHEAD_BYTES // emit.element_bytes)]))
    orders = [[v // 2 + lanes * (v % 2) + first for v in range(lanes)] for first in (0, half)]
    masks = [ir.Constant(ir.VectorType(INDEX, lanes), [INDEX(v) for v in order]) for order in orders]
    for _ in range(lanes.bit_length() - 1):
        rows = [builder.shuffle_vector(rows[r], rows[r + half], mask) for r in range(half) for mask in masks]
    for r in range(lanes):
        emit.store(rows[r], emit.vector_at(row(3, out_start, out_row, r), 0))
    return context.get_dummy_value()


if VECTOR_BYTES:

    def _copy_of_width(width):
        """Return copy_panel or copy_tile.

        copy(a, a_start, a_step, out, out_start, out_step, steps, valid):
        out[out_start + k*out_step + v] = a[a_start + k*a_step + v] if v < valid else 0

        for 0 <= k < steps (steps >= 1), v < width, in this order of k; width is rounded up to whole vectors, so `out`
        needs room for one more than it keeps. a and out are one-dimensional arrays of one floating-point dtype.
        """

        @intrinsic
        def copy(typing, a, a_start, a_step, out, out_start, out_step, steps, valid):
            i = types.intp
            signature = types.void(a, i, i, out, i, i, i, i)
            return signature, lambda *arguments: _emit_copy(*arguments, width)

        return copy

    copy_panel, copy_tile = _copy_of_width(PANEL), _copy_of_width(TILE_ROWS)

    @intrinsic
    def _transpose_square(typing, a, a_start, a_row, out, out_start, out_row):
        """out[out_start + k*out_row + v] = a[a_start + v*a_row + k] for k, v < VECTOR_BYTES // itemsize."""
        i = types.intp
        return types.void(a, i, i, out, i, i), _emit_transpose
else:
    _copy = serial(_copy_loops)

    @serial
    def copy_panel(a, a_start, a_step, out, out_start, out_step, steps, valid):
        """Copy rows of a panel."""
        _copy(a, a_start, a_step, out, out_start, out_step, steps, valid, PANEL)

    @serial
    def copy_tile(a, a_start, a_step, out, out_start, out_step, steps, valid):
        """Copy the columns that are rows of a transposed tile."""
        _copy(a, a_start, a_step, out, out_start, out_step, steps, valid, TILE_ROWS)

    @serial
    def _transpose_square(a, a_start, a_row, out, out_start, out_row):
        """The smallest square there is."""
        out[out_start] = a[a_start]


@serial
def transpose(a, a_start, a_row, out, out_start, out_row, rows, columns):
    """out[out_start + k*out_row + v] = a[a_start + v*a_row + k] for v < rows, k < columns."""
    lanes = max(1, VECTOR_BYTES // a.itemsize)
    whole_rows, whole_columns = rows // lanes * lanes, columns // lanes * lanes
    for v in range(0, whole_rows, lanes):
        for k in range(0, whole_columns, lanes):
            _transpose_square(a, a_start + v * a_row + k, a_row, out, out_start + k * out_row + v, out_row)
    for v in range(rows):
        for k in range(whole_columns if v < whole_rows else 0, columns):
            out[out_start + k * out_row + v] = a[a_start + v * a_row + k]


@serial
def transpose_panel(a, a_start, a_row, out, out_start, steps, valid):
    """out[out_start + k*PANEL + v] = a[a_start + v*a_row + k] if v < valid else 0, for k < steps, v < PANEL."""
    for i in range(out_start, out_start + (steps * PANEL if valid < PANEL else 0)):
        out[i] = 0
    transpose(a, a_start, a_row, out, out_start, PANEL, valid, steps)
