"""How long until something happens? The command line, and the first training step with and without compiled kernels.

python benchmarks/startup.py [--threads 2] [--json] [--rounds 3]

Whole processes, imports included; the peer is the first training step of the same network in PyTorch, eager, in the
best of OpenMP's environments.
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from contest import OPENMP, Contestant, environment, settings
from timing import report, row, start
from train_step import BATCH, NETWORKS, twin_of

NETWORK = NETWORKS["plain, alpha 1"]
FIRST_CALL = "import contest, json, sys; contest.answer_to(json.loads(sys.argv[1]), {}, {})"


def seconds(contestant, *command, **variables):
    """Return how long a Python process takes: without a command the one in which a contestant makes its first call."""
    request = {"make": contestant.make, "arguments": contestant.arguments}
    command = command or ("-c", FIRST_CALL, json.dumps(request))
    variables = environment(contestant.threads, **contestant.environment, **variables)
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *command], env=variables, cwd=Path(__file__).parent, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def main():
    """Measure and print."""
    args = start(argparse.ArgumentParser(description=__doc__.splitlines()[0]), rounds=3)
    ours = Contestant("minifer", "train_step:training", {"network": NETWORK}, args.threads)
    arguments = {"network": twin_of(*NETWORK), "batch": BATCH}
    peers = settings("PyTorch", "peers:training", arguments, args.threads, {"eager": {}}, OPENMP)
    peers = peers if importlib.util.find_spec("torch") else []
    cold, warm, helped, theirs = [], [], [], {contestant.setting: [] for contestant in peers}
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(seconds(ours, NUMBA_CACHE_DIR=cache))
            warm.append(seconds(ours, NUMBA_CACHE_DIR=cache))
        helped.append(seconds(ours, "-m", "minifer", "--help"))
        for contestant in peers:
            theirs[contestant.setting].append(seconds(contestant))
    tried = {setting: 1e3 * statistics.median(turns) for setting, turns in theirs.items()}
    best = min(tried, key=tried.get, default=None)
    peer = {"peer": theirs[best], "peer_name": "PyTorch", "setting": best, "tried": tried} if tried else {}
    rows = [
        row("first training step, kernels compiled", warm, unit="s", scale=1, **peer),
        row("first training step, nothing compiled", cold, unit="s", scale=1, **peer),
        row("minifer --help", helped, unit="s", scale=1),
    ]
    report(rows, args.threads, args.json)


if __name__ == "__main__":
    main()
