"""Independent pieces of work, several at a time: in processes of this machine, or on a Dask cluster.

joblib starts the processes, hands them work and brings back what they return; with a scheduler's address it hands the
work to Dask instead, whose workers then need the same minifer and the same folders. A piece of work gets its share of
the cores, and its result does not depend on how many that is, nor on where it is computed.
"""

import os
from contextlib import ExitStack

from minifer.errors import ConfigError, MiniferError
from minifer.kernels.threads import threads
from minifer.process import without_ctrl_c

MOST_JOBS = 1024  # no more than there are cores are started
PATIENCE = "10s"  # for a scheduler to answer


def run_jobs(function, tasks, jobs=1, scheduler=None):
    """Yield (number of the task, function(*task)) of every task, as they end; what one raises ends all.

    jobs         processes; where one is enough, the work is done in this one, with all its threads
    scheduler    address of a Dask scheduler, such as tcp://node1:8786, in place of the processes
    Raises       MiniferError when a process was ended from outside; ConfigError when there is no such scheduler
    """
    from concurrent.futures.process import BrokenProcessPool

    cores = os.cpu_count() or 1
    workers = max(min(jobs, len(tasks), cores), 1)
    with ExitStack() as stack:
        if scheduler:
            workers = connect(scheduler, stack)
            share = 1
        elif workers == 1:
            yield from ((number, function(*task)) for number, task in enumerate(tasks))
            return
        else:
            share = max(cores // workers, 1)
        from joblib import Parallel, delayed

        with without_ctrl_c():
            done = Parallel(n_jobs=workers, return_as="generator_unordered", max_nbytes=None)(
                delayed(numbered)(number, share, function, task) for number, task in enumerate(tasks)
            )
        try:
            yield from done
        except BrokenProcessPool as error:
            raise MiniferError(
                "a process was ended from outside, perhaps for want of memory: the same command goes on, with "
                "--jobs 1 in less memory"
            ) from error


def numbered(number, share, function, task):
    """Return (number, function(*task)), computed by so many threads at most."""
    threads(min(share, threads()))
    return number, function(*task)


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
