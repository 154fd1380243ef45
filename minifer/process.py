"""The process that a verb runs in: what it says at the start, and what it leaves to itself while it works."""

import contextlib
import functools
import logging
import os
import signal
import sys
import warnings

from minifer.errors import ConfigError

MOST_THREADS = 1024
STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def settle():
    """Make this process a quiet one: nothing but minifer's own lines comes out of it."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: the next file to be opened would take its place, and get what is printed
            os.open(os.devnull, os.O_RDWR)
    if placed()[0]:  # of the ranks of mpiexec, the first one speaks for all
        sys.stdout = sys.stderr = open(os.devnull, "w")
    for number in STOPPING:  # each ends a command as Ctrl-C does, with one line
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        os.environ["PYTHONWARNINGS"] = "ignore"  # for the processes that this one starts
    logging.getLogger().addHandler(logging.NullHandler())


def start_numba(say=None):
    """Import Numba under the settings of the environment; say(line) what the user should know of it.

    Raises     ConfigError when it cannot work with them
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            import numba

            from minifer.kernels import TEMPORARY_CACHE

            if numba.config.NUMBA_NUM_THREADS > MOST_THREADS:
                raise ValueError(f"at most {MOST_THREADS} threads")
            if any(name.startswith("NUMBA_THREADING_LAYER") for name in os.environ):
                numba.get_num_threads()  # starts them
        except ValueError as error:
            settings = ", ".join(f"{name}={value}" for name, value in os.environ.items() if name.startswith("NUMBA_"))
            reason = " ".join(str(error).splitlines())
            raise ConfigError(f"Numba cannot start with {settings}: {reason}") from error
    if say is not None:
        for warning in caught:
            if "could not be parsed" in str(warning.message):  # a setting that Numba leaves out
                say(str(warning.message).split("\n")[0] + " Its default is taken.")
        if TEMPORARY_CACHE is not None:
            place = f"are kept in {TEMPORARY_CACHE}" if TEMPORARY_CACHE else "are not kept"
            say(f"compiled kernels {place}: neither the package nor the home folder can be written to")
        _announce_compiling(say, "" if TEMPORARY_CACHE == "" else ", once on this machine")


def say_compiling():
    """Say that kernels are being compiled, if nobody has said so and somebody listens."""
    if _unsaid:
        _unsaid.pop()()


_unsaid = []  # the function that says it, until it has


def _announce_compiling(say, once):
    """Say it once when a kernel is really compiled: where all are in the cache, nothing is said."""
    from numba.core import event

    class First(event.Listener):
        def on_start(self, event):
            if event.data["dispatcher"].py_func.__module__.startswith("minifer."):
                say_compiling()

        def on_end(self, event):
            pass

    _unsaid.append(functools.partial(say, f"compiling kernels{once}: this can take a minute"))
    event.register("numba:compile", First())


def placed():
    """Return (rank, ranks, ranks on this machine) as mpiexec of MPICH, Intel MPI or Open MPI tells its processes."""
    for names in (
        ("PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"),
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ):
        rank, size, local = (os.environ.get(name, "") for name in names)
        if rank.isdigit() and size.isdigit():
            return int(rank), int(size), int(local) if local.isdigit() else 1
    return 0, 1, 1


@contextlib.contextmanager
def without_ctrl_c():
    """Start processes that Ctrl-C does not reach, in the body of a with statement; this one hears it at the end.

    A terminal sends it to every process, and each would say in twenty lines what it was interrupted at. The same goes
    for the signal of a terminal that is closed.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing.resource_tracker import ensure_running

    ensure_running()  # started later, together with the first process, it would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def noted(then=lambda: None):
    """Yield a list that collects the signals to stop which come during the body of a with statement.

    All that each does is to call then(). One that the process was started to ignore, as with nohup, is ignored.
    """
    came, before = [], {}

    def note(number, frame):
        came.append(number)
        then()

    with contextlib.suppress(ValueError):  # not the main thread
        for number in STOPPING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, note)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
