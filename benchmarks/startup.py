"""How long until something happens? The command line, and the first training step with and without compiled kernels.

python benchmarks/startup.py [--threads 2] [--json] [--rounds 3]

Whole processes, imports included; the peer is the first training step of the same network in PyTorch.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timing import report, row, start

FIRST_STEP = """
import numpy as np
from minifer.losses import SoftmaxCrossEntropy
from minifer.models import mobilenet
from minifer.optimizers import Adam
net, loss = mobilenet("plain"), SoftmaxCrossEntropy()
optimizer = Adam(net.parameters())
loss.forward(net.forward(np.ones((32, 48, 48, 1), np.float32), training=True), np.zeros(32, int), training=True)
net.backward(loss.backward())
optimizer.step()
"""
TORCH_STEP = """
import numpy as np
from peers import torch_mobilenet, torch_step
torch_step(torch_mobilenet("plain", 1.0), np.ones((32, 48, 48, 1), np.float32), np.zeros(32, int))()
"""


def seconds(command, cache=None):
    """Return how long a Python process takes; cache is Numba's folder."""
    environment = {**os.environ, **({"NUMBA_CACHE_DIR": cache} if cache else {})}
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *command], env=environment, cwd=Path(__file__).parent, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def main():
    """Measure and print."""
    args, torch = start(argparse.ArgumentParser(description=__doc__.splitlines()[0]), rounds=3)
    cold, warm, helped, peer = [], [], [], []
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(seconds(["-c", FIRST_STEP], cache))
            warm.append(seconds(["-c", FIRST_STEP], cache))
        helped.append(seconds(["-m", "minifer", "--help"]))
        if torch:
            peer.append(seconds(["-c", TORCH_STEP]))
    rows, unit = [], {"unit": "s", "scale": 1}
    if peer:
        rows.append(row("first training step, nothing compiled", sorted(cold), sorted(peer), "torch eager", **unit))
        rows.append(row("first training step, kernels compiled", sorted(warm), sorted(peer), "torch eager", **unit))
    else:
        rows.append(row("first training step, kernels compiled", sorted(warm), sorted(cold), "not compiled", **unit))
    rows.append(row("minifer --help", sorted(helped), sorted(warm), "a training step", **unit))
    report(rows, args.threads, args.json)


if __name__ == "__main__":
    main()
