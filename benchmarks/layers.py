"""How near to what the machine allows is every layer? Its time in a training step against what its cost predicts.

python benchmarks/layers.py [--model plain|skip|mha] [--alpha 1] [--batch 32] [--draw FILE.png] [--threads 2] [--json]

The prediction is the roofline of minifer.cost: the larger of arithmetic / (rate of multiply-adds from registers) and
bytes / (bandwidth of memory), with both ceilings measured in the same run and every array moved once. Of each layer the
fastest call counts, as of the ceilings. A ratio of 0.7 means that a layer reaches 70 % of that;
one above 1 found its input in a cache, where the layer before had left it.
Pictures are 48x48; attention, of "mha", follows blocks 6 to 13.
"""

import argparse
import time
from collections import defaultdict

import numpy as np
from ceilings import ceilings
from roofline import draw_roofline
from timing import report, start

import minifer
from minifer.config import LATE_BLOCKS
from minifer.cost import cost_rows
from minifer.models import mobilenet
from minifer.models.mobilenet import VARIANTS

SHAPE = (48, 48, 1)
KINDS = {  # kind of layer: (marker, colour) in the picture; the others have no multiply-adds and no place in it
    "Conv2D": ("D", "tab:red"),
    "DepthwiseConv2D": ("o", "tab:blue"),
    "PointwiseConv2D": ("s", "tab:orange"),
    "MultiHeadSelfAttention": ("^", "tab:green"),
    "Linear": ("v", "tab:purple"),
}


class Stopwatch:
    """Times the passes of chosen layers inside a running network, each without the chosen layers that it calls."""

    def __init__(self, model, paths):
        self.times = defaultdict(list)  # (path, "forward" or "backward"): seconds of each call
        self._inner = [0.0]  # seconds spent in chosen layers, for every chosen layer that is running
        for path, layer in model.walk():
            if path in paths:
                layer.forward = self._timed((path, "forward"), layer.forward)
                layer.backward = self._timed((path, "backward"), layer.backward)

    def _timed(self, key, function):
        def call(*inputs, **settings):
            self._inner.append(0.0)
            started = time.perf_counter()
            result = function(*inputs, **settings)
            elapsed = time.perf_counter() - started
            self.times[key].append(elapsed - self._inner.pop())
            self._inner[-1] += elapsed
            return result

        return call


def measure(model, shape, batch, rounds):
    """Return {(path, pass): sorted seconds} of a network's training steps, and its cost table."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *shape)).astype(np.float32)
    model.require_input_gradient(False)
    dy = rng.standard_normal(model.forward(x, training=True).shape).astype(np.float32)
    model.backward(dy)  # compiles the kernels
    table, _ = cost_rows(model, shape)
    watch = Stopwatch(model, {line.path for line in table})

    for _ in range(rounds):
        model.forward(x, training=True)
        model.backward(dy)
    return {key: sorted(seconds) for key, seconds in watch.times.items()}, table


def compare(times, table, limits, batch):
    """Return the rows of the report: every layer forward and backward, then the sums over all layers."""
    rates = (1e9 * limits["arithmetic"], 1e9 * limits["memory"])
    rows, sums = [], defaultdict(lambda: [0.0, 0.0])
    for name in ("forward", "backward"):
        for line in table:
            if (line.path, name) not in times:
                continue
            seconds, work = times[line.path, name], getattr(line.cost, name)
            predicted, fastest = work.seconds(*rates, batch=batch), seconds[0]
            rows.append(
                {
                    **row(f"{line.path} {name}", fastest, predicted),
                    "kind": line.kind,
                    "operations_per_byte": work.intensity(batch),
                    "gflops": 2e-9 * batch * work.multiply_adds / fastest,
                    "gbytes": 1e-9 * work.bytes_moved(batch) / fastest,
                }
            )
            for key in (f"all {line.kind}, {name}", f"all layers, {name}"):
                sums[key][0] += fastest
                sums[key][1] += predicted
    totals = sorted(sums, key=lambda measure: measure.startswith("all layers"))
    return rows + [row(measure, *sums[measure]) for measure in totals]


def row(measure, seconds, predicted):
    """Return one row of results; its ratio is the share of the predicted rate that is reached."""
    times = {"minifer": 1e3 * seconds, "peer": 1e3 * predicted, "peer_name": "roofline", "unit": "ms"}
    return {"measure": measure, **times, "ratio": predicted / seconds}


def roofline_series(rows):
    """Return the series of draw_roofline: a marker for each kind of layer, filled forward and hollow backward."""
    series = []
    for kind, (marker, colour) in KINDS.items():
        for name, fill in (("forward", "full"), ("backward", "none")):
            points = [
                (r["operations_per_byte"], r["gflops"])
                for r in rows
                if r.get("kind") == kind and r["measure"].endswith(name)
            ]
            if points:
                series.append((f"{kind} {name}", {"marker": marker, "color": colour, "fillstyle": fill}, points))
    return series


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=VARIANTS, default="plain")
    parser.add_argument("--alpha", type=float, default=1.0, help="width multiplier")
    parser.add_argument("--batch", type=int, default=32, help="pictures in a step")
    parser.add_argument("--draw", metavar="FILE", help="draw the layers' rates under the machine's ceilings")
    args = start(parser, rounds=100)
    minifer.threads(args.threads)
    blocks = LATE_BLOCKS if args.model == "mha" else None
    model = mobilenet(args.model, args.alpha, input_shape=SHAPE, attention_blocks=blocks)
    limits = ceilings(args.threads)
    rows = compare(*measure(model, SHAPE, args.batch, args.rounds), limits, args.batch)
    if args.draw:
        title = f"Layers of MobileNet {args.model}, alpha {args.alpha:g}, batch {args.batch}, in a training step"
        draw_roofline(roofline_series(rows), limits, args.draw, title)
    report(rows, args.threads, args.json, ceilings=limits, figures="of every layer the fastest call")


if __name__ == "__main__":
    main()
