"""How does a training step scale over ranks? Measured on this machine, beside what minifer.cost.scaling predicts.

python benchmarks/scaling.py [--ranks 1,2,4] [--model skip] [--alpha 0.5] [--batch 64] [--rounds 20] [--json]

Every number of ranks is an mpiexec of its own, each rank with one thread, and the batch always in as many blocks as the
most ranks. The step, and its part that every rank does for itself, are measured on one rank; latency and bandwidth by
adding up 1 and all numbers on two ranks; the rest is predicted. Needs pip install -e '.[mpi]'.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from timing import report, start

from minifer.cost.scaling import Scaling

WARM = 3  # steps that do not count


def worker(options):
    """Print the medians of one number of ranks, in seconds, as JSON."""
    from minifer import config
    from minifer.data import synthetic
    from minifer.kernels.threads import threads
    from minifer.parallel import find_ranks
    from minifer.training import Training

    threads(1)
    ranks = find_ranks()
    rows = options.batch * (options.rounds + WARM)
    faces = synthetic.load(0, rows, 8) if ranks.first else {"train": None, "val": None}
    settings = config.TrainConfig(
        model=options.model, alpha=options.alpha, batch_size=options.batch, batch_blocks=options.blocks
    )
    training = Training(settings, faces["train"], faces["val"], ranks=ranks)
    steps = [timed(lambda rows=rows: training._step(rows), ranks) for rows in training.batches.steps(0)][WARM:]
    gradient, one = np.zeros(training.optimizer.flat.grad.size, np.float32), np.zeros(1, np.float32)
    found = {
        "step": steps,
        "own": [timed(training.optimizer.step, ranks) for _ in range(options.rounds)],
        "reduce": [timed(lambda: ranks.sum(gradient), ranks) for _ in range(options.rounds)],
        "latency": [timed(lambda: ranks.sum(one), ranks) for _ in range(options.rounds)],
    }
    if ranks.first:
        print(json.dumps({"bytes": gradient.nbytes, **{key: statistics.median(turns) for key, turns in found.items()}}))


def timed(work, ranks):
    """Return the seconds from when all ranks begin until this one has done its work."""
    ranks.any(False)
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def measure(ranks, options, blocks):
    """Return what the workers print."""
    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    settings = ["--model", options.model, "--alpha", str(options.alpha), "--batch", str(options.batch)]
    settings += ["--rounds", str(options.rounds), "--blocks", str(blocks), "--worker"]
    command = [mpiexec, "-n", str(ranks), sys.executable, __file__, *settings]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "NUMBA_NUM_THREADS": "1"}
    )
    return json.loads(done.stdout)


def beside(measure, seconds, predicted, **further):
    """Return the row of a measured time and a predicted one."""
    ours, theirs = 1e3 * seconds, 1e3 * predicted
    return {
        "measure": measure, "minifer": ours, "unit": "ms", "peer": theirs, "peer_name": "predicted",
        "ratio": theirs / ours, **further,
    }  # fmt: skip


def main():
    """Measure, predict, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ranks", default="1,2,4")
    parser.add_argument("--model", default="skip")
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = start(parser, rounds=20)
    if options.worker:
        worker(options)
        return
    numbers = [int(part) for part in options.ranks.split(",")]
    measured = {ranks: measure(ranks, options, max(numbers)) for ranks in sorted({1, 2, *numbers})}
    alone, pair = measured[1], measured[2]
    scaling = Scaling(
        step=alone["step"],
        own=alone["own"],
        size=alone["bytes"],
        latency=pair["latency"],
        bandwidth=alone["bytes"] / max(pair["reduce"] - pair["latency"], 1e-9),
        cores=os.cpu_count(),
    )
    rows = []
    for ranks in numbers:
        further = {"speedup": alone["step"] / measured[ranks]["step"]}
        rows.append(beside(f"step, {ranks} ranks", measured[ranks]["step"], scaling.step_of(ranks), **further))
        if ranks > 1:
            rows.append(beside(f"adding up, {ranks} ranks", measured[ranks]["reduce"], scaling.reduce(ranks)))
    network = {"latency us": 1e6 * scaling.latency, "bandwidth GB/s": scaling.bandwidth / 1e9}
    report(rows, 1, options.json, network=network, own_ms=1e3 * scaling.own)


if __name__ == "__main__":
    main()
