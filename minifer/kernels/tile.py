"""The innermost rung of the ladder: a register tile of a matrix product, as vector instructions written by hand.

    out[r, v] (+)= sum_k  a[r, k] * b[k, v]        r < TILE_ROWS, v < PANEL

A processor multiplies and adds whole vectors, and only from registers. The tile keeps all its sums in registers
(12 rows x 2 vectors = 24 of the 32 that AVX-512 has, 6 x 2 = 12 of AVX2's 16) while k runs: every b vector that is
loaded serves all rows, every a value serves both vectors, so arithmetic and not memory sets the pace.
"""

from numba import types
from numba.extending import intrinsic

from minifer.kernels.twin import serial
from minifer.kernels.vectors import INTEGER, VECTOR_BYTES, Emitter

TILE_ROWS = 6 if VECTOR_BYTES == 32 else 12
AHEAD = 24  # steps between the b that is multiplied and the b that is asked for
FEW_ROWS = 4  # of the tile for matrices of so few rows that most of the larger tile would be wasted
PANEL = 2 * (VECTOR_BYTES or 64) // 4  # columns of b in one panel: two vectors of float32 (four of float64)


def _multiply_tile_loops(
    a, a_start, a_row, a_step, b, b_start, b_step, out, out_start, out_row, steps, accumulate, rows
):
    """Add a tile of products to `out`, or overwrite it: plain loops (see multiply_tile)."""
    for r in range(rows):
        for v in range(PANEL):
            total = out[out_start + r * out_row + v] if accumulate else out.dtype.type(0)
            for k in range(steps):
                total += a[a_start + r * a_row + k * a_step] * b[b_start + k * b_step + v]
            out[out_start + r * out_row + v] = total


def _emit_tile(context, builder, signature, args, tile_rows):
    """Emit the tile: one loop over k with a register for every partial sum."""
    emit = Emitter(context, builder, signature, args)
    _, a_start, a_row, a_step, _, b_start, b_step, _, out_start, out_row, steps, accumulate = args
    rows, vectors = range(tile_rows), range(PANEL // emit.lanes)
    a, b, out = emit.pointer(0, a_start), emit.pointer(4, b_start), emit.pointer(7, out_start)
    places = [
        emit.vector_at(out, builder.add(builder.mul(INTEGER(r), out_row), INTEGER(h * emit.lanes)), emit.sums)
        for r in rows
        for h in vectors
    ]
    first = [builder.select(accumulate, emit.load(place), emit.zero(emit.sums)) for place in places]

    def step(values):
        a_k, b_k, *sums = values
        ahead = builder.gep(b_k, [builder.mul(b_step, INTEGER(AHEAD))])
        for line in range(0, PANEL * emit.element_bytes, 64):
            emit.prefetch(builder.gep(ahead, [INTEGER(line // emit.element_bytes)]))
        b_vectors = [emit.load(emit.vector_at(b_k, h * emit.lanes)) for h in vectors]
        totals = []
        for r in rows:
            value = emit.fill(builder.load(builder.gep(a_k, [builder.mul(INTEGER(r), a_row)])), emit.vector)
            for h in vectors:
                totals.append(emit.multiply_add(value, b_vectors[h], sums[len(totals)]))
        return [builder.gep(a_k, [a_step]), builder.gep(b_k, [b_step]), *totals]

    for total, place in zip(emit.loop(steps, [a, b, *first], step)[2:], places, strict=True):
        emit.store(total, place)
    return context.get_dummy_value()


if VECTOR_BYTES:

    def _tile_of(tile_rows):
        """Return multiply_tile or multiply_few_rows, for tile_rows = TILE_ROWS or FEW_ROWS.

        out[out_start + r*out_row + v] (+)= sum_k a[a_start + r*a_row + k*a_step] * b[b_start + k*b_step + v]

        for r < tile_rows, v < PANEL, 0 <= k < steps (steps >= 1). a, b and out are one-dimensional arrays of one
        floating-point dtype. What is there is added to, or overwritten.
        """

        @intrinsic
        def tile(typing, a, a_start, a_row, a_step, b, b_start, b_step, out, out_start, out_row, steps, accumulate):
            i = types.intp
            signature = types.void(a, i, i, i, b, i, i, out, i, i, i, types.boolean)
            return signature, lambda *arguments: _emit_tile(*arguments, tile_rows)

        return tile

    multiply_tile, multiply_few_rows = _tile_of(TILE_ROWS), _tile_of(FEW_ROWS)
else:
    _loops = serial(_multiply_tile_loops)

    @serial
    def multiply_tile(a, a_start, a_row, a_step, b, b_start, b_step, out, out_start, out_row, steps, accumulate):
        """A tile of TILE_ROWS rows."""
        _loops(a, a_start, a_row, a_step, b, b_start, b_step, out, out_start, out_row, steps, accumulate, TILE_ROWS)

    @serial
    def multiply_few_rows(a, a_start, a_row, a_step, b, b_start, b_step, out, out_start, out_row, steps, accumulate):
        """A tile of FEW_ROWS rows."""
        _loops(a, a_start, a_row, a_step, b, b_start, b_step, out, out_start, out_row, steps, accumulate, FEW_ROWS)


@serial
def round_up(count, unit):
    """Return count rounded up to a multiple of unit."""
    return (count + unit - 1) // unit * unit


@serial
def multiply_tiles(
    a, a_row, a_step, b, b_start, b_panel, b_step, rows, columns, steps, out, out_row, accumulate
):  # fmt: skip
    """out (+)= a @ b, tile by tile: rows and columns are rounded up to whole tiles, for which all three have room.

    Panel p of b starts at b_start + p * b_panel, and its rows lie b_step numbers apart.
    """
    for row in range(0, rows, TILE_ROWS):
        for panel in range((columns + PANEL - 1) // PANEL):
            place = row * out_row + panel * PANEL
            multiply_tile(
                a, row * a_row, a_row, a_step, b, b_start + panel * b_panel, b_step, out, place, out_row, steps,
                accumulate,
            )  # fmt: skip
