"""How fast are the kernels? A ladder of pointwise kernels; all passes against OpenBLAS or, depthwise, PyTorch.

python benchmarks/kernels.py [--threads 2] [--json] [--rounds 5] [--roofline FILE.png]

Shapes are those of MobileNet at alpha 1 on 48x48 pictures, batch 32. Rates are set against what the machine can do at
most, measured in the same run; --roofline draws them.
"""

import argparse
import math
import statistics

import numpy as np
from ceilings import ceilings
from roofline import draw_roofline
from timing import alternate, report, row, start

from minifer.kernels import depthwise, pointwise

BATCH = 32
POINTWISE = (  # positions of a picture, channels, filters
    (576, 32, 64), (144, 64, 128), (144, 128, 128), (36, 128, 256), (36, 256, 256), (9, 256, 512), (9, 512, 512),
    (4, 512, 1024), (4, 1024, 1024),
)  # fmt: skip
DEPTHWISE = (  # side of the map, channels, stride
    (24, 32, 1), (24, 64, 2), (12, 128, 1), (12, 128, 2), (6, 256, 1), (6, 256, 2), (3, 512, 1), (3, 512, 2),
    (2, 1024, 1),
)  # fmt: skip
LADDER = (36, 256, 256)
SAME = {1: (1, 1, 1, 1), 2: (0, 1, 0, 1)}  # padding that keeps or halves an even size


def pointwise_passes(shape, rng):
    """Return {pass: (minifer, OpenBLAS)} as functions without arguments, and the multiply-adds of one pass."""
    positions, channels, filters = shape
    x = rng.standard_normal((BATCH * positions, channels), np.float32)
    weight = rng.standard_normal((channels, filters), np.float32)
    dy = rng.standard_normal((BATCH * positions, filters), np.float32)
    passes = {
        "forward": (lambda: pointwise.pointwise_forward(x, weight), lambda: x @ weight),
        "grad_x": (lambda: pointwise.pointwise_grad_x(dy, weight), lambda: dy @ weight.T),
        "grad_weight": (lambda: pointwise.pointwise_grad_weight(x, dy), lambda: x.T @ dy),
    }
    return passes, x.size * filters, 4 * (x.size + weight.size + dy.size)


def depthwise_passes(shape, rng, torch):
    """Return the same for a depthwise shape, against PyTorch, channels last."""
    side, channels, stride = shape
    padding, out = SAME[stride if side % 2 == 0 else 1], -(-side // stride)
    x = rng.standard_normal((BATCH, side, side, channels), np.float32)
    weight = rng.standard_normal((3, 3, channels), np.float32)
    dy = rng.standard_normal((BATCH, out, out, channels), np.float32)
    passes = {
        "forward": lambda: depthwise.depthwise_forward(x, weight, stride, padding),
        "grad_x": lambda: depthwise.depthwise_grad_x(dy, weight, stride, padding, side, side),
        "grad_weight": lambda: depthwise.depthwise_grad_weight(x, dy, stride, padding, 3, 3),
    }
    peers = dict.fromkeys(passes)
    if torch:
        tx, tdy = (torch.tensor(a).permute(0, 3, 1, 2) for a in (x, dy))  # channels last as they lie
        tweight = torch.tensor(weight).permute(2, 0, 1).unsqueeze(1).contiguous(memory_format=torch.channels_last)
        settings = ([stride] * 2, [1, 1], [1, 1], False, [0, 0], channels)

        def backward(of_x, of_weight):
            mask = [of_x, of_weight, False]
            return torch.ops.aten.convolution_backward(tdy, tx, tweight, None, *settings, mask)

        peers = {
            "forward": lambda: torch.ops.aten.convolution(tx, tweight, None, *settings),
            "grad_x": lambda: backward(True, False),
            "grad_weight": lambda: backward(False, True),
        }
    bytes_moved = 4 * (x.size + dy.size)
    return {name: (passes[name], peers[name]) for name in passes}, 9 * dy.size, bytes_moved


def geometric_mean(rows, measure):
    """Return one row whose ratio is the geometric mean of all, and whose times are sums."""
    total = {key: sum(r[key] for r in rows) for key in ("minifer", "peer")}
    ratio = math.exp(statistics.fmean(math.log(r["ratio"]) for r in rows))
    spread = [min(r["ratio"] for r in rows), max(r["ratio"] for r in rows)]
    return {**rows[0], "measure": measure, **total, "ratio": ratio, "ratio_spread": spread}


def roofline_series(points):
    """Return the series of draw_roofline: a marker for each kind of kernel, a colour for each pass."""
    series = []
    for kind, marker in (("depthwise", "o"), ("pointwise", "s")):
        for name, colour in (("forward", "tab:blue"), ("grad_x", "tab:orange"), ("grad_weight", "tab:green")):
            chosen = [(x, y) for k, p, x, y in points if (k, p) == (kind, name)]
            series.append((f"{kind} {name}", {"marker": marker, "color": colour}, chosen))
    return series


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--roofline", metavar="FILE", help="draw the rates under the machine's ceilings")
    args, torch = start(parser, rounds=5)
    rng, rows, points = np.random.default_rng(0), [], []
    limits = ceilings(args.threads)

    positions, channels, filters = LADDER
    x = rng.standard_normal((BATCH * positions, channels), np.float32)
    weight = rng.standard_normal((channels, filters), np.float32)
    rungs = {
        "naive loops": pointwise.pointwise_forward_naive,
        "channels innermost": pointwise.pointwise_forward_channels_innermost,
        "NumPy": pointwise.pointwise_forward_numpy,
        "register-blocked": pointwise.pointwise_forward_numba,
    }
    times = alternate({name: lambda f=f: f(x, weight) for name, f in rungs.items()}, args.rounds)
    flop = 2 * x.size * filters
    for name in rungs:
        ladder = row(
            f"ladder: {len(x)}x{channels} @ {channels}x{filters}", times["register-blocked"], times[name], name
        )
        rows.append({**ladder, "peer_gflops": 1e-9 * flop / statistics.median(times[name])})

    groups = {"pointwise": [(s, *pointwise_passes(s, rng), "OpenBLAS") for s in POINTWISE]}
    groups["depthwise"] = [(s, *depthwise_passes(s, rng, torch), "torch") for s in DEPTHWISE]
    for kind, cases in groups.items():
        for name in ("forward", "grad_x", "grad_weight"):
            measured = []
            for shape, passes, multiply_adds, moved, peer_name in cases:
                ours, peer = passes[name]
                times = alternate({"minifer": ours, **({"peer": peer} if peer else {})}, args.rounds, seconds=0.05)
                seconds = statistics.median(times["minifer"])
                rates = {"gflops": 2e-9 * multiply_adds / seconds, "gbytes": 1e-9 * moved / seconds}
                points.append((kind, name, 2 * multiply_adds / moved, rates["gflops"]))
                if peer:
                    measured.append(
                        {**row(f"{kind} {name} {shape}", times["minifer"], times["peer"], peer_name), **rates}
                    )
            rows += measured
            if measured:
                rows.append(geometric_mean(measured, f"{kind} {name}, geometric mean"))
    if args.roofline:
        draw_roofline(roofline_series(points), limits, args.roofline, "minifer's kernels, float32")
    report(rows, args.threads, args.json, ceilings=limits)


if __name__ == "__main__":
    main()
