"""How fast is a training step? minifer against PyTorch (channels last, fused Adam), each in processes of its own.

python benchmarks/train_step.py [--threads 2] [--json] [--rounds 9] [--no-compile] [--only "alpha 0.5"]

Forward, loss, backward and Adam on 32 pictures of 48x48. Of PyTorch the best setting counts: eager or compiled, its own
attention or the math backend, how OpenMP's threads wait and where they run. Also: memory, 2 threads against 1, the
share of the sgemm rate that a step reaches, augmentation's share of a step, and products from bfloat16.
"""

import argparse
import statistics

import numpy as np
from contest import OPENMP, Contestant, contest, settings
from timing import compare, figure, report, row, start

BATCH = 32
NETWORKS = {
    "plain, alpha 1": ("plain", 1.0, ()),
    "plain, alpha 0.5": ("plain", 0.5, ()),
    "skip, stem stride 1, alpha 0.5": ("skip", 0.5, (), 1),
    "mha on blocks 6 to 13, alpha 1": ("mha", 1.0, tuple(range(6, 14))),
    "mha on all blocks, alpha 1": ("mha", 1.0, tuple(range(1, 14))),
    "MobileNetV2": ("v2", 1.0, ()),
    "MobileNetV3, small": ("v3-small", 1.0, ()),
}
SGEMM = ((4608, 128, 128), (1152, 256, 256), (288, 512, 512), (128, 1024, 1024))  # pointwise shapes of MobileNet


def network_of(variant, alpha, attention_blocks, stem_stride=2):
    """Return minifer's network."""
    from minifer.models import mobilenet, mobilenet_v2, mobilenet_v3

    if variant == "v2":
        return mobilenet_v2(alpha)
    if variant == "v3-small":
        return mobilenet_v3("small", alpha)
    attention_blocks = attention_blocks if variant == "mha" else None
    return mobilenet(variant, alpha, stem_stride=stem_stride, attention_blocks=attention_blocks)


def twin_of(variant, alpha, attention_blocks, stem_stride=2):
    """Return the arguments of peers.mobilenet or peers.inverted for the same network."""
    if variant.startswith("v"):
        return twin_of_inverted(network_of(variant, alpha, ()))
    from minifer.models.mobilenet import BLOCKS, STEM_FILTERS

    layout = {"blocks": BLOCKS, "stem_filters": STEM_FILTERS, "stem_stride": stem_stride}
    return {"variant": variant, "alpha": alpha, "attention_blocks": attention_blocks, **layout}


def twin_of_inverted(network):
    """Return the arguments of peers.inverted for a MobileNetV2 or V3."""
    blocks = []
    for name, block in network.layers.items():
        if name.startswith("block"):
            parts = block.layers
            depthwise, project, squeeze = parts["depthwise"], parts["project"], parts.get("squeeze")
            channels = parts["expand"].channels if "expand" in parts else depthwise.channels
            activation = parts["depthwise_norm"].activation or "hard-swish"
            reduced = squeeze.reduce.filters if squeeze else 0
            shape = depthwise.channels, project.filters, depthwise.kernel, depthwise.stride
            blocks.append((channels, *shape, activation, reduced))
    hidden = network.layers["hidden"].filters if "hidden" in network.layers else 0
    sizes = {"stem": network.layers["stem"].filters, "last": network.layers["last"].filters, "hidden": hidden}
    return {"blocks": blocks, "activation": network.layers["stem_norm"].activation or "hard-swish", **sizes}


def training(network, numbers="float32"):
    """Return minifer's training step."""
    from minifer.fusion import fused
    from minifer.kernels.bfloat16 import products
    from minifer.losses import SoftmaxCrossEntropy
    from minifer.optimizers import Adam

    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((BATCH, 48, 48, 1)).astype(np.float32), rng.integers(0, 7, BATCH)
    model = network_of(*network)
    model.require_input_gradient(False)
    net = fused(model)
    loss, optimizer = SoftmaxCrossEntropy(), Adam(model.parameters())

    def step():
        with products(numbers):
            loss.forward(net.forward(x, training=True), labels, training=True)
            net.backward(loss.backward())
        optimizer.step()

    return {"step": step}


def augmentation():
    """Return the augmentation of the batch of a step."""
    from minifer.data.augment import Augmentation, augment_batch

    images = np.random.default_rng(0).integers(0, 256, (BATCH, 48, 48), np.uint8)
    return {"step": lambda: augment_batch(images, np.arange(BATCH), 0, 0, Augmentation())}


def sgemm():
    """Return NumPy's matrix products of the shapes SGEMM."""
    rng = np.random.default_rng(0)
    pairs = [(rng.random((n, c), np.float32), rng.random((c, f), np.float32)) for n, c, f in SGEMM]
    return {str(shape): lambda a=a, b=b: a @ b for shape, (a, b) in zip(SGEMM, pairs, strict=True)}


def sgemm_rate(threads):
    """Return the median GFLOP/s of NumPy's matrix product over the shapes SGEMM, measured now."""
    with contest([Contestant("OpenBLAS", "train_step:sgemm", {}, threads)], seconds=0.05) as running:
        times = {shape: running.times(str(shape), rounds=5)["OpenBLAS"] for shape in SGEMM}
    return statistics.median(2e-9 * np.prod(shape) / statistics.median(turns) for shape, turns in times.items())


def against_pytorch(name, args):
    """Return rows: the time and the memory of training steps of a network."""
    network = NETWORKS[name]
    attention = {"": {}, ", math attention": {"math_attention": True}} if network[0] == "mha" else {"": {}}
    programs = {
        how + which: {"compiled": how == "compiled", **further}
        for how in (["eager"] if args.no_compile else ["eager", "compiled"])
        for which, further in attention.items()
    }
    arguments = {"network": twin_of(*network), "batch": BATCH}
    contestants = [
        Contestant("minifer", "train_step:training", {"network": network}, args.threads),
        *settings("PyTorch", "peers:training", arguments, args.threads, programs, OPENMP),
    ]
    with contest(contestants, seconds=0.5) as running:
        rows = compare(f"step, {name}", running, "step", args.rounds)
        ours, peer = (
            running.workers[who].peak_memory() if who in running.workers else None for who in ("minifer", "PyTorch")
        )
    if ours:
        rows.append(figure(f"largest memory, {name}", ours, peer, "PyTorch", "GB"))
    return rows, running.notes


def within_minifer(name, args):
    """Return rows: a step on one thread, augmentation against a step, its products alone, and those of bfloat16."""
    from minifer.cost import count
    from minifer.kernels.vectors import HAS_BFLOAT16

    step = ("train_step:training", {"network": NETWORKS[name]})
    contestants = [
        Contestant("minifer", *step, args.threads),
        Contestant("minifer, 1 thread", *step, 1),
        Contestant("augmentation", "train_step:augmentation", {}, args.threads),
    ]
    if HAS_BFLOAT16:
        rounded = {**step[1], "numbers": "bfloat16"}
        contestants.append(Contestant("minifer, bfloat16", step[0], rounded, args.threads))
    with contest(contestants, seconds=0.5) as running:
        whole, on_one_thread, augment, *of_bfloat16 = running.times("step", args.rounds).values()
    multiply_adds = count(network_of(*NETWORKS[name]), (48, 48, 1)).multiply_adds
    floor = 2e-9 * 3 * BATCH * multiply_adds / sgemm_rate(args.threads)
    return [
        row(f"step on {args.threads} threads against 1", whole, on_one_thread, "minifer, 1 thread"),
        row("augmentation of a batch", augment, whole, "the training step"),
        row("step against its products alone", whole, [floor], "OpenBLAS"),
        *(row("step with products from bfloat16", times, whole, "float32") for times in of_bfloat16),
    ]


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--only", default="", help="networks whose name contains this")
    args = start(parser)
    rows, notes = [], []
    for name in NETWORKS:
        if args.only not in name:
            continue
        measured, further = against_pytorch(name, args)
        rows, notes = rows + measured, notes + further
        if name == "plain, alpha 1":
            rows += within_minifer(name, args)
    report(rows, args.threads, args.json, notes)


if __name__ == "__main__":
    main()
