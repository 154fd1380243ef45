"""What the benchmarks share: alternating measurements, medians with their spread, and the rows that they print.

A shared machine drifts, so contestants take turns and only figures of one run are compared. The thread pools of the
contestants must not meet: each turn warms its own up again and waits for the other's to fall asleep.
"""

import json
import os
import platform
import statistics
import time

import threadpoolctl

import minifer

PAUSE = 0.1  # seconds until the waiting threads of another library sleep


def start(parser, rounds=9):
    """Parse a benchmark's arguments and pin the threads; return (arguments, torch or None where it is missing)."""
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count()))
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of every contestant")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    minifer.threads(args.threads)  # before PyTorch: the first to start its threads decides how they wait
    threadpoolctl.threadpool_limits(args.threads)
    try:
        import torch
    except ImportError:
        return args, None
    torch.set_num_threads(args.threads)
    return args, torch


def machine():
    """Return the processor's name and number of cores."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            name = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores"


def alternate(contestants, rounds=9, seconds=0.15):
    """Time {name: function}, in turns; return {name: sorted list of seconds per call, one for each round}."""
    times = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, function in contestants.items():
            time.sleep(PAUSE)
            function()
            started, calls = time.perf_counter(), 0
            while time.perf_counter() - started < seconds:
                function()
                calls += 1
            times[name].append((time.perf_counter() - started) / calls)
    return {name: sorted(values) for name, values in times.items()}


def row(measure, ours, peer, peer_name, unit="ms", scale=1e3):
    """Return one row of results from two sorted lists of seconds; ratio > 1 means that minifer is faster."""
    mine, theirs = statistics.median(ours), statistics.median(peer)
    return {
        "measure": measure,
        "minifer": mine * scale,
        "peer": theirs * scale,
        "peer_name": peer_name,
        "unit": unit,
        "ratio": theirs / mine,
        "spread": [ours[0] * scale, ours[-1] * scale],
        "peer_spread": [peer[0] * scale, peer[-1] * scale],
    }


def report(rows, threads, as_json, **facts):
    """Print a table, or the JSON document that `minifer bench --json` promises; facts are added to it."""
    if as_json:
        print(json.dumps({"machine": machine(), "threads": threads, "rows": rows, **facts}, indent=2))
        return
    how = "; medians, and the spread of single rounds" if any("spread" in r for r in rows) else ""
    print(f"{machine()}, {threads} threads{how}")
    for name, value in facts.items():
        print(f"{name}: {value}" if not isinstance(value, dict) else f"{name}: " + text_of(value))
    for r in rows:
        line = f"{r['measure']:46} {number(r['minifer'])} {r['unit']:8}"
        if r["peer"] is not None:
            line += f" {r['peer_name']:>22} {number(r['peer'])}   ratio {r['ratio']:5.2f}"
        spread = r.get("ratio_spread")
        if "spread" in r and spread is None:
            spread = [r["peer_spread"][0] / r["spread"][1], r["peer_spread"][1] / r["spread"][0]]
        rates = "".join(f"  {r[key]:6.1f} {unit}" for key, unit in RATES.items() if key in r)
        print(line + (f" ({spread[0]:.2f} to {spread[1]:.2f})" if spread else "") + rates)


def number(value):
    """Return a figure with as many digits as tell something."""
    return f"{value:9.3f}" if abs(value) < 10 else f"{value:9.1f}"


RATES = {"gflops": "GFLOP/s", "gbytes": "GB/s", "peer_gflops": "GFLOP/s"}


def text_of(values):
    """Return "name 1.0, other 2.0" for a dict of numbers."""
    return ", ".join(f"{name} {value:.1f}" for name, value in values.items())
