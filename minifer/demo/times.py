"""How long each layer of a network takes, beside what its cost formula says of it.

Layers are measured as they train, one by one; what `predict` runs is the whole network in one call, and faster.
"""

import time
from collections import defaultdict
from itertools import pairwise

import numpy as np

from minifer.cost import cost_rows, separable_blocks
from minifer.cost.table import structure
from minifer.layers import Conv2D
from minifer.layers.around import around_forward

SECONDS, ROUNDS = 0.5, 20  # whichever is over first; of each figure the fastest call counts


def layer_times(model, input_shape, table):
    """Return {path: seconds} of the forward pass of one picture for the rows of a cost table.

    The row of a composite (the addition of a Residual) gets what is left of its time without the rows inside it.
    """
    twin, seconds, running = structure(model), defaultdict(list), [0.0]
    paths = {row.path for row in table}

    def timed(path, forward, *inputs, **how):
        running.append(0.0)
        started = time.perf_counter()
        y = forward(*inputs, **how)
        elapsed = time.perf_counter() - started
        seconds[path].append(elapsed - running.pop())
        running[-1] += elapsed
        return y

    with around_forward([(path, layer) for path, layer in twin.walk() if path in paths], timed):
        _repeat(lambda: twin.forward(_picture(input_shape)))
    return {path: min(times) for path, times in seconds.items()}


def ordinary_time(depthwise, block, input_shape):
    """Return the seconds of the ordinary convolution in the place of a separable block with this depthwise layer."""
    rng = np.random.default_rng(0)
    ordinary = Conv2D(block.channels, block.filters, block.kernel, depthwise.stride, depthwise.padding, rng=rng)
    x = _picture(input_shape)
    return min(_repeat(lambda: ordinary.forward(x), SECONDS / 10))


def whole_time(network, input_shape):
    """Return the seconds of a whole network in one call: network(images) as minifer.inference.ready returns it."""
    picture = _picture(input_shape)
    return min(_repeat(lambda: network(picture)))


def _picture(shape):
    """Return one picture, or map, of random numbers."""
    return np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32)


def _repeat(function, seconds=SECONDS):
    """Return the seconds of each call but the first, which may find nothing in the caches."""
    function()
    times, stop = [], time.perf_counter() + seconds
    while not times or (len(times) < ROUNDS and time.perf_counter() < stop):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return times


def timed_rows(model, input_shape):
    """Return (a dict for each layer, a dict for each separable block): JSON-able, with multiply-adds and ms.

    Raises     ConfigError for a network whose cost is not known
    """
    table, _ = cost_rows(model, input_shape)
    layers, seconds = dict(model.walk()), layer_times(model, input_shape, table)
    rows = [
        {
            "path": row.path, "kind": row.kind, "input": row.input_shape, "output": row.output_shape,
            "multiply_adds": row.cost.multiply_adds, "ms": _ms(seconds.get(row.path)),
        }
        for row in table
    ]  # fmt: skip
    blocks = []
    for depthwise, pointwise in pairwise(row for row in table if row.cost.multiply_adds):
        for block in separable_blocks([depthwise, pointwise]):
            ordinary = ordinary_time(layers[depthwise.path], block, depthwise.input_shape)
            both = seconds.get(depthwise.path, 0) + seconds.get(pointwise.path, 0)
            blocks.append(
                {
                    "path": block.path, "positions": block.positions, "kernel": block.kernel,
                    "channels": block.channels, "filters": block.filters, "multiply_adds": block.multiply_adds,
                    "standard_multiply_adds": block.standard_multiply_adds, "ratio": block.ratio,
                    "ms": _ms(both), "standard_ms": _ms(ordinary),
                }
            )  # fmt: skip
    return rows, blocks


def _ms(seconds):
    return None if seconds is None else round(1000 * seconds, 4)
