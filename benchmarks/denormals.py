"""What do numbers below 1.2e-38 cost a matrix product? minifer, which takes them for 0, and NumPy (OpenBLAS).

python benchmarks/denormals.py [--threads 2] [--json] [--rounds 9]

One product of 1152 x 256 by 256 x 256, float32, of whose left factor three entries in a hundred are 1e-40, as many as
the gradients of attention had after three epochs; each library against itself without them.
"""

import argparse

import numpy as np
from contest import Contestant, contest
from timing import report, row, start

SHAPE = 1152, 256, 256
SHARE = 0.03


def factors():
    """Return {name: (left factor, right factor)}, without denormal numbers and with them."""
    rows, steps, columns = SHAPE
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((rows, steps), np.float32), rng.standard_normal((steps, columns), np.float32)
    tiny = np.where(rng.random(a.shape) < SHARE, np.float32(1e-40), a)
    return {"without": (a, b), "with": (tiny, b)}


def ours():
    """Return minifer's products."""
    from minifer.kernels.pointwise import pointwise_forward

    return {name: lambda pair=pair: pointwise_forward(*pair) for name, pair in factors().items()}


def openblas():
    """Return NumPy's products."""
    return {name: lambda pair=pair: np.matmul(*pair) for name, pair in factors().items()}


def main():
    """Measure and print."""
    args = start(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
    makers = {"minifer": "denormals:ours", "OpenBLAS": "denormals:openblas"}
    with contest([Contestant(who, maker, {}, args.threads) for who, maker in makers.items()], seconds=0.2) as running:
        without, tiny = (running.times(name, args.rounds) for name in ("without", "with"))
    rows = [row(f"a product with denormal numbers, {who}", tiny[who], without[who], "without them") for who in makers]
    report(rows, args.threads, args.json)


if __name__ == "__main__":
    main()
