"""What `minifer cost --ranks` prints: the training step on several ranks, predicted for a network between them."""

from minifer.commands.common import print_json
from minifer.errors import ConfigError

LATENCY, BANDWIDTH = 50.0, 1.0  # microseconds of a message, gigabits a second: gigabit Ethernet


def add_arguments(parser):
    """Add the flags of --ranks to those of cost."""
    parser.add_argument(
        "--ranks", metavar="N,N,...", help="predict the training step on so many ranks of mpiexec, such as 1,2,4,1000"
    )
    parser.add_argument(
        "--step-ms", type=float, metavar="MS", help="with --ranks: a measured step on one rank, in milliseconds"
    )
    parser.add_argument(
        "--latency",
        type=float,
        metavar="US",
        help="with --ranks: microseconds of a message (default: 50)",
    )
    parser.add_argument("--bandwidth", type=float, metavar="GBIT", help="with --ranks: gigabits a second (default: 1)")


def given(args):
    """Whether any of the flags is there that only --ranks reads."""
    return (args.step_ms, args.latency, args.bandwidth) != (None, None, None)


def run(args, model, name):
    """Print the prediction for a network."""
    from minifer.allowed import Number, checked
    from minifer.cost.scaling import ALGORITHMS, Scaling
    from minifer.report.text import aligned

    if args.step_ms is None:
        raise ConfigError("--ranks needs --step-ms, a measured step: benchmarks/scaling.py and metrics.csv tell it")
    latency = LATENCY if args.latency is None else args.latency
    bandwidth = BANDWIDTH if args.bandwidth is None else args.bandwidth
    for flag, value in (("--step-ms", args.step_ms), ("--latency", latency), ("--bandwidth", bandwidth)):
        checked(flag, value, Number(1e-6, 1e9))
    size = sum(4 * parameter.value.size for parameter in model.parameters(trainable_only=True).values())
    scaling = Scaling(args.step_ms / 1e3, size, latency / 1e6, bandwidth * 1e9 / 8)
    rows = [figures(scaling, ranks, ALGORITHMS) for ranks in parse_ranks(args.ranks)]
    outweighed = {algorithm: scaling.outweighed_from(algorithm) for algorithm in ALGORITHMS}
    if args.json:
        print_json({"bytes": size, "ranks": rows, "outweighed_from": outweighed})
        return
    print(
        f"{name}: {size / 1e6:.1f} MB of gradients, {args.step_ms:g} ms a step on one rank, {latency:g} us and "
        f"{bandwidth:g} Gbit/s between ranks; one batch, shared evenly\n"
    )
    reduced = [f"{algorithm} ms" for algorithm in ALGORITHMS]
    table = [["ranks", "compute ms", *reduced, "step ms", "speed-up", "efficiency"]]
    for row in rows:
        times = [row["compute_ms"], *row["reduce_ms"].values(), row["step_ms"]]
        cells = [f"{time:,.3g}" if time < 100 else f"{time:,.0f}" for time in times]
        table.append([str(row["ranks"]), *cells, f"{row['speedup']:.2f}", f"{row['efficiency']:.0%}"])
    print("\n".join(aligned(table)))
    print("\nstep, speed-up and efficiency are of doubling, which minifer does; adding up outweighs computing from")
    print(", ".join(f"{ranks or 'no number of'} ranks on with {algorithm}" for algorithm, ranks in outweighed.items()))


def parse_ranks(text):
    """Return the numbers in a text, parted by commas."""
    try:
        ranks = [int(part) for part in text.split(",")]
    except ValueError:
        ranks = [0]
    if not all(1 <= number <= 10**6 for number in ranks):
        raise ConfigError(f"--ranks {text}: write numbers from 1 to 1000000, such as 1,2,4,1000")
    return ranks


def figures(scaling, ranks, algorithms):
    """Return what is predicted for a number of ranks."""
    return {
        "ranks": ranks,
        "compute_ms": 1e3 * scaling.compute(ranks),
        "reduce_ms": {algorithm: 1e3 * scaling.reduce(ranks, algorithm) for algorithm in algorithms},
        "step_ms": 1e3 * scaling.step_of(ranks),
        "speedup": scaling.speedup(ranks),
        "efficiency": scaling.speedup(ranks) / ranks,
    }
