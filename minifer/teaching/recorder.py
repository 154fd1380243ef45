"""A plugin of pytest that writes down what becomes of each test, at once: what comes later may hang or crash.

    MINIFER_RECORD=FILE python -m pytest -p minifer.teaching.recorder test_adam.py

FILE gets a line of JSON for every phase (setup, call, teardown) of every test, and for a file that cannot be imported.
"""

import contextlib
import json
import os

MOST_BYTES = 4 << 30  # a list that grows for ever ends in a MemoryError, before it takes the machine's last memory
LINES, CHARACTERS = 20, 2000  # of a failure's message


def pytest_configure(config):
    """Bound the memory, where the system knows such a limit."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))


def pytest_collectreport(report):
    """Note a test file that cannot be imported."""
    if report.outcome != "passed":
        write(test="", phase="collect", outcome=report.outcome, message=message_of(report))


def pytest_runtest_logreport(report):
    """Note one phase of a test."""
    outcome = "skipped" if hasattr(report, "wasxfail") else report.outcome
    properties = {str(key): value for key, value in report.user_properties}
    test, phase, message = test_of(report.nodeid), report.when, message_of(report)
    write(test=test, phase=phase, outcome=outcome, message=message, seconds=report.duration, properties=properties)


def test_of(nodeid):
    """Return the name of a test; cases of parametrize are one test."""
    return nodeid.partition("::")[2].partition("[")[0]


def message_of(report):
    """Return what a failure says, without pytest's frame."""
    if not report.longrepr:
        return ""
    if isinstance(report.longrepr, tuple):  # of a skipped test: file, line, reason
        return str(report.longrepr[-1])[:CHARACTERS]
    lines = [
        line[1:].strip().removeprefix("minifer.errors.")
        for line in report.longreprtext.splitlines()
        if line.startswith("E ")
    ]
    return "\n".join((lines or report.longreprtext.splitlines())[:LINES])[:CHARACTERS]


def write(**line):
    """Append a line of JSON."""
    with open(os.environ["MINIFER_RECORD"], "a", encoding="utf-8") as file:
        file.write(json.dumps(line, default=str) + "\n")
