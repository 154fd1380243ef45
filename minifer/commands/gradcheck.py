"""Compare backward passes with central differences in float64: of all layers, of some by name, or of your own."""

import sys

from minifer.errors import ConfigError, MiniferError


def add_arguments(parser):
    """Add the flags."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="cases such as depthwise or mobilenet-mha (default: all)"
    )
    parser.add_argument("--seed", type=int, default=7)


def run(args):
    """Check and print one line per case; exit code 1 if one fails."""
    import numpy as np

    from minifer.cases import CASES
    from minifer.gradcheck import TOLERANCE, compare_gradients

    cases = [case for case in CASES if not args.names or case.name in args.names]
    unknown = set(args.names) - {case.name for case in cases}
    if unknown:
        names = ", ".join(case.name for case in CASES)
        raise ConfigError(f"no case is called {sorted(unknown)[0]!r}; there are {names}")
    failed = 0
    for case in cases:
        rng = np.random.default_rng(args.seed)
        try:
            report = compare_gradients(case.make(rng), *case.inputs(rng), rng=rng)
        except MiniferError as error:
            print(f"FAIL  {case.name:34} {error}", flush=True)
            failed += 1
            continue
        verdict = "ok  " if report.passed else "FAIL"
        print(f"{verdict}  {case.name:34} largest relative error {report.error:.1e}  ({report.worst})", flush=True)
        failed += not report.passed
    print(f"{len(cases) - failed} of {len(cases)} pass (float64, tolerance {TOLERANCE:g})", file=sys.stderr)
    return int(failed > 0)
