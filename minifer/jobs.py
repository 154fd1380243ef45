"""Independent pieces of work, several at a time: in processes of this machine, or on a Dask cluster.

joblib starts the processes, hands them work and brings back what they return; with a scheduler's address it hands the
work to Dask instead, whose workers then need the same minifer and the same folders. A piece of work gets its share of
the threads, and its result does not depend on how many that is, nor on where it is computed.

Who stops this process stops the others, too: it hands a signal on to them, and waits until each has ended what it was
doing as it would alone. A training saves first. The same happens when one piece of work fails, and when this process is
killed without a chance to say so: the others see that it is gone.
"""

import itertools
import multiprocessing
import os
import signal
import threading
import time
import traceback
import warnings
from contextlib import ExitStack, suppress

from minifer.errors import ConfigError, MiniferError
from minifer.kernels.threads import threads
from minifer.process import STOPPING, noted, without_ctrl_c

MOST_JOBS = 1024  # no more than there are cores are started
PATIENCE = "10s"  # for a scheduler to answer
_calls = itertools.count()  # of run_jobs in this process


class Stopped:
    """In place of the result of a piece of work that a signal has stopped."""


class Failed:
    """In place of the result of a piece of work that failed: the error, and where it was raised."""

    def __init__(self, error):
        self.error, self.place = error, traceback.format_exc()


def run_jobs(function, tasks, jobs=1, scheduler=None):
    """Yield (number of the task, function(*task)) of every task, as they end; what one raises ends all.

    jobs         processes, which share the threads of this one; where one is enough, the work is done in this one
    scheduler    address of a Dask scheduler, such as tcp://node1:8786, in place of the processes
    Raises       MiniferError when a process was ended from outside; ConfigError when there is no such scheduler;
                 KeyboardInterrupt when a signal has stopped the work
    """
    from concurrent.futures.process import BrokenProcessPool

    workers = max(min(jobs, len(tasks), os.cpu_count() or 1), 1)
    with ExitStack() as stack:
        if scheduler:
            workers = connect(scheduler, stack)
            share = 1
        elif workers == 1:
            yield from ((number, function(*task)) for number, task in enumerate(tasks))
            return
        else:
            share = max(threads() // workers, 1)
        from joblib import Parallel, delayed

        call = next(_calls)
        with without_ctrl_c():
            done = Parallel(n_jobs=workers, return_as="generator_unordered", max_nbytes=None)(
                delayed(numbered)(call, number, share, function, task) for number, task in enumerate(tasks)
            )
        # What a cluster does, other machines do: there Ctrl-C ends this process alone, as it always does.
        signals = [] if scheduler else stack.enter_context(noted(stop_processes))
        stopped, failed = False, None
        try:
            for number, result in done:
                if isinstance(result, Failed):
                    failed = failed or result
                    if not scheduler:
                        stop_processes()
                        continue
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # joblib's, that the cluster's other work is cancelled
                        done.close()
                elif isinstance(result, Stopped):
                    stopped = True
                else:
                    yield number, result
        except BrokenProcessPool:
            stopped = True
        if signals:
            raise KeyboardInterrupt
        if failed:
            raise failed.error from RuntimeError(failed.place)
        if stopped:
            raise MiniferError(
                "a process was ended from outside, perhaps for want of memory: the same command goes on, with "
                "--jobs 1 in less memory"
            )


def stop_processes():
    """Ask the processes that this one has started to stop."""
    for process in multiprocessing.active_children():
        process.terminate()


def numbered(call, number, share, function, task):
    """Return (number, function(*task)), computed by so many threads at most, or in its place Stopped() or Failed()."""
    threads(min(share, threads()))
    with suppress(ValueError):  # a thread of a Dask worker, which hears no signals
        HERE.listen()
    return number, HERE.result(call, function, task)


class Worker:
    """This process, where it does the work of another one.

    call, stopped    the call of run_jobs that it works for, and the latest that was stopped
    busy             whether a piece of work is at hand
    listens          whether it waits for the end of the process that has started it
    """

    def __init__(self):
        self.call, self.stopped, self.busy, self.listens = None, None, False, False

    def listen(self):
        """Hear signals, and the end of the process that has started this one."""
        for each in STOPPING:
            if each != signal.SIGINT and signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, self.stop)
        if not self.listens:
            self.listens = True
            threading.Thread(target=self.end_with, args=[os.getppid()], daemon=True).start()

    def result(self, call, function, task):
        """Return function(*task), or Stopped() or Failed()."""
        self.call = call
        try:
            self.busy = True
            return Stopped() if self.stopped == call else function(*task)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                self.stopped = call
            # Inside a kernel a signal becomes a SystemError.
            return Stopped() if self.stopped == call else Failed(error)
        finally:
            self.busy = False

    def stop(self, *_):
        """End the piece of work at hand, and refuse all others of the same call."""
        self.stopped = self.call
        if self.busy:
            raise KeyboardInterrupt

    def end_with(self, parent):
        """Wait until a process is gone, then stop the work at hand, and end."""
        while os.getppid() == parent:
            time.sleep(2)
        os.kill(os.getpid(), signal.SIGTERM)
        while self.busy:
            time.sleep(0.1)
        os._exit(1)


HERE = Worker()


def connect(scheduler, stack):
    """Let joblib hand its work to a Dask cluster until the ExitStack ends; return how much it does at a time."""
    try:
        from distributed import Client
    except ImportError:
        raise ConfigError("--scheduler needs Dask: pip install distributed") from None
    from joblib import parallel_config

    try:
        client = stack.enter_context(Client(scheduler, timeout=PATIENCE))
    except (OSError, ValueError) as error:
        raise ConfigError(f"no Dask scheduler answers at {scheduler}: {error}") from error
    stack.enter_context(parallel_config(backend="dask"))
    slots = sum(client.nthreads().values())
    if not slots:
        raise ConfigError(f"the Dask scheduler at {scheduler} has no workers: start some with dask worker {scheduler}")
    return slots
