"""The command line: one module of minifer.commands per verb. Nothing heavy is imported before a verb runs."""

import argparse
import errno
import signal
import sys
from contextlib import nullcontext
from importlib import import_module

from minifer import __version__, process
from minifer.errors import ConfigError, MiniferError
from minifer.output import document_only, outputs
from minifer.own_code import own_line, trouble

VERBS = {  # verb: (module of minifer.commands with add_arguments and run, one line of help)
    "train": ("train", "train a network, on real data or on drawn faces"),
    "sweep": ("sweep", "train many settings with several seeds, and compare"),
    "evaluate": ("evaluate", "measure a trained network on a split"),
    "predict": ("predict", "say what the faces in pictures and videos express"),
    "look": ("look", "draw what a trained network does inside with a picture"),
    "detect": ("detect", "find the faces in pictures, and their landmarks"),
    "demo": ("demo", "show in the browser what a network does with the faces of a camera"),
    "prepare": ("prepare", "crop every picture of FER2013 to its face"),
    "export": ("export", "write a trained network for other tools: ONNX, safetensors"),
    "cost": ("cost", "count multiply-adds and parameters, layer by layer"),
    "gradcheck": ("gradcheck", "compare backward passes with central differences"),
    "reproduce": ("reproduce", "carry the published study out again and write a report"),
    "train-detector": ("train_detector", "train the face detector again"),
    "train-landmarks": ("train_landmarks", "train the landmark predictor again"),
    "warm-up": ("warm_up", "compile the kernels ahead, on every core"),
    "bench": ("bench", "measure speed: kernels, train, infer or detect"),
    "doctor": ("doctor", "print versions, threads and folders, for when something is odd"),
}


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line; there are verbs with sixty flags."""

    def error(self, message):
        """Say what is wrong, and where it stands how to do it right."""
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help shows what there is)\n")


def make_parser(arguments):
    """Return the parser of `minifer`; of the verbs, only one that is among the arguments is imported."""
    parser = Parser(
        prog="minifer",
        description="A MobileNet with skips and attention, from scratch in NumPy and Numba, on facial expressions.",
    )
    parser.add_argument("--version", action="version", version=f"minifer {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, (module, summary) in VERBS.items():
        verb = verbs.add_parser(name, help=summary)
        if name in arguments:
            command = import_module(f"minifer.commands.{module}")
            verb.description = command.__doc__
            command.add_arguments(verb)
            verb.set_defaults(run=command.run)
    return parser


def main(arguments=None):
    """Run one command and return its exit code: 0 fine, 1 something failed, 2 wrong usage, 130 interrupted.

    Without arguments they are those of the process, which is then minifer's alone.
    """
    with outputs() as (out, err):
        code = run(arguments)
        out.flush()
        if out.error and out.error.errno not in UNREAD:
            say(f"minifer: cannot write to standard output: {out.error.strerror}")
        # Who closes the log does not want it; whoever else lost a line has not got all that was asked for.
        lost = out.error or (err.error and err.stream is not None)
    return code or int(bool(lost))


FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
UNREAD = (errno.EPIPE, errno.EIO)  # the reader of our output, such as head, has seen enough; the terminal is gone


def run(arguments):
    """Run one command; whatever it raises becomes one line and an exit code."""
    name, alone = "minifer", arguments is None
    try:
        if alone:
            process.settle()
            arguments = sys.argv[1:]
        args = make_parser(arguments).parse_args(arguments)
        args.alone = alone
        name = f"minifer {args.verb}"
        if args.verb != "train" and (ranks := process.placed()[1]) > 1:
            raise ConfigError(f"mpiexec has started it {ranks} times: only minifer train shares its work among ranks")
        process.start_numba(say if alone else None)
        with document_only() if getattr(args, "json", False) else nullcontext():
            return args.run(args) or 0
    except KeyboardInterrupt:
        for number in process.STOPPING if alone else ():  # the end is near, and does not want to be interrupted
            signal.signal(number, signal.SIG_IGN)
        return failed(name, "interrupted", 130)
    except ConfigError as error:
        return failed(name, error, 2)
    except MiniferError as error:
        return failed(name, error, 1)
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        reason += ": free some space and begin again" if error.errno in FULL else ""
        return failed(name, f"{error.filename}: {reason}" if error.filename is not None else reason, 1, error)
    except MemoryError as error:
        reason = f"not enough memory{f' ({error})' if str(error) else ''}: give it less at a time"
        return failed(name, reason, 1, error)
    except RecursionError as error:
        return failed(name, "something is nested too deeply, or a function calls itself without end", 1, error)
    except UnicodeError as error:
        reason = f"a text cannot be read or written as {getattr(error, 'encoding', 'text')}: {error}"
        return failed(name, reason, 1, error)
    except BaseException as error:
        if own_line(error):
            return failed(name, trouble(error), 1)
        if isinstance(error, NotImplementedError) and str(error).endswith((".forward", ".backward")):
            # A layer of one's own leaves a pass to its base.
            return failed(name, f"{error} is still to be written", 1)
        if isinstance(error, SystemExit):  # argparse has said why, or the first of several ranks
            return error.code
        raise


def failed(name, message, code, error=None):
    """Say in one line why a command failed, and where, if one's own code raised the error; return its exit code."""
    place = own_line(error) if error else ""
    say(f"{name}: {' '.join(str(message).splitlines())}{f' ({place})' if place else ''}")
    return code


def say(text):
    """Print a line on stderr."""
    print(text, file=sys.stderr, flush=True)
