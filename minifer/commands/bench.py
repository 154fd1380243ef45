"""Measure this machine: the kernels, a training step, inference or detection.

Whichever peers are installed run too, each in a process of its own and with the best of its settings.
"""

QUESTIONS = {"kernels": "kernels.py", "train": "train_step.py", "infer": "inference.py", "detect": "detection.py"}


def add_arguments(parser):
    """What to measure, and --json; everything else is decided in benchmarks/."""
    parser.add_argument("what", choices=QUESTIONS, nargs="?", default="kernels", help="default: kernels")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args):
    """Run one file of benchmarks/ and return its exit code."""
    import subprocess
    import sys
    from pathlib import Path

    import minifer
    from minifer.errors import ConfigError

    script = Path(minifer.__file__).parents[1] / "benchmarks" / QUESTIONS[args.what]
    if not script.exists():
        raise ConfigError(f"{script} is missing: the benchmarks are part of a checkout, not of an installed package")
    return subprocess.run([sys.executable, script, *(["--json"] if args.json else [])], check=False).returncode
