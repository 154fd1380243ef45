"""A whole network in one call: a program of steps that work in one block of memory. Inference only.

Between the layers of a small network on one picture there is more Python than arithmetic. Here minifer/inference.py has
written down beforehand what every layer does and where: each step is a row of a table (STEP) with offsets into two flat
arrays, the memory for maps and the weights. Batch normalization is already part of the weights, and what follows a
product (bias, clipping, the shortcut's sum) happens to its result while that is still in the cache. Nothing is
allocated, except by attention, which is a call of its own.

    PATCHES      y[i,t] = x[i+t], 0 outside the picture                        t runs over taps and channels
    DEPTHWISE    y[i,c] = clip(bias[c] + sum_t x[i+t,c] * weight[t,c])
    POINTWISE    y[i,f] = clip(bias[f] + sum_c x[i,c] * weight[c,f]) (+ shortcut[i,f])      or kernels/octets.py's
    SUBSAMPLE    y[i] = x[index[i]]
    AVERAGE      y = mean_i x[i]
    NORMALIZE    y[t] = x_hat[t] of x[t] (+ position[t]), normalized over its features
    ATTENTION    y = attention(query, key, value)

Rows of a map (its positions) are a `row` of numbers apart, which may be more than there are channels: a power of two
would make them compete for the same cache lines. The weights begin with ZEROS zeros.
"""

import numpy as np
from numba import prange

from minifer.kernels.attention import attention_forward_numba
from minifer.kernels.normalized import add_bias
from minifer.kernels.octets import FOUR, rescale, round_to_bytes
from minifer.kernels.rows import multiply_rows
from minifer.kernels.tile import FEW_ROWS, PANEL, TILE_ROWS, multiply_few_rows, multiply_tile
from minifer.kernels.twin import parallel, serial
from minifer.kernels.window import TAPS, ZEROS, filter_row, three_rows

PATCHES, DEPTHWISE, POINTWISE, SUBSAMPLE, AVERAGE, NORMALIZE, ATTENTION = range(7)
_NUMBERS = (
    "operation", "source", "source_row", "target", "target_row", "shortcut", "shortcut_row", "inputs", "outputs",
    "channels", "filters", "weight", "bias", "scale", "start", "width", "heads", "octets", "octets_row",
)  # fmt: skip
# A step. inputs, outputs: positions of a picture; start: where its lists begin; width: positions in a row of a map that
# a window slides over (kernels/window.py), 0 where none does; octets: where DEPTHWISE writes its map again, as bytes;
# scale: of a POINTWISE that reads such a map, in fours; -1: there is no such thing.
# An array of np.record reads as a recarray does, and is sliced and handed over in a fraction of the time.
STEP = np.dtype((np.record, [(name, np.int64) for name in _NUMBERS] + [("low", np.float32), ("high", np.float32)]))
TASKS = 8  # pieces of work of a product
MANY = 32  # pictures: pieces of work enough for the threads
BLOCK_TILES = 96 // TILE_ROWS  # tiles of a product that are carried to their end, clipping included, before the next
SOME = 48  # positions of a depthwise step that are worked on at a time
FEW = 12288  # numbers that a depthwise step makes sooner than a second thread has woken up
STEPS = 256  # longest part of a sum between two visits to memory (see kernels/matmul.py)


@serial
def _parts_of_picture(batch):
    """Return into how many parts a picture is cut for the threads: one where there are many pictures."""
    return max(1, min(TASKS, MANY // batch))


@parallel
def _patches(memory, program, number, pictures, batch, starts, sources, taps):
    """PATCHES: the windows of an ordinary convolution as rows; a pointwise convolution does the rest."""
    picture_size = pictures.size // batch
    chunks = min(program[number].outputs, _parts_of_picture(batch))
    for task in prange(batch * chunks):
        s = program[number]
        n, chunk = task // chunks, task % chunks
        # Names of their own: after every store a field of s would be read again.
        outputs, channels, filters, first, row = s.outputs, s.channels, s.filters, s.start, s.target_row
        for i in range(outputs * chunk // chunks, outputs * (chunk + 1) // chunks):
            place = s.target + (n * outputs + i) * row
            if (starts[first + i + 1] - starts[first + i]) * channels < filters:
                memory[place : place + filters] = 0
            for t in range(starts[first + i], starts[first + i + 1]):
                at, source = place + taps[t], n * picture_size + sources[t]
                if channels == 1:  # a loop over one channel takes longer than its one turn
                    memory[at] = pictures[source]
                    continue
                for c in range(channels):
                    memory[at + c] = pictures[source + c]


@serial
def _finish_positions(memory, s, n, first, count, weights):
    """Add the bias to some positions of picture n that DEPTHWISE made, and clip them; write them as bytes, too."""
    place = n * s.outputs + first
    start = s.target + place * s.target_row
    add_bias(memory, start, s.target_row, weights, s.bias, s.low, s.high, count, s.channels)
    if s.octets >= 0:
        octets, octets_row = memory.view(np.uint8), FOUR * s.octets_row
        round_to_bytes(
            memory, start, s.target_row, octets, FOUR * s.octets + place * octets_row, octets_row, count, s.channels
        )


@serial
def _slide(memory, s, n, first, last, weights):
    """DEPTHWISE for some rows of picture n, by a window of 3x3."""
    zeros, weight = weights[:ZEROS], weights[s.weight : s.weight + TAPS * s.channels]
    line, height = s.width * s.channels, s.outputs // s.width
    source, target = s.source + n * height * line, s.target + n * height * line
    for row in range(first, last):
        above, middle, below = three_rows(row - 1, height, source, line, height)
        place = target + row * line
        filter_row(memory, place, memory, above, middle, below, zeros, weight, s.width, s.channels)
        _finish_positions(memory, s, n, row * s.width, s.width, weights)


@serial
def _depthwise_positions(memory, s, n, first, last, weights, starts, sources, taps):
    """DEPTHWISE for some positions of picture n, a few at a time: they are clipped while they are in the cache."""
    if s.width > 0:
        _slide(memory, s, n, first // s.width, last // s.width, weights)
        return
    for start in range(first, last, SOME):
        stop = min(start + SOME, last)
        place = s.target + (n * s.outputs + start) * s.target_row
        for i in range(start, stop):
            multiply_rows(
                memory, place + (i - start) * s.target_row, memory, s.source + n * s.inputs * s.source_row, sources,
                weights, s.weight, taps, starts[s.start + i], starts[s.start + i + 1], s.channels, False,
            )  # fmt: skip
        _finish_positions(memory, s, n, start, stop - start, weights)


@parallel
def _depthwise(memory, program, number, batch, weights, starts, sources, taps):
    """DEPTHWISE: the lists name, for every output position, the positions under its window and their taps."""
    together = max(1, program[number].width)  # positions that are not parted: a row under a sliding window
    pieces = program[number].outputs // together
    chunks = min(pieces, _parts_of_picture(batch))
    for task in prange(batch * chunks):
        s = program[number]
        n, chunk = task // chunks, task % chunks
        first, last = pieces * chunk // chunks * together, pieces * (chunk + 1) // chunks * together
        _depthwise_positions(memory, s, n, first, last, weights, starts, sources, taps)


@serial
def _return_tile(memory, edge, place, row, rows, columns):
    """Copy what lies inside the map from a tile that was computed in scratch."""
    for r in range(rows):
        for v in range(columns):
            memory[place + r * row + v] = memory[edge + r * PANEL + v]


@serial
def _few_rows(memory, s, rows, first_panel, last_panel, weights, edge):
    """POINTWISE for so few rows that most of a tile would be wasted: tiles of FEW_ROWS, computed in scratch."""
    for panel in range(first_panel, last_panel):
        column = panel * PANEL
        for row in range(0, rows, FEW_ROWS):
            multiply_few_rows(
                memory, s.source + row * s.source_row, s.source_row, 1, weights, s.weight + column * s.channels, PANEL,
                memory, edge, PANEL, s.channels, False,
            )  # fmt: skip
            place = s.target + row * s.target_row + column
            _return_tile(memory, edge, place, s.target_row, min(FEW_ROWS, rows - row), min(PANEL, s.filters - column))


@serial
def _tiles(memory, s, rows, first_tile, last_tile, first_panel, last_panel, weights, edge):
    """POINTWISE for some tiles and panels: they and their part of the weights stay in the second-level cache."""
    for k in range(0, s.channels, STEPS):
        for panel in range(first_panel, last_panel):
            column = panel * PANEL
            valid = min(PANEL, s.filters - column)
            panel_weights = s.weight + column * s.channels
            for tile in range(first_tile, last_tile):
                row = tile * TILE_ROWS
                x, y = s.source + row * s.source_row, s.target + row * s.target_row + column
                if valid == PANEL and row + TILE_ROWS <= rows:
                    multiply_tile(
                        memory, x + k, s.source_row, 1, weights, panel_weights + k * PANEL, PANEL,
                        memory, y, s.target_row, min(STEPS, s.channels - k), k > 0,
                    )  # fmt: skip
                elif k == 0:
                    multiply_tile(
                        memory, x, s.source_row, 1, weights, panel_weights, PANEL,
                        memory, edge, PANEL, s.channels, False,
                    )  # fmt: skip
                    _return_tile(memory, edge, y, s.target_row, min(TILE_ROWS, rows - row), valid)


@serial
def _finish_rows(memory, s, first, last, column, columns, weights):
    """Add bias, clip, and add the shortcut to some rows and columns of what POINTWISE made."""
    place = s.target + first * s.target_row + column
    if s.scale >= 0:
        rescale(memory, place, s.target_row, weights, s.scale + column, last - first, columns)
    add_bias(memory, place, s.target_row, weights, s.bias + column, s.low, s.high, last - first, columns)
    for row in range(first, last if s.shortcut >= 0 else first):
        place, shortcut = s.target + row * s.target_row + column, s.shortcut + row * s.shortcut_row + column
        y, more = memory[place : place + columns], memory[shortcut : shortcut + columns]
        for v in range(columns):
            y[v] += more[v]


@parallel
def _pointwise(memory, program, number, batch, weights, x, panels_of_weights):
    """POINTWISE: weights lie in panels; tiles at an edge are computed at the start of memory, a piece for each task.

    x and panels_of_weights are memory and weights, or these as fours of bytes.
    """
    rows = batch * program[number].outputs
    panels, tiles = (program[number].filters + PANEL - 1) // PANEL, (rows + TILE_ROWS - 1) // TILE_ROWS
    few_rows = rows <= 2 * FEW_ROWS
    # Every group of panels reads all of x, every block of rows all weights: the cut that reads least.
    groups, least = min(panels, TASKS), rows * min(panels, TASKS) + panels * PANEL
    for fewer in (TASKS // 2, TASKS // 4, TASKS // 8):
        reads = rows * fewer + panels * PANEL * (TASKS // fewer)
        if fewer <= panels and reads < least and not few_rows and tiles * fewer >= TASKS:
            groups, least = fewer, reads
    row_blocks = 1 if few_rows else min(tiles, max(1, TASKS // groups))
    for task in prange(groups * row_blocks):
        s = program[number]
        block, group = task // groups, task % groups
        first_panel, last_panel = panels * group // groups, panels * (group + 1) // groups
        column = first_panel * PANEL
        columns = min(last_panel * PANEL, s.filters) - column
        edge = task * TILE_ROWS * PANEL
        if few_rows:
            _few_rows(x, s, rows, first_panel, last_panel, panels_of_weights, edge)
            _finish_rows(memory, s, 0, rows, column, columns, weights)
            continue
        last_tile = tiles * (block + 1) // row_blocks
        for tile in range(tiles * block // row_blocks, last_tile, BLOCK_TILES):
            stop = min(tile + BLOCK_TILES, last_tile)
            _tiles(x, s, rows, tile, stop, first_panel, last_panel, panels_of_weights, edge)
            _finish_rows(memory, s, tile * TILE_ROWS, min(stop * TILE_ROWS, rows), column, columns, weights)


@serial
def _subsample(memory, s, batch, sources):
    """SUBSAMPLE: what a projection with a stride looks at."""
    for n in range(batch):
        for i in range(s.outputs):
            x = s.source + n * s.inputs * s.source_row + sources[s.start + i]
            y = s.target + (n * s.outputs + i) * s.target_row
            for c in range(s.channels):
                memory[y + c] = memory[x + c]


@serial
def _average(memory, s, batch):
    """AVERAGE over the positions of each picture."""
    share = np.float32(1 / s.inputs)
    for n in range(batch):
        place = s.target + n * s.target_row
        y = memory[place : place + s.channels]
        y[:] = 0
        for i in range(s.inputs):
            place = s.source + (n * s.inputs + i) * s.source_row
            x = memory[place : place + s.channels]
            for c in range(s.channels):
                y[c] += x[c]
        for c in range(s.channels):
            y[c] *= share


@parallel
def normalize(memory, program, number, batch, weights):
    """NORMALIZE every token; weight is the table of positions, bias holds epsilon."""
    for task in prange(batch * program[number].outputs):
        s = program[number]
        eps = weights[s.bias]
        first = s.source + task * s.source_row
        x = memory[first : first + s.channels]
        place = s.target + task * s.target_row
        y = memory[place : place + s.channels]
        for c in range(s.channels):
            y[c] = x[c]
        if s.weight >= 0:
            first = s.weight + task % s.outputs * s.channels
            position = weights[first : first + s.channels]
            for c in range(s.channels):
                y[c] += position[c]
        if eps < 0:  # this attention does not normalize
            continue
        mean = 0.0
        for c in range(s.channels):
            mean += y[c]
        mean /= s.channels
        var = 0.0
        for c in range(s.channels):
            var += (y[c] - mean) ** 2
        inv_std = 1 / np.sqrt(var / s.channels + eps)
        for c in range(s.channels):
            y[c] = (y[c] - mean) * inv_std


def attend(memory, s, batch):
    """ATTENTION: query, key and value lie behind each other at the source, `weight` numbers apart."""
    size = batch * s.outputs * s.channels
    shape = (batch, s.outputs, s.heads, s.channels // s.heads)
    query, key, value = (memory[s.source + k * s.weight :][:size].reshape(shape) for k in range(3))
    y, _ = attention_forward_numba(query, key, value, float((s.channels / s.heads) ** -0.5))
    rows = memory[s.target :][: batch * s.outputs * s.target_row].reshape(-1, s.target_row)
    rows[:, : s.channels] = y.reshape(-1, s.channels)


@serial
def run_network(program, pictures, batch, memory, weights, starts, sources, taps, fours):
    """Run the steps of a program up to its end or its first attention; return how many.

    `batch` pictures (one-dimensional float32); results stay in memory, which starts with TASKS tiles of scratch. What
    only attention needs is called by inference.py, so that networks without it need not wait for it to be compiled.
    Nor need those without products of bytes: their `fours`, memory and weights as int32, are None.
    (A parallel loop can't be given a record, only the table and a number.)
    """
    for number in range(program.size):
        s = program[number]
        if s.operation >= NORMALIZE:
            return number
        if s.operation == PATCHES:
            _patches(memory, program, number, pictures, batch, starts, sources, taps)
        elif s.operation == DEPTHWISE and batch * s.outputs * s.channels <= FEW:
            for n in range(batch):
                _depthwise_positions(memory, s, n, 0, s.outputs, weights, starts, sources, taps)
        elif s.operation == DEPTHWISE:
            _depthwise(memory, program, number, batch, weights, starts, sources, taps)
        elif s.operation == POINTWISE and s.scale < 0:
            _pointwise(memory, program, number, batch, weights, memory, weights)
        elif s.operation == POINTWISE:
            if fours is not None:
                _pointwise(memory, program, number, batch, weights, *fours)
        elif s.operation == SUBSAMPLE:
            _subsample(memory, s, batch, sources)
        else:
            _average(memory, s, batch)
    return program.size
