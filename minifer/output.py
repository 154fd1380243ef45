"""Standard output and error while a verb runs: work never ends, or breaks off, because nobody can read what it prints.

What a stream does not take (its reader has gone, the disk is full, the terminal was closed) is dropped, and
remembered: the work goes on, its files are written to the end, and main() returns 1 instead of 0.
"""

import contextlib
import errno
import os
import sys
from contextvars import ContextVar

RESULTS = ContextVar("RESULTS", default=None)  # standard output, also where prints go to the log: see document_only


class Output:
    """A text stream that raises nothing; `error` is the first OSError that it met."""

    def __init__(self, stream):
        self.stream, self.error = stream, None

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def isatty(self):
        """Whether somebody watches."""
        return self.stream is not None and self.stream.isatty()

    def write(self, text):
        """Write, or drop what cannot be written."""
        self._try("write", text)
        return len(text)

    def flush(self):
        """Hand on what waits in the buffer."""
        self._try("flush")

    def _try(self, method, *arguments):
        if self.stream is None:  # it was closed before Python started
            self.error = self.error or OSError(errno.EBADF, os.strerror(errno.EBADF))
        if self.error:
            return
        try:
            getattr(self.stream, method)(*arguments)
        except OSError as error:
            self.error = error
            with contextlib.suppress(OSError):  # what waits in the buffer goes nowhere, or Python complains at its end
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.stream.fileno())
                os.close(nowhere)


@contextlib.contextmanager
def outputs():
    """Put Outputs in the place of sys.stdout and sys.stderr, and yield them.

    What the encoding of a stream does not have is written as an escape: a locale is no reason to stop.
    """
    before, errors = (sys.stdout, sys.stderr), {}
    for stream in before:
        if hasattr(stream, "reconfigure"):
            errors[stream] = stream.errors
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = (Output(stream) for stream in before)
    results = RESULTS.set(sys.stdout)
    try:
        yield sys.stdout, sys.stderr
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        RESULTS.reset(results)
        sys.stdout, sys.stderr = before
        for stream, handling in errors.items():
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors=handling)


def document_only():
    """Return a context in which standard output is for print_result alone: what else is printed goes to stderr.

    A program reads the document that it asked for with --json, whatever a layer or network of one's own prints.
    """
    return contextlib.redirect_stdout(sys.stderr)


def print_result(text):
    """Print a result on standard output."""
    print(text, file=RESULTS.get() or sys.stdout, flush=True)


def unread():
    """Whether standard output takes nothing any more: who does nothing but print may stop."""
    return getattr(RESULTS.get() or sys.stdout, "error", None) is not None


def log(text):
    """Print a line of the log, which goes to stderr: stdout is for results."""
    print(text, file=sys.stderr, flush=True)
