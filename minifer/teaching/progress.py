"""What a student has solved: a file .progress.json beside the exercises, written whenever their tests run there.

The folder's conftest.py hands this file's two functions to pytest. Nothing leaves the machine, and there is no account.
An attempt is a run of an exercise's tests after its file has changed, unless all that ran found was a gap.
"""

import contextlib
import hashlib
import json
from pathlib import Path

from minifer.allowed import Several, Text, Whole
from minifer.errors import DataError, MiniferError
from minifer.files.documents import checked_fields, read_json
from minifer.files.writing import write_text
from minifer.teaching.points import read_points
from minifer.teaching.recorder import message_of, test_of

FILE = ".progress.json"
FIELDS = {"attempts": Whole(0, 10**9), "stamp": Text(), "passed": Several(Text(), least=0, most=1000), "next": Text()}
GAPS = ("NotImplementedError", "still to be written")

_seen = {}  # {test file: {test: message of its failure, or ""}} of the present run of pytest


def pytest_runtest_logreport(report):
    """Remember what became of a test."""
    tests = _seen.setdefault(report.fspath, {})
    if report.when == "call" or report.outcome != "passed":
        name = test_of(report.nodeid)
        tests[name] = tests.get(name) or ("" if report.outcome == "passed" else message_of(report) or report.outcome)


def pytest_sessionfinish(session):
    """Write down what this run of pytest has seen."""
    root, seen = Path(session.config.rootpath), dict(_seen)
    _seen.clear()  # pytest may run again in this process
    for path, tests in seen.items():
        file = root / path
        with contextlib.suppress(MiniferError, OSError):  # a folder that cannot be written to: nothing is remembered
            note(file.parent, file.stem.removeprefix("test_"), tests)


def note(folder, name, tests):
    """Add one run of an exercise's tests, {test: message of its failure, or ""}, to the folder's progress."""
    points = read_points(folder)
    if name not in points:
        return
    progress, stamp = read_progress(folder), stamp_of(folder, name)
    before = progress.get(name, {"attempts": 0, "stamp": "", "passed": [], "next": ""})
    only_gaps = all(any(gap in message for gap in GAPS) for message in tests.values())
    passed = {test for test, message in tests.items() if not message}
    if before["stamp"] == stamp:  # the same answer: tests that did not run this time stand as they stood
        passed |= set(before["passed"]) - set(tests)
    failed = next((f"{test}: {message.splitlines()[0]}" for test, message in tests.items() if message), "")
    progress[name] = {
        "attempts": before["attempts"] + (not only_gaps and before["stamp"] != stamp),
        "stamp": stamp,
        "passed": sorted(passed),
        "next": failed,
    }
    write_text(folder / FILE, json.dumps(progress, indent=1) + "\n")


def stamp_of(folder, name):
    """Return a hash of an answer, or an empty text where there is none."""
    path = Path(folder) / f"{name}.py"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def read_progress(folder):
    """Return {exercise: its fields}; nothing where no test has run yet."""
    path = Path(folder) / FILE
    if not path.exists():
        return {}
    document = read_json(path, {}, DataError)
    return {name: checked_fields(entry, FIELDS, f"{path}: {name}", DataError) for name, entry in document.items()}


def status(folder):
    """Return a table of a folder's exercises, and what to do next, as text.

    Raises     ConfigError when it has no points.json; DataError when its progress is damaged
    """
    points, progress = read_points(folder), read_progress(folder)
    rows, todo = [f"{'exercise':<14}{'':<22}{'points':>9}{'attempts':>10}"], []
    for name, tests in points.items():
        entry = progress.get(name, {"attempts": 0, "stamp": "", "passed": [], "next": ""})
        known = entry["stamp"] == stamp_of(folder, name)
        earned = sum(value for test, value in tests.items() if known and test in entry["passed"])
        solved = known and set(tests) <= set(entry["passed"])
        state = "solved" if solved else "not begun" if not entry["attempts"] else "in work"
        if not known and entry["attempts"]:
            state = "changed since"
        rows.append(f"{name:<14}{state:<22}{earned:>4g} of {sum(tests.values()):<3g}{entry['attempts']:>7}")
        if not solved:
            todo.append((name, entry["next"] if known else ""))
    if not todo:
        return "\n".join([*rows, "All solved."])
    name, why = todo[0]
    return "\n".join([*rows, f"Next: open {name}.py, then   pytest test_{name}.py", *([f"    {why}"] if why else [])])
