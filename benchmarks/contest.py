"""A contest: every contestant in a process of its own, in turns, and of each library the best of its settings counts.

In one process the thread pools of two libraries share the cores: while one computes, the other's threads still look for
work, and both run with settings that may suit only one of them. So the parent computes nothing. It starts a worker for
every contestant, asks one at a time to run, and stops the others meanwhile (SIGSTOP): a thread that waits actively
would take a core from the one that is measured. A worker inherits no variable that sets up threads. A file with
contestants imports minifer only inside functions, since minifer sets one of those variables.

Settings of one library meet in duels before the contest, and only the winner stays.

    request, one JSON document a line                  answer
    {"make": "module:function", "arguments": {...}}    the names of the functions that it returned, each called once
    {"time": name, "seconds": 0.5}                     seconds of each call, after one that is not counted
    {"result": name}                                   what the function returned, or null
"""

import importlib
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

THREAD_VARIABLES = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "NUMBA_NUM_THREADS")
COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
# How waiting threads of OpenMP wait, and whether each stays on its core: PyTorch's times change by a third with them.
OPENMP = (
    {},
    {"OMP_WAIT_POLICY": "ACTIVE"},
    {"OMP_PROC_BIND": "true"},
    {"OMP_WAIT_POLICY": "ACTIVE", "OMP_PROC_BIND": "true"},
)
LIMIT = 300  # seconds for one answer; what compiles takes about one minute on two quiet cores
DUEL = 3  # turns of either side


@dataclass(frozen=True)
class Contestant:
    """Who runs what, and how. Contestants of one name are settings of one library."""

    name: str
    make: str  # "module:function" of this folder; it returns {name: function without arguments, or its result}
    arguments: dict
    threads: int
    setting: str = "defaults"
    environment: dict = field(default_factory=dict)

    def __str__(self):
        return f"{self.name}, {self.setting}"


def settings(name, make, arguments, threads, programs=None, environments=({},)):
    """Return a contestant for every program, {its name: further arguments}, in every environment."""
    contestants = []
    for (program, further), variables in itertools.product((programs or {"": {}}).items(), environments):
        parts = [program, *(f"{key}={value}" for key, value in variables.items())]
        setting = ", ".join(filter(None, parts)) or "defaults"
        contestants.append(Contestant(name, make, {**arguments, **further}, threads, setting, variables))
    return contestants


def environment(threads, **further):
    """Return the environment of a process of so many threads, which nothing but `further` sets up."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(THREAD_VARIABLES)}
    return {**inherited, **dict.fromkeys(COUNTS, str(threads)), **further}


class WorkerError(Exception):
    """A worker ended, took too long, or could not do what it was asked."""


class Worker:
    """A contestant's process as the parent sees it: stopped, unless it was asked something."""

    def __init__(self, contestant):
        self.contestant, self.error = contestant, None
        self._errors = tempfile.TemporaryFile("w+", errors="replace")
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=Path(__file__).parent,
            env=environment(contestant.threads, **contestant.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        try:
            self.functions = self.ask(make=contestant.make, arguments=contestant.arguments)
        except BaseException:
            self.close()
            raise

    def ask(self, **request):
        """Let the worker run until it has answered; return its answer."""
        self._signal("SIGCONT")
        end = time.monotonic() + LIMIT
        late = threading.Timer(LIMIT, self._process.kill)
        late.start()
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            late.cancel()
        if not line:
            raise WorkerError(f"no answer in {LIMIT} s" if time.monotonic() >= end else self._last_words())
        self._signal("SIGSTOP")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["answer"]

    def peak_memory(self):
        """Return the largest resident size so far in GB, or None where /proc does not tell."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return None
        # Not getrusage: its maximum includes what the parent held when it forked.
        return next((int(line.split()[1]) / 1e6 for line in status.splitlines() if line.startswith("VmHWM")), None)

    def close(self):
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        self._errors.close()

    def _signal(self, name):
        if hasattr(signal, name):  # not on Windows: there a thread that waits actively goes on doing so
            self._process.send_signal(getattr(signal, name))

    def _last_words(self):
        code = self._process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        return f"ended with exit code {code}" + (f": {lines[-1]}" if lines else "")


class Contest:
    """The worker of each library, by its name, and notes on those that failed.

    The first one is what all others are compared with: without it there is no contest.
    """

    def __init__(self, seconds):
        self.workers, self.notes = {}, []
        self.tried = {}  # name of a library: {setting: milliseconds in its last duel}
        self._seconds, self._first, self._failed, self._started = seconds, None, set(), []

    def add(self, contestant):
        """Start a contestant's worker; if its library has one already, keep the faster of the two."""
        self._first = self._first or contestant.name
        program = (contestant.name, contestant.make, str(contestant.arguments))
        if program in self._failed:  # not tried again in other environments
            return
        started = time.monotonic()
        try:
            worker = Worker(contestant)
        except WorkerError as error:
            self._failed.add(program)
            self._leaves(contestant, error)
            return
        self._started.append(worker)
        champion = self.workers.setdefault(contestant.name, worker)
        tell(f"{contestant}: ready after {time.monotonic() - started:.0f} s")
        if champion is not worker:
            self._duel(champion, worker)

    def times(self, function, rounds):
        """Return {library: [seconds of a call, for each turn]} of a function, measured in turns."""
        times = take_turns(self.workers.values(), function, rounds, self._seconds)
        self._without_failed(self.workers.values())
        return {worker.contestant.name: turns for worker, turns in times.items()}

    def results(self, function):
        """Return {library: what its function of this name returned}."""
        found = {name: worker.ask(result=function) for name, worker in self.workers.items()}
        return {name: result for name, result in found.items() if result is not None}

    def close(self):
        """End all workers."""
        for worker in self._started:
            worker.close()

    def _duel(self, *pair):
        """Let two settings of a library take turns in all functions, and keep the one of the smaller geometric mean."""
        medians = {worker: [] for worker in pair}
        for function in pair[0].functions:
            for worker, turns in take_turns(pair, function, DUEL, self._seconds).items():
                medians[worker].append(1e3 * statistics.median(turns))
        means = {worker: statistics.geometric_mean(medians[worker]) for worker in pair if not worker.error}
        name = pair[0].contestant.name
        self.tried.setdefault(name, {}).update({worker.contestant.setting: mean for worker, mean in means.items()})
        self.workers[name] = min(means, key=means.get, default=None)
        for worker in pair:
            if worker is not self.workers[name]:
                worker.close()
        self._without_failed(pair)

    def _without_failed(self, workers):
        for worker in [worker for worker in workers if worker.error]:
            self._leaves(worker.contestant, worker.error)
        self.workers = {name: worker for name, worker in self.workers.items() if worker and not worker.error}

    def _leaves(self, contestant, error):
        note = f"{contestant}: left out: {error}"
        if contestant.name == self._first:
            raise SystemExit(note)
        tell(note)
        self.notes.append(note)


@contextmanager
def contest(contestants, seconds=0.15):
    """Start a worker for every contestant, the first being what all others are compared with; end them all at the end.

    A turn is so many seconds long, or one call of the function if that takes longer.
    """
    running = Contest(seconds)
    try:
        for contestant in contestants:
            running.add(contestant)
        yield running
    finally:
        running.close()


def take_turns(workers, function, rounds, seconds):
    """Return {worker: [seconds of a call, for each turn]} of those that have a function; who fails has an error."""
    times = {worker: [] for worker in workers if function in worker.functions}
    for _ in range(rounds):
        for worker in list(times):
            try:
                times[worker].append(worker.ask(time=function, seconds=seconds))
            except WorkerError as error:
                worker.error = error
                del times[worker]
    return times


def tell(line):
    """Report progress: it may take minutes until there are results."""
    print(line, file=sys.stderr, flush=True)


def work():
    """Be a worker: answer requests from stdin until it closes. What libraries print to stdout goes to stderr."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C reaches the parent alone, and a parent that is killed takes stopped workers with it
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    functions, results = {}, {}
    for line in sys.stdin:
        try:
            answer = {"answer": answer_to(json.loads(line), functions, results)}
        except Exception as error:  # of any library: the parent goes on without this contestant
            answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
        print(json.dumps(answer), file=answers, flush=True)


def answer_to(request, functions, results):
    """Return the answer to a request; "make" fills functions and results."""
    if "make" in request:
        module, maker = request["make"].split(":")
        for name, function in getattr(importlib.import_module(module), maker)(**request["arguments"]).items():
            if callable(function):
                functions[name] = function
            results[name] = function() if callable(function) else function  # which compiles what is compiled then
        return list(functions)
    if "result" in request:
        return results.get(request["result"])
    function = functions[request["time"]]
    function()
    started, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - started < request["seconds"]:
        function()
        calls += 1
    return (time.perf_counter() - started) / calls


if __name__ == "__main__":
    work()
