"""What the benchmarks share: their arguments, and the rows that they print."""

import json
import os
import platform
import statistics
import sys

RATES = {"gflops": "GFLOP/s", "gbytes": "GB/s", "peer_gflops": "GFLOP/s"}


def start(parser, rounds=9):
    """Parse a benchmark's arguments, and warn where other programs keep the machine busy."""
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count()))
    parser.add_argument("--rounds", type=int, default=rounds, help="how often everything is measured")
    parser.add_argument("--json", action="store_true")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0
    if load > 0.5:
        print(f"other programs are running (load {load:.1f}): measure on a quiet machine", file=sys.stderr)
    return parser.parse_args()


def machine():
    """Return the processor's name and number of cores."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            name = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores"


def compare(measure, running, function, rounds, **further):
    """Return the rows of one measurement of a contest: minifer against every other library, or alone.

    A row names the setting of its peer; "tried" gives the times of all settings, each in its last duel.
    """
    ours, *peers = running.times(function, rounds).items()
    rows = []
    for name, turns in peers:
        chosen = {"setting": running.workers[name].contestant.setting, "tried": running.tried.get(name, {})}
        rows.append(row(measure, ours[1], turns, name, **chosen, **further))
    return rows or [row(measure, ours[1], **further)]


def row(measure, ours, peer=None, peer_name=None, unit="ms", scale=1e3, **further):
    """Return one row of results from two lists of seconds, one of each turn; ratio > 1 means that minifer is faster."""
    result = {
        "measure": measure,
        "minifer": statistics.median(ours) * scale,
        "peer": None,
        "peer_name": peer_name,
        "unit": unit,
        "ratio": None,
        "spread": [min(ours) * scale, max(ours) * scale],
    }
    if peer:
        result["peer"] = statistics.median(peer) * scale
        result["ratio"] = result["peer"] / result["minifer"]
        result["peer_spread"] = [min(peer) * scale, max(peer) * scale]
        if len(ours) == len(peer) > 1:  # measured in turns
            ratios = [theirs / mine for mine, theirs in zip(ours, peer, strict=True)]
            result["ratio_spread"] = [min(ratios), max(ratios)]
    return {**result, **further}


def figure(measure, ours, peer, peer_name, unit, less=True):
    """Return one row of two figures, of which the smaller one is the better unless less is False; peer may be None."""
    ratio = None if peer is None else (peer / ours if less else ours / peer)
    return {"measure": measure, "minifer": ours, "peer": peer, "peer_name": peer_name, "unit": unit, "ratio": ratio}


def report(rows, threads, as_json, notes=(), **facts):
    """Print a table, or the JSON document that `minifer bench --json` promises; facts are added to it."""
    notes = list(dict.fromkeys(notes))
    if as_json:
        notes = {"notes": notes} if notes else {}
        print(json.dumps({"machine": machine(), "threads": threads, "rows": rows, **facts, **notes}, indent=2))
        return
    how = "; medians, and the ratio's spread over the turns" if any("ratio_spread" in r for r in rows) else ""
    print(f"{machine()}, {threads} threads{how}")
    for name, value in facts.items():
        print(f"{name}: {value}" if not isinstance(value, dict) else f"{name}: " + text_of(value))
    for r in rows:
        line = f"{r['measure']:46} {number(r['minifer'])} {r['unit']:8}"
        if r["peer"] is not None:
            line += f" {r['peer_name']:>22} {number(r['peer'])}   ratio {r['ratio']:5.2f}"
        if "ratio_spread" in r:
            line += " ({:.2f} to {:.2f})".format(*r["ratio_spread"])
        rates = "".join(f"  {r[key]:6.1f} {unit}" for key, unit in RATES.items() if key in r)
        print(line + rates + (f"  {r['setting']}" if "setting" in r else ""))
    for note in notes:
        print(note)


def number(value):
    """Return a figure with as many digits as tell something."""
    return f"{value:9.3f}" if abs(value) < 10 else f"{value:9.1f}"


def text_of(values):
    """Return "name 1.0, other 2.0" for a dict of numbers."""
    return ", ".join(f"{name} {value:.1f}" for name, value in values.items())
