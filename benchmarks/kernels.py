"""How fast are the kernels? A ladder of pointwise kernels; all passes against OpenBLAS or, depthwise, PyTorch.

python benchmarks/kernels.py [--threads 2] [--json] [--rounds 5] [--roofline FILE.png]

Shapes are those of MobileNet at alpha 1 on 48x48 pictures, batch 32. Rates are set against what the machine can do at
most, measured in the same run; --roofline draws them.
"""

import argparse
import math
import statistics
from functools import partial

import numpy as np
from contest import OPENMP, Contestant, contest, settings
from roofline import draw_roofline
from timing import compare, report, row, start

BATCH = 32
POINTWISE = (  # positions of a picture, channels, filters
    (576, 32, 64), (144, 64, 128), (144, 128, 128), (36, 128, 256), (36, 256, 256), (9, 256, 512), (9, 512, 512),
    (4, 512, 1024), (4, 1024, 1024),
)  # fmt: skip
DEPTHWISE = (  # side of the map, channels, stride
    (24, 32, 1), (24, 64, 2), (12, 128, 1), (12, 128, 2), (6, 256, 1), (6, 256, 2), (3, 512, 1), (3, 512, 2),
    (2, 1024, 1),
)  # fmt: skip
PASSES = ("forward", "grad_x", "grad_weight")
LADDER = (36, 256, 256)
RUNGS = {  # in kernels/pointwise.py; NumPy's is OpenBLAS, in a process of its own like every peer
    "naive loops": "naive",
    "channels innermost": "channels_innermost",
    "register-blocked": "numba",
}
SAME = {1: (1, 1, 1, 1), 2: (0, 1, 0, 1)}  # padding that keeps or halves an even size


def pointwise_arrays(shape):
    """Return x, weight and dy of a pointwise shape."""
    positions, channels, filters = shape
    rng = np.random.default_rng(0)
    sizes = ((BATCH * positions, channels), (channels, filters), (BATCH * positions, filters))
    return [rng.standard_normal(size, np.float32) for size in sizes]


def ours():
    """Return minifer's kernels by kind, pass and shape, and the rungs of the ladder."""
    from minifer.kernels import depthwise, pointwise

    x, weight, _ = pointwise_arrays(LADDER)
    calls = {rung: partial(getattr(pointwise, f"pointwise_forward_{name}"), x, weight) for rung, name in RUNGS.items()}
    for shape in POINTWISE:
        x, weight, dy = pointwise_arrays(shape)
        calls |= {
            f"pointwise forward {shape}": partial(pointwise.pointwise_forward, x, weight),
            f"pointwise grad_x {shape}": partial(pointwise.pointwise_grad_x, dy, weight),
            f"pointwise grad_weight {shape}": partial(pointwise.pointwise_grad_weight, x, dy),
        }
    rng = np.random.default_rng(0)
    for side, channels, stride in DEPTHWISE:
        padding, out = SAME[stride if side % 2 == 0 else 1], -(-side // stride)
        x, dy = (rng.standard_normal((BATCH, n, n, channels), np.float32) for n in (side, out))
        weight, shape = rng.standard_normal((3, 3, channels), np.float32), (side, channels, stride)
        calls |= {
            f"depthwise forward {shape}": partial(depthwise.depthwise_forward, x, weight, stride, padding),
            f"depthwise grad_x {shape}": partial(depthwise.depthwise_grad_x, dy, weight, stride, padding, side, side),
            f"depthwise grad_weight {shape}": partial(depthwise.depthwise_grad_weight, x, dy, stride, padding, 3, 3),
        }
    return calls


def openblas():
    """Return the same matrix products by NumPy."""
    x, weight, _ = pointwise_arrays(LADDER)
    calls = {"NumPy": partial(np.matmul, x, weight)}
    for shape in POINTWISE:
        x, weight, dy = pointwise_arrays(shape)
        calls |= {
            f"pointwise forward {shape}": partial(np.matmul, x, weight),
            f"pointwise grad_x {shape}": partial(np.matmul, dy, weight.T),
            f"pointwise grad_weight {shape}": partial(np.matmul, x.T, dy),
        }
    return calls


def work_of(kind, shape):
    """Return the multiply-adds of one pass, and the bytes that it moves at least."""
    if kind == "pointwise":
        positions, channels, filters = shape
        rows = BATCH * positions
        return rows * channels * filters, 4 * (rows * channels + channels * filters + rows * filters)
    side, channels, stride = shape
    out = -(-side // stride)
    return 9 * BATCH * out * out * channels, 4 * BATCH * channels * (side * side + out * out)


def geometric_mean(rows, measure):
    """Return one row whose ratio is the geometric mean of all, and whose times are sums."""
    total = {key: sum(r[key] for r in rows) for key in ("minifer", "peer")}
    ratio = math.exp(statistics.fmean(math.log(r["ratio"]) for r in rows))
    ratios = [r["ratio"] for r in rows]
    shared = {key: rows[0][key] for key in ("peer_name", "unit")}
    return {"measure": measure, **total, **shared, "ratio": ratio, "ratio_spread": [min(ratios), max(ratios)]}


def roofline_series(points):
    """Return the series of draw_roofline: a marker for each kind of kernel, a colour for each pass."""
    series = []
    for kind, marker in (("depthwise", "o"), ("pointwise", "s")):
        for name, colour in zip(PASSES, ("tab:blue", "tab:orange", "tab:green"), strict=True):
            chosen = [(x, y) for k, p, x, y in points if (k, p) == (kind, name)]
            series.append((f"{kind} {name}", {"marker": marker, "color": colour}, chosen))
    return series


def ladder(running, rounds):
    """Return the rows of the ladder: the last rung against each of the others."""
    times = {}
    for rung in (*RUNGS, "NumPy"):
        for measured in running.times(rung, rounds).values():
            times[rung] = measured
    positions, channels, filters = LADDER
    measure = f"ladder: {BATCH * positions}x{channels} @ {channels}x{filters}"
    flop = 2 * work_of("pointwise", LADDER)[0]
    return [
        row(measure, times["register-blocked"], peer, rung, peer_gflops=1e-9 * flop / statistics.median(peer))
        for rung, peer in times.items()
    ]


def main():
    """Measure and print."""
    from ceilings import ceilings

    import minifer

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--roofline", metavar="FILE", help="draw the rates under the machine's ceilings")
    args = start(parser, rounds=5)
    cases = [(BATCH, *shape) for shape in DEPTHWISE]
    contestants = [
        Contestant("minifer", "kernels:ours", {}, args.threads),
        Contestant("OpenBLAS", "kernels:openblas", {}, args.threads),
        *settings("PyTorch", "peers:depthwise", {"cases": cases}, args.threads, environments=OPENMP),
    ]
    minifer.threads(args.threads)
    limits, points = ceilings(args.threads), []
    with contest(contestants, seconds=0.05) as running:
        rows = ladder(running, args.rounds)
        for kind, shapes in (("pointwise", POINTWISE), ("depthwise", DEPTHWISE)):
            for name in PASSES:
                measured = []
                for shape in shapes:
                    compared = compare(f"{kind} {name} {shape}", running, f"{kind} {name} {shape}", args.rounds)
                    multiply_adds, moved = work_of(kind, shape)
                    seconds = compared[0]["minifer"] / 1e3
                    rates = {"gflops": 2e-9 * multiply_adds / seconds, "gbytes": 1e-9 * moved / seconds}
                    points.append((kind, name, 2 * multiply_adds / moved, rates["gflops"]))
                    measured += [{**r, **rates} for r in compared]
                rows += measured
                if all(r["peer"] for r in measured):
                    rows.append(geometric_mean(measured, f"{kind} {name}, geometric mean"))
    if args.roofline:
        draw_roofline(roofline_series(points), limits, args.roofline, "minifer's kernels, float32")
    report(rows, args.threads, args.json, running.notes, ceilings=limits)


if __name__ == "__main__":
    main()
