"""How fast is a training step? minifer against PyTorch (eager and compiled, channels last, fused Adam), in turns.

python benchmarks/train_step.py [--threads 2] [--json] [--rounds 9] [--no-compile] [--only "alpha 0.5"]

Forward, loss, backward and Adam on 32 pictures of 48x48. Also: 2 threads against 1, the share of the sgemm rate that a
step reaches, augmentation's share of a step, and the memory of a process that only trains.
"""

import argparse
import statistics
import subprocess
import sys
from functools import partial

import numpy as np
from timing import alternate, report, row, start

import minifer
from minifer.cost import count
from minifer.data.augment import Augmentation, augment_batch
from minifer.losses import SoftmaxCrossEntropy
from minifer.models import mobilenet
from minifer.optimizers import Adam

BATCH = 32
NETWORKS = {
    "plain, alpha 1": ("plain", 1.0, ()),
    "plain, alpha 0.5": ("plain", 0.5, ()),
    "mha on blocks 6 to 13, alpha 1": ("mha", 1.0, tuple(range(6, 14))),
    "mha on all blocks, alpha 1": ("mha", 1.0, tuple(range(1, 14))),
}


def minifer_step(name, x, labels):
    """Return (a function that makes one training step of a network, multiply-adds of a picture)."""
    variant, alpha, attention_blocks = NETWORKS[name]
    net = mobilenet(variant, alpha, attention_blocks=attention_blocks if variant == "mha" else None)
    net.require_input_gradient(False)
    loss, optimizer = SoftmaxCrossEntropy(), Adam(net.parameters())

    def step():
        loss.forward(net.forward(x, training=True), labels, training=True)
        net.backward(loss.backward())
        optimizer.step()

    return step, count(net, (48, 48, 1)).multiply_adds


def batch():
    """Return pictures and labels."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((BATCH, 48, 48, 1)).astype(np.float32), rng.integers(0, 7, BATCH)


def sgemm_rate():
    """Return the median GFLOP/s of NumPy's matrix product over the pointwise shapes of MobileNet, measured now."""
    rates, rng = [], np.random.default_rng(0)
    for rows, channels, filters in ((4608, 128, 128), (1152, 256, 256), (288, 512, 512), (128, 1024, 1024)):
        a, b = rng.random((rows, channels), np.float32), rng.random((channels, filters), np.float32)
        seconds = alternate({"sgemm": lambda a=a, b=b: a @ b}, rounds=5, seconds=0.05)["sgemm"]
        rates.append(2e-9 * a.size * filters / statistics.median(seconds))
    return statistics.median(rates)


def peak_memory(name, threads):
    """Return the largest resident size, in GB, of a process of its own that makes three steps of a network (Linux)."""
    code = (
        "import minifer, train_step as t\n"
        f"minifer.threads({threads})\n"
        f"step, _ = t.minifer_step({name!r}, *t.batch())\n"
        "for _ in range(3): step()\n"
        # Not getrusage: its maximum includes what the parent held when it forked.
        "print(next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM')) / 1e6)"
    )
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=sys.path[0]).stdout)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--only", default="", help="networks whose name contains this")
    args, torch = start(parser)
    x, labels = batch()
    rows, facts = [], {}
    for name, (variant, alpha, blocks) in NETWORKS.items():
        if args.only not in name:
            continue
        step, multiply_adds = minifer_step(name, x, labels)
        contestants = {"minifer": step}
        if torch:
            from peers import torch_mobilenet, torch_step

            contestants["torch eager"] = torch_step(torch_mobilenet(variant, alpha, blocks), x, labels)
            if not args.no_compile and variant == "plain":
                contestants["torch compiled"] = torch_step(torch_mobilenet(variant, alpha), x, labels, compiled=True)
        times = alternate(contestants, args.rounds, seconds=0.5)
        for peer in [name for name in times if name != "minifer"]:
            rows.append(row(f"step, {name}", times["minifer"], times[peer], peer))
        if name == "plain, alpha 1":
            floor = 2e-9 * 3 * BATCH * multiply_adds / sgemm_rate()
            rows.append(row("step against its products alone", times["minifer"], [floor], "sgemm"))

            def on_one_thread(step=step):
                minifer.threads(1)
                step()
                minifer.threads(args.threads)

            pair = alternate({"many": step, "one": on_one_thread}, args.rounds, seconds=0.5)
            rows.append(
                row(f"step on {args.threads} threads against 1", pair["many"], pair["one"], "minifer, 1 thread")
            )
            pictures = np.random.default_rng(0).integers(0, 256, (BATCH, 48, 48), np.uint8)
            augment = partial(augment_batch, pictures, np.arange(BATCH), 0, 0, Augmentation())
            pair = alternate({"augmentation": augment, "step": step}, args.rounds)
            rows.append(row("augmentation of a batch", pair["augmentation"], pair["step"], "the training step"))
        if "all blocks" in name:
            facts["peak_memory_gb"] = {name: peak_memory(name, args.threads)}
    report(rows, args.threads, args.json, **facts)


if __name__ == "__main__":
    main()
