"""Compare backward passes with central differences in float64, of all layers, of some by name, or of your own.

Your own layer is file.py:Class, or a function that returns one. It needs forward(x) and backward(dy), no more. Or it is
a pair of functions, affine_forward and affine_backward, or one that returns a loss and its gradient, softmax_loss.
"""

import argparse
import sys

from minifer.commands.common import as_path, as_seed, print_json
from minifer.errors import ConfigError, MiniferError

EXAMPLE = """\
your own layer:
  minifer gradcheck my_layer.py:MyLayer --with channels=3 --input 2x5x4x3
  minifer gradcheck my_loss.py:make_loss --input 4x3 --input 4:3
  minifer gradcheck my_functions.py:affine_forward --input 5x3 --input 3x4 --input 4   (with affine_backward in there)
  minifer gradcheck my_network.py:network --input 2x8x8x1        (a function of input_shape, classes and rng)

backward(dy) returns the gradient of each input. That of self.weight is looked for in self.dweight, self.grad_weight,
self.grads["weight"] and the like, or self.weight.grad where self.weight is a minifer.layers.Parameter. Every array that
forward reads must have one, unless its class says constants = ("table",). Take a tiny shape that is not square.
"""


def add_arguments(parser):
    """Add the flags."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLE
    parser.add_argument(
        "names",
        type=as_path,
        nargs="*",
        metavar="NAME",
        help="cases such as depthwise (default: all), or layers of your own",
    )
    parser.add_argument(
        "--input", action="append", metavar="SHAPE", help="2x5x4x3: random numbers; 4:10: labels 0 to 9; once an input"
    )
    parser.add_argument(
        "--with",
        dest="arguments",
        default="",
        metavar="ARGS",
        help="the constructor's arguments, or a function's: 'channels=3, stride=2'",
    )
    parser.add_argument(
        "--constant", action="append", default=[], metavar="NAME", help="an array that is not trained, such as table"
    )
    parser.add_argument(
        "--require", action="append", default=[], metavar="NAME", help="a number that is trained, such as slope"
    )
    parser.add_argument("--seed", type=as_seed, default=7)
    parser.add_argument("--json", action="store_true", help="one JSON document: a list with a dict for each layer")


def run(args):
    """Check and print one line per case, a table for each layer of one's own; exit code 1 if one fails."""
    from minifer.gradcheck import TOLERANCE
    from minifer.own_code import is_target

    own = [name for name in args.names if is_target(name)]
    if own and not args.input:
        raise ConfigError(f"give the shape of the input of {own[0]}: --input 2x5x4x3")
    if not own and (args.input or args.arguments or args.constant or args.require):
        raise ConfigError(
            "--input, --with, --constant and --require are for layers of your own, such as my_layer.py:MyLayer"
        )
    checks = _cases([name for name in args.names if name not in own] if args.names else None)
    checks += [(name, _own_layer(name, args)) for name in own]
    found = [_check(name, build, args, name in own) for name, build in checks]
    failed = sum(not each["passed"] for each in found)
    if args.json:
        print_json(found)
    print(f"{len(checks) - failed} of {len(checks)} pass (float64, tolerance {TOLERANCE:g})", file=sys.stderr)
    return int(failed > 0)


def _cases(names):
    """Return [(name, function of a generator that returns a layer and its inputs)]; all cases for names=None."""
    from minifer.cases import CASES

    cases = [case for case in CASES if names is None or case.name in names]
    unknown = set(names or ()) - {case.name for case in cases}
    if unknown:
        known = ", ".join(case.name for case in CASES)
        raise ConfigError(f"no case is called {sorted(unknown)[0]!r}; there are {known}; your own is file.py:Class")
    return [(case.name, lambda rng, case=case: (case.make(rng), case.inputs(rng))) for case in cases]


def _own_layer(target, args):
    """Return a function of a generator that returns the layer of a target, and inputs of the shapes asked for."""
    import numpy as np

    from minifer.gradcheck.load import load_layer, parse_arguments, parse_input

    parse_arguments(args.arguments)  # wrong usage is told before anything runs
    rng = np.random.default_rng([args.seed, 1])
    inputs = [parse_input(text, rng) for text in args.input]
    return lambda _: (load_layer(target, args.arguments, args.seed, inputs[0].shape[1:]), inputs)


def _check(name, build, args, own):
    """Check one layer, print the result unless it is wanted as JSON, and return it as a dict."""
    import numpy as np

    from minifer.gradcheck import compare_gradients

    rng = np.random.default_rng(args.seed)
    names = {"constants": args.constant, "required": args.require} if own else {}
    try:
        layer, inputs = build(rng)
        report = compare_gradients(layer, *inputs, rng=rng, **names)
    except ConfigError:  # wrong usage
        raise
    except MiniferError as error:
        if not args.json:
            print(f"FAIL  {name:34} {error}", flush=True)
        return {"name": name, "passed": False, "failure": str(error)}
    found = {"name": name, **report.as_json()}
    if args.json:
        return found
    verdict = "ok  " if report.passed else "FAIL"
    print(f"{verdict}  {name:34} {report.summary}", flush=True)
    if own or not report.passed:
        print("\n".join(f"      {line}" for line in str(report).splitlines()), flush=True)
    return found
