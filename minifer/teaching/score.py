"""Points for a folder of answers: each exercise's tests run in a process of their own, with a limit on its time.

A student's file that crashes, hangs or leaves Python costs the points of its own exercise only. A test earns its points
when it ran and passed; one that was skipped, deselected or never reached earns none, and is named. This runs a
student's code: the process keeps mistakes apart, it is no sandbox against ill will.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from minifer.errors import DataError
from minifer.teaching.points import read_points

SECONDS = 120  # for all tests of one exercise; importing takes two, the capstone's training ten to sixty
NOTICE = (
    "this runs the code in {folder} on this machine, without a sandbox: score strangers' files in a container, or "
    "under an account that owns nothing"
)
PHASES = ("setup", "call", "teardown")


@dataclass
class Test:
    """What became of one test: outcome is passed, failed, skipped or "not run"."""

    name: str
    possible: float
    outcome: str = "not run"
    message: str = ""
    seconds: float = 0.0

    @property
    def points(self):
        return self.possible if self.outcome == "passed" else 0


@dataclass
class Exercise:
    """What became of one exercise's tests; properties are what they measured, such as an accuracy."""

    name: str
    tests: list
    seconds: float = 0.0
    properties: dict = field(default_factory=dict)

    @property
    def points(self):
        return sum(test.points for test in self.tests)

    @property
    def possible(self):
        return sum(test.possible for test in self.tests)


def score(folder, tests=None, seconds=SECONDS, only=None):
    """Return an Exercise for each of a folder.

    folder     with the student's files NAME.py
    tests      with test_NAME.py and points.json; None: those in the folder, which a student may have changed
    seconds    that one exercise may take
    only       the name of one exercise, or None

    Raises     DataError or ConfigError when a folder or its points.json is not there
    """
    folder, tests = Path(folder), Path(folder if tests is None else tests)
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: give the one with a student's files")
    points = read_points(tests)
    names = [only] if only else list(points)
    running = set()
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each thread waits for a process
        try:
            jobs = [pool.submit(score_exercise, name, folder, tests, points, seconds, running) for name in names]
            return [job.result() for job in jobs]
        except BaseException:  # such as Ctrl-C, of which the processes do not know
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                end(process)
            raise


def score_exercise(name, folder, tests, points, seconds, running):
    """Return the Exercise of one file; its process is among those running meanwhile."""
    exercise = Exercise(name, [Test(test, possible) for test, possible in points[name].items()])
    answer, test_file = folder / f"{name}.py", tests / f"test_{name}.py"
    missing = next((path for path in (answer, test_file) if not path.is_file()), None)
    if missing:
        for test in exercise.tests:
            test.message = f"there is no file {missing}"
        return exercise
    with tempfile.TemporaryDirectory(prefix="minifer-score-", ignore_cleanup_errors=True) as room:
        # The answer alone: another file of the student's, called random.py say, must not take the place of Python's.
        shutil.copy(answer, room)
        for path in tests.glob("*.py"):
            if path.name.startswith(("test_", "conftest")) or path.stem not in points:
                shutil.copy(path, room)
        started = time.perf_counter()
        ended, lines = run_pytest(Path(room), f"test_{name}.py", seconds, running)
        exercise.seconds = round(time.perf_counter() - started, 2)
    judge(exercise, lines, ended)
    return exercise


def run_pytest(room, test_file, seconds, running):
    """Run one test file in a process; return (how it ended, the recorder's lines)."""
    (room / "pytest.ini").write_text("[pytest]\n")  # so that none of a folder above is read
    with tempfile.TemporaryDirectory(prefix="minifer-record-") as outside:
        record = Path(outside) / "record"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
        environment |= {"MINIFER_RECORD": str(record), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        options = ["-q", "-s", "-c", "pytest.ini", "--rootdir", ".", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", "-p", "minifer.teaching.recorder", *options, test_file]
        # Not captured: what a student prints without end would fill the disk. Input ends at once instead of waiting.
        nowhere = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, cwd=room, env=environment, start_new_session=True, **nowhere)
        running.add(process)
        try:
            code = process.wait(seconds)
            ended = {0: "", 1: ""}.get(code, f"the process ended with exit code {code}")
        except subprocess.TimeoutExpired:
            ended = f"not finished after {seconds:g} seconds"
        finally:
            end(process)
            running.discard(process)
        lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    recorded = []
    for line in lines:
        with contextlib.suppress(ValueError):  # the process was ended while it wrote the last one
            recorded.append(json.loads(line))
    return ended, recorded


def end(process):
    """End a process and those that it started."""
    with contextlib.suppress(OSError):  # they have ended
        os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
    process.wait()


def judge(exercise, lines, ended):
    """Fill in outcomes from the recorder's lines. A test has passed when every phase of each of its cases has."""
    why = next((line["message"] for line in lines if line["phase"] == "collect"), "") or ended
    for test in exercise.tests:
        own = [line for line in lines if line["test"] == test.name]
        bad = [line for line in own if line["outcome"] != "passed"]
        phases = [line["phase"] for line in own]
        test.seconds = round(sum(line["seconds"] for line in own), 3)
        for line in own:
            exercise.properties |= line["properties"]
        if bad:
            outcomes = {line["outcome"] for line in bad}
            test.outcome = "failed" if "failed" in outcomes else "skipped"
            test.message = next(line["message"] for line in bad if line["outcome"] == test.outcome)
        elif own and len({phases.count(phase) for phase in PHASES}) == 1:
            test.outcome = "passed"
        else:
            test.message = why or "it was not collected: is it in the test file?"
