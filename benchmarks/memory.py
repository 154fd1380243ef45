"""How much memory does a training step take? The formulas of minifer.cost against what the system counts.

python benchmarks/memory.py [--model plain,skip,mha] [--alpha 1] [--batch 32,128] [--input 48x48x1] [--json]

Every figure is of a process of its own: it takes one step on one picture (so that all kernels are there), lets the
network go, and notes how much memory it has. Then it makes the network and Adam anew, takes two steps, and asks the
system for the most that it has had in between (VmHWM). The C library gives freed memory back at once in this process,
so that what counts is what exists. In training minifer lets it keep freed pages for the next step, which is faster and
takes more: "kept pages" is a second process with that setting. Linux only.
"""

import argparse
import ctypes
import gc
import json
import subprocess
import sys

import numba
import numpy as np
from timing import figure, report

from minifer.cost import stored_now, training_memory
from minifer.kernels.memory import keep_freed_pages
from minifer.losses import SoftmaxCrossEntropy
from minifer.models import mobilenet, mobilenet_v2, mobilenet_v3
from minifer.optimizers import Adam

NETWORKS = {
    "plain": mobilenet,
    "skip": lambda **settings: mobilenet("skip", **settings),
    "mha": lambda **settings: mobilenet("mha", **settings),
    "v2": mobilenet_v2,
    "v3": lambda **settings: mobilenet_v3("large", **settings),
    "v3-small": mobilenet_v3,
}
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD = -3, -1, -2  # from malloc.h
SMALLEST = 64 << 10  # bytes of a block that the system gives and takes back alone


def build(name, alpha, shape):
    """Return a network ready for training."""
    network = NETWORKS[name](alpha=alpha, input_shape=shape)
    network.require_input_gradient(False)
    return network


def steps(network, shape, batch, count):
    """Take training steps; return the bytes that the layers kept in the last one."""
    optimizer, loss = Adam(network.parameters()), SoftmaxCrossEntropy()
    x = np.random.default_rng(0).standard_normal((batch, *shape), np.float32)
    labels = np.arange(batch) % 7
    for _ in range(count):
        loss.forward(network.forward(x, training=True), labels, training=True)
        kept = stored_now(network)
        network.backward(loss.backward())
        optimizer.step()
    return kept


def status(field):
    """Return bytes of a field in /proc/self/status, such as VmRSS or VmHWM."""
    with open("/proc/self/status") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith(field))


def measure(name, alpha, shape, batch, keep_pages):
    """Return {"peak", "stored"} of this process in bytes: what it grew by, and what the layers kept."""
    mallopt = ctypes.CDLL(None).mallopt
    for setting, value in ((M_MMAP_THRESHOLD, SMALLEST), (M_TRIM_THRESHOLD, 0), (M_TOP_PAD, 0)):
        mallopt(setting, value)
    steps(build(name, alpha, shape), shape, 1, 1)
    gc.collect()
    if keep_pages:
        keep_freed_pages()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # VmHWM begins again
    before = status("VmRSS")
    stored = steps(build(name, alpha, shape), shape, batch, 2)
    return {"peak": status("VmHWM") - before, "stored": stored}


def in_child(*arguments):
    """Return measure(*arguments) of a process of its own."""
    command = [sys.executable, __file__, "--child", json.dumps(arguments)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def compare(name, alpha, shape, batch):
    """Return a row of the report; sizes are in MB, and ratio is the formula over the measured peak."""
    memory = training_memory(build(name, alpha, shape), shape, batch)
    live, kept = (in_child(name, alpha, shape, batch, keep) for keep in (False, True))
    measured = figure(f"{name}, alpha {alpha:g}, batch {batch}", live["peak"] / 1e6, memory.peak / 1e6, "formula", "MB")
    sizes = {"kept_pages": kept["peak"], "stored": live["stored"], "stored_formula": memory.stored}
    return {**measured, **{key: size / 1e6 for key, size in sizes.items()}}


def main():
    """Measure, and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="plain,skip,mha,v2,v3,v3-small")
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--batch", default="32,128")
    parser.add_argument("--input", default="48x48x1")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        name, alpha, shape, batch, keep_pages = json.loads(args.child)
        print(json.dumps(measure(name, alpha, tuple(shape), batch, keep_pages)))
        return
    shape, batches = tuple(map(int, args.input.split("x"))), list(map(int, args.batch.split(",")))
    rows = [compare(name, args.alpha, shape, batch) for name in args.model.split(",") for batch in batches]
    notes = [f"{row['measure']}: {row['kept_pages']:.1f} MB with kept pages" for row in rows]
    report(rows, numba.get_num_threads(), args.json, notes)


if __name__ == "__main__":
    main()
