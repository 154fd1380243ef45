"""How fast is a training step? minifer against PyTorch (eager and compiled, channels last, fused Adam), in turns.

python benchmarks/train_step.py [--threads 2] [--json] [--no-compile] [--only alpha1]

Forward, loss, backward and Adam on 32 pictures of 48x48. Also: 2 threads against 1, the share of the step that sgemm
would need for its multiply-adds, augmentation's share, and the memory of the process.
"""

import argparse
import resource
import statistics

import numba
import numpy as np
import threadpoolctl
from timing import alternate, report, row

import minifer.kernels  # noqa: F401  (first: it sets how its threads wait)
from minifer.cost import count
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


def minifer_step(variant, alpha, attention_blocks, x, labels):
    """Return (a function that makes one training step, multiply-adds of a picture)."""
    settings = {"attention_blocks": attention_blocks} if variant == "mha" else {}
    net = mobilenet(variant, alpha, **settings)
    net.require_input_gradient(False)
    loss, optimizer = SoftmaxCrossEntropy(), Adam(net.parameters())

    def step():
        loss.forward(net.forward(x, training=True), labels, training=True)
        net.backward(loss.backward())
        optimizer.step()

    return step, count(net, (48, 48, 1)).multiply_adds


def sgemm_rate():
    """Return the median GFLOP/s of NumPy's matrix product over the pointwise shapes of MobileNet, measured now."""
    rates, rng = [], np.random.default_rng(0)
    for rows, channels, filters in ((4608, 128, 128), (1152, 256, 256), (288, 512, 512), (128, 1024, 1024)):
        a, b = rng.random((rows, channels), np.float32), rng.random((channels, filters), np.float32)
        seconds = alternate({"sgemm": lambda a=a, b=b: a @ b}, rounds=5, seconds=0.05)["sgemm"]
        rates.append(2e-9 * a.size * filters / statistics.median(seconds))
    return statistics.median(rates)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--only", default="", help="networks whose name contains this")
    args = parser.parse_args()
    numba.set_num_threads(args.threads)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, 48, 48, 1)).astype(np.float32)
    labels = rng.integers(0, 7, BATCH)
    try:
        import torch
        from peers import torch_mobilenet, torch_step

        torch.set_num_threads(args.threads)
    except ImportError:
        torch = None
    rows = []
    for name, (variant, alpha, blocks) in NETWORKS.items():
        if args.only not in name:
            continue
        step, multiply_adds = minifer_step(variant, alpha, blocks, x, labels)
        contestants = {"minifer": step}
        if torch:
            contestants["torch eager"] = torch_step(torch_mobilenet(variant, alpha, blocks), x, labels)
            if not args.no_compile and variant == "plain":
                contestants["torch compiled"] = torch_step(torch_mobilenet(variant, alpha), x, labels, compiled=True)
        for function in contestants.values():
            function()
        times = alternate(contestants, args.rounds, seconds=0.5)
        peers = {peer: seconds for peer, seconds in times.items() if peer != "minifer"}
        if peers:
            best = min(peers, key=lambda peer: statistics.median(peers[peer]))
            rows.append(row(f"step, {name}", times["minifer"], peers[best], best))
        if name == "plain, alpha 1":
            with threadpoolctl.threadpool_limits(args.threads):
                floor = 2e-9 * 3 * BATCH * multiply_adds / sgemm_rate()
            rows.append(row("share of the sgemm rate", times["minifer"], [floor], "sgemm"))

            def on_one_thread(step=step):
                numba.set_num_threads(1)
                step()
                numba.set_num_threads(args.threads)

            pair = alternate({"many": step, "one": on_one_thread}, args.rounds, seconds=0.5)
            rows.append(row(f"{args.threads} threads against 1", pair["many"], pair["one"], "minifer, 1 thread"))
        if "all blocks" in name:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            print(
                f"peak memory of this process, PyTorch included if it is here: {peak:.2f} GB"
            ) if not args.json else None
    report(rows, args.threads, args.json)


if __name__ == "__main__":
    main()
